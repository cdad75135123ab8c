"""What a rented pod of RunPod's has besides: notes about its use, for the gateway, the server and the watchdog.

A moment is in seconds since the machine was started: a clock that is set right neither stops a pod nor keeps it. A note
of a moment is the time of a file: it needs no room on a disk that is full.
"""

import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from labelpod_common import atomic_file

# Set by start_pod; elsewhere there is none, and nothing is noted.
_FOLDER = os.environ.get("POD_FOLDER", "")
# The watchdog is another user if it can be: what both read and write is not in the label server's own folder then.
_NOTES = os.environ.get("POD_NOTES", "")
USED, STARTED, SEEN = "used", "started", "seen"
_STOPS_AT, _LOGIN = "stops_at", "dicomweb_login"
_last_noted = float("-inf")


def now() -> float:
    """The moment that it is."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def rented() -> bool:
    """Whether the label server runs in a rented pod."""
    return bool(_FOLDER)


def login() -> tuple[str, str] | None:
    """User and password for the DICOMweb server, which come through SSH."""
    try:
        user, password, *_ = [*Path(_FOLDER, _LOGIN).read_text(encoding="utf-8").splitlines(), "", ""]
    except FileNotFoundError:
        return None
    return user, password


def note(name: str, at: float) -> None:
    """Note when something happened.

    Raises:
        OSError: it cannot be noted.

    """
    file = _notes() / name
    try:
        os.utime(file, (at, at))
    except FileNotFoundError:
        file.touch()
        os.utime(file, (at, at))


def noted(name: str) -> float:
    """When something happened last; 0 if that is not known."""
    try:
        return (_notes() / name).stat().st_mtime
    except OSError:
        return 0.0


def note_use() -> None:
    """Somebody works with the server; a note that fails is no reason to refuse the work."""
    global _last_noted
    if rented() and time.monotonic() - _last_noted > 1:
        _last_noted = time.monotonic()
        with suppress(OSError):
            note(USED, now())


def forget() -> None:
    """Forget when the pod was started: what is started next is another."""
    for name in (STARTED, SEEN):
        with suppress(OSError):
            (_notes() / name).unlink()


def set_stop(at: float | None) -> None:
    """Say when the pod will stop itself, in seconds as of time.time(); None while it is being used.

    Raises:
        OSError: it cannot be said.

    """
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") if at else ""
    atomic_file.write(_notes() / _STOPS_AT, text.encode())


def stops_at() -> str | None:
    """When the pod will stop itself, in ISO 8601."""
    try:
        return (_notes() / _STOPS_AT).read_text(encoding="utf-8") or None
    except FileNotFoundError:
        return None


def _notes() -> Path:
    return Path(_NOTES or _FOLDER)

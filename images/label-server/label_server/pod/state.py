"""What a rented pod of RunPod's has besides: notes about its use, for the gateway, the server and the watchdog."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

from labelpod_common import atomic_file

# Set by start_pod; elsewhere there is none, and nothing is noted.
_FOLDER = os.environ.get("POD_FOLDER", "")
_USED, _STOPS_AT, _LOGIN = "used", "stops_at", "dicomweb_login"
_last_noted = float("-inf")


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


def note_use() -> None:
    """Somebody works with the server."""
    global _last_noted
    if rented() and time.monotonic() - _last_noted > 1:
        _last_noted = time.monotonic()
        Path(_FOLDER, _USED).touch()


def last_use() -> float:
    """When somebody worked with the server last, in seconds as of time.time(); 0 if never."""
    try:
        return Path(_FOLDER, _USED).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def set_stop(at: float | None) -> None:
    """Say when the pod will stop itself, in seconds as of time.time(); None while it is being used."""
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") if at else ""
    atomic_file.write(Path(_FOLDER, _STOPS_AT), text.encode())


def stops_at() -> str | None:
    """When the pod will stop itself, in ISO 8601."""
    try:
        return Path(_FOLDER, _STOPS_AT).read_text(encoding="utf-8") or None
    except FileNotFoundError:
        return None

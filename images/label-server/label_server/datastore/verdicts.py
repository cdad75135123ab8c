"""Which images nobody is given to label, and why: what has been found wrong with a series stays known.

A verdict is of one content of a series; where that changes, another one is made. They are kept on the volume, so that a
restart need not look at everything again.
"""

import json
import threading
import time
from pathlib import Path

from labelpod_common import atomic_file

_SECONDS = 600  # after which it is looked again at what may have been wrong for a moment only


class Verdicts:
    """By series UID.

    Args:
        file: on the workspace volume.

    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._passing: dict[str, tuple[str, float]] = {}
        try:
            listed = json.loads(file.read_text())
            self._known = {str(uid): (str(version), str(reason)) for uid, (version, reason) in listed.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            self._known = {}

    def of(self, uid: str) -> str:
        """Why a series is left out, "" if it is not."""
        reason, until = self._passing.get(uid, ("", 0.0))
        return reason if until > time.monotonic() else self._known.get(uid, ("", ""))[1]

    def knows(self, uid: str, version: str) -> bool:
        """Whether this content of a series has been looked at."""
        return self._known.get(uid, ("", ""))[0] == version

    def has(self, uid: str) -> bool:
        """Whether any content of a series has been looked at."""
        return uid in self._known

    def all_known(self) -> set[str]:
        """The series that have been looked at."""
        with self._lock:
            return set(self._known)

    def set(self, uid: str, version: str, reason: str) -> None:
        """Say what is wrong with this content of a series, "" if nothing."""
        with self._lock:
            self._passing.pop(uid, None)
            if self._known.get(uid) != (version, reason):
                self._known[uid] = (version, reason)
                self._write()

    def set_for_now(self, uid: str, reason: str) -> None:
        """Say what is wrong with a series for the moment."""
        with self._lock:
            self._passing[uid] = (reason, time.monotonic() + _SECONDS)

    def forget(self, uid: str) -> None:
        """The series is gone."""
        with self._lock:
            self._passing.pop(uid, None)
            if self._known.pop(uid, None):
                self._write()

    def _write(self) -> None:
        atomic_file.write(self._file, json.dumps(self._known).encode())

"""The labels of other programs that turned out not to be readable, and why: on disk, because trainings find some, too.

What is known holds for as long as the same code reads with the same label list.
"""

import json
import logging
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from labelpod_common import atomic_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unread:
    """A label that does not count: the image that it is of, its SEG series, and the reason."""

    image: str
    series: str
    reason: str


class UnreadLabels:
    """The record of them.

    Args:
        file: that holds it.
        read_as: how labels are read; with another way each gets another chance.

    """

    def __init__(self, file: Path, read_as: str) -> None:
        self._file = file
        self._read_as = read_as
        self._lock = threading.Lock()
        self._written = -1
        self._known: dict[str, Unread] = {}

    def add(self, label: Unread) -> None:
        """Keep a label's reason."""
        with self._lock:
            known = self.all()
            if known.get(label.series) != label:
                logger.warning(f"Not a label that can be read: {label.series} of {label.image}, {label.reason}")
                self._write(known | {label.series: label})

    def remove(self, series: str) -> None:
        """Forget a label that can be read by now."""
        with self._lock:
            known = self.all()
            if series in known:
                self._write({uid: label for uid, label in known.items() if uid != series})

    def all(self) -> dict[str, Unread]:
        """All of them, by series UID; read again if another process has written."""
        try:
            written = self._file.stat().st_mtime_ns
            if written != self._written:
                content = json.loads(self._file.read_text(encoding="utf-8"))
                same = content["read_as"] == self._read_as
                found = [Unread(**each) for each in content["labels"]] if same else []
                self._known, self._written = {each.series: each for each in found}, written
        except FileNotFoundError:
            self._known = {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning(f"{self._file.name} cannot be read: {type(error).__name__}")
        return self._known

    def _write(self, known: dict[str, Unread]) -> None:
        content = {"read_as": self._read_as, "labels": [asdict(each) for each in known.values()]}
        atomic_file.write(self._file, json.dumps(content, indent=2).encode())

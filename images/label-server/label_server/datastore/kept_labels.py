"""Labels that could not be stored, because their image has changed or gone: their authors get them back.

They hold no name of a patient, and go after a while.
"""

import re
import shutil
import time
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from label_server.errors import Refused

_DAYS = 30
_MOST_OF_A_USER, _MOST_BYTES = 20, 2**29
_NAME = re.compile(r"[0-9][\w.-]{0,127}", re.ASCII)


class KeptLabels:
    """One folder for each author.

    Args:
        folder: on a volume; label servers may share it, so that an author finds them at any.

    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, user: str, image: str, suffix: str, label: BinaryIO) -> str:
        """Keep a label file; the name under which its author gets it."""
        own = self._of(user)
        own.mkdir(parents=True, exist_ok=True)
        name = f"{image}-{time.time_ns()}{suffix}"
        label.seek(0)
        with (own / name).open("xb") as file:
            shutil.copyfileobj(label, file)
        _tidy(own)
        return name

    def names(self, user: str) -> list[str]:
        """The names of a user's, the newest first."""
        return [each.name for each in _newest_first(self._of(user))]

    def path(self, user: str, name: str) -> Path | None:
        """Where one of a user's is, if there is one of this name.

        Raises:
            Refused: none has such a name.

        """
        if not _NAME.fullmatch(name):
            raise Refused("that is no name of a kept label")
        path = self._of(user) / name
        return path if path.is_file() else None

    def _of(self, user: str) -> Path:
        return self._folder / quote(user, safe="")


def _tidy(own: Path) -> None:
    """The newest stays in any case."""
    taken = 0
    for number, each in enumerate(_newest_first(own)):
        taken += each.stat().st_size
        too_old = each.stat().st_mtime < time.time() - _DAYS * 86400
        if number and (number >= _MOST_OF_A_USER or taken > _MOST_BYTES or too_old):
            each.unlink(missing_ok=True)


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("*"), key=lambda each: each.stat().st_mtime_ns, reverse=True)

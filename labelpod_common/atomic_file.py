"""Writes a file whole or not at all: neither a killed process nor a second writer leaves half of it."""

import glob
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def write(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Put these bytes in the place of whatever the file holds, with these rights.

    Raises:
        OSError: it cannot be written; what was there before stays.

    """
    with draft(path, mode) as file:
        file.write(content)


@contextmanager
def draft(path: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A file to write to; it takes the place of `path` if all goes well, and is removed otherwise.

    Each writer has a draft of its own, so that of two at once one wins and neither loses the file.

    Raises:
        OSError: it cannot be written; what was there before stays.

    """
    _remove_old_drafts(path)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".draft", dir=path.parent)
    beside = Path(name)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            yield file
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _remove_old_drafts(path: Path) -> None:
    """Remove what killed writers left; nothing is written for an hour."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.draft"):
        with suppress(OSError):
            if left.stat().st_mtime < time.time() - 3600:
                left.unlink()

"""A folder that a reader writes into, and that goes afterwards, whatever was left in it."""

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder(parent: Path) -> Iterator[Path]:
    """Make a folder in another, and remove it at the end.

    Not as `tempfile` does: what a program that a file has taken over has made, a thousand folders in each other or one
    that nobody may open, would stay for ever.
    """
    made = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield made
    finally:
        _remove(made)


def _remove(top: Path) -> None:
    """Remove a folder, and each folder in it from beside it: no path becomes long."""
    found, numbers = [top], itertools.count()
    while found:
        current = found.pop()
        for entry in list(current.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                entry.chmod(0o700)
                found.append(entry.rename(top.with_name(f"{top.name}.{next(numbers)}")))
            else:
                entry.unlink()
        current.rmdir()

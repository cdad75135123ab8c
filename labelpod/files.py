"""Writes a file whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import psutil
from filelock import FileLock, Timeout

from labelpod import os_errors
from labelpod.console import say
from labelpod_common import atomic_file


def write(path: Path, content: bytes, mode: int) -> bool:
    """Put a file in place with these rights; one that is like that already is not touched.

    Returns:
        Whether it was written.

    Raises:
        DeployError: it cannot be; what was there before stays.

    """
    with _explained(path, "written"):
        if path.exists() and path.read_bytes() == content and path.stat().st_mode & 0o777 == mode:
            give_away(path)
            return False
    with draft(path, mode) as file:
        file.write(content)
    return True


@contextmanager
def draft(path: Path, mode: int) -> Iterator[BinaryIO]:
    """A file to write to, which is put in place with these rights if all goes well, and is removed otherwise.

    Raises:
        DeployError: it cannot be written; what was there before stays.

    """
    with _explained(path, "written"):
        with atomic_file.draft(path, mode) as file:
            yield file
        give_away(path)


def folder(path: Path, mode: int) -> None:
    """Make a folder with these rights, or give them to the one that is there."""
    with _explained(path, "made"):
        path.mkdir(exist_ok=True)
        path.chmod(mode)
        give_away(path)


def give_away(path: Path) -> None:
    """Let what root has made in a user's folder be theirs, as under sudo.

    Raises:
        OSError: it is not there.

    """
    owner = path.parent.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


@contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Hold an exclusive lock on this file; others who ask for it wait. The file is left in place, empty.

    Raises:
        DeployError: it cannot be written.

    """
    held = FileLock(lock)
    with _explained(lock, "written"):
        try:
            held.acquire(timeout=0.5)
        except Timeout:
            say(f"{_holder(lock)} is at work here (it holds {lock.name}); waiting for it")
            held.acquire()
        give_away(lock)
    try:
        yield
    finally:
        held.release()


def _holder(lock: Path) -> str:
    """Who holds a lock, as Linux tells it."""
    with suppress(OSError, ValueError, IndexError, psutil.Error):
        number = lock.stat().st_ino
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            # 1: FLOCK ADVISORY WRITE 4711 08:01:42 0 EOF; those that wait have an arrow behind the number.
            words = line.split()
            if words[1] == "FLOCK" and int(words[5].rpartition(":")[2]) == number:
                command = psutil.Process(int(words[4])).cmdline()
                verb = command[command.index("labelpod") + 1 :] if "labelpod" in command else command[1:]
                return f"Another deploy.py ({' '.join(verb)}, pid {words[4]})"
    return "Another deploy.py"


@contextmanager
def _explained(path: Path, done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise os_errors.explained(error, path, f"{path} cannot be {done}: {error.strerror}") from None

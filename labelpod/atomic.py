"""Writes a file whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from labelpod.errors import DeployError


def write(path: Path, content: bytes, mode: int) -> bool:
    """Put a file in place with these rights; one that is like that already is not touched.

    Returns:
        Whether it was written.

    Raises:
        DeployError: it cannot be; what was there before stays.

    """
    draft = path.with_name(f"{path.name}.draft")
    try:
        if path.exists() and path.read_bytes() == content and path.stat().st_mode & 0o777 == mode:
            return False
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise DeployError(f"{path} cannot be written: {error.strerror}", "make the folder writable") from None
    return True


def folder(path: Path, mode: int) -> None:
    """Make a folder with these rights, or give them to the one that is there."""
    try:
        path.mkdir(exist_ok=True)
        path.chmod(mode)
    except OSError as error:
        raise DeployError(f"{path} cannot be made: {error.strerror}", "make the folder writable") from None

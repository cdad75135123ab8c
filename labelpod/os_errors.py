"""What the operating system refuses, in two lines: what it was about, and what to do."""

import errno
import os
import pwd
import tempfile
from pathlib import Path

from labelpod.errors import DeployError

_WORDS = {
    errno.ENOENT: ("is not there", "check the path"),
    errno.EISDIR: ("is a folder, where a file is needed", "name a file; if nobody needs the folder, remove it"),
    errno.ENOTDIR: ("lies in something that is a file, where a folder is needed", "move the file away"),
    errno.EEXIST: ("is there already and is something else", "move it away"),
    errno.EROFS: ("is on a file system that is read-only", "use another folder"),
}
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM)


def explained(error: OSError, path: Path | None = None, message: str = "") -> DeployError:
    """An error for the user.

    Args:
        error: as Python raised it.
        path: what it was about, if the error does not say; by default temporary files, which are written unasked.
        message: what could not be done, if it is known better than the error says.

    """
    place = Path(os.fsdecode(error.filename)) if error.filename else path
    if error.errno in _FULL:
        place = place or Path(tempfile.gettempdir())
        disk = file_system(place)
        message = message or f"{place} cannot be written: {disk} is full"
        return DeployError(message, f"make room on the disk: df -h {disk}")
    if place is None:  # a directory for temporary files, too, if there is room in none
        return DeployError(message or error.strerror or str(error), "check the disks with `df -h`, and their rights")
    if error.errno in _REFUSED:
        return DeployError(message or f"{place}: permission denied", _who_may(place))
    words, remedy = _WORDS.get(
        error.errno or 0, (f"cannot be used: {error.strerror}", "check the disk and the machine")
    )
    return DeployError(message or f"{place} {words}", remedy)


def file_system(path: Path) -> Path:
    """Where the file system is mounted that holds a path, or would hold it."""
    place = path.absolute()
    while not os.path.ismount(place) and place != place.parent:
        place = place.parent
    return place


def _who_may(path: Path) -> str:
    """Whose it is, as far as this user may look."""
    for place in (path, *path.absolute().parents):
        try:
            owner = place.stat().st_uid
        except OSError:
            continue
        whose = f"{place} belongs to {name(owner)}"
        return f"{whose}: run this as that user, or make it writable: sudo chown -R $(id -u) {place}"
    return "run this as the user who owns it"


def name(uid: int) -> str:
    """A user's name, or number if they have none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user number {uid}"

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
    named = error.filename or path
    place = Path(os.fsdecode(named or tempfile.gettempdir()))
    if error.errno in _FULL:
        disk = file_system(place)
        return DeployError(
            message or f"{place} cannot be written: {disk} is full", f"make room on the disk: df -h {disk}"
        )
    if error.errno in _REFUSED and named:
        return DeployError(message or f"{place}: permission denied", _who_may(place))
    words, remedy = _WORDS.get(error.errno or 0, (f": {error.strerror or error}", "check the disk and the machine"))
    return DeployError(message or f"{place if named else 'the machine'} {words}".replace(" : ", ": "), remedy)


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

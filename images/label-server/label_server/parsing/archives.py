"""Unpacking archives of images within bounds.

Upstream unpacks whatever it is sent (monailabel 0.8.5, utils/sessions.py:121-127).
"""

import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from label_server.errors import Refused

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
MAX_FILES = 20_000
_MOST_FOLDERS = 32  # in each other; of a thousand, Python cannot list or remove the last
_PIECE = 2**20


def unpack(archive: Path, folder: Path, most: int) -> None:
    """Unpack a zip or tar archive: plain files below `folder`, no more than `most` bytes of them.

    Raises:
        Refused: with the reason; what was unpacked until then stays.

    """
    left = most
    try:
        for number, (name, file) in enumerate(_members(archive), start=1):
            if number > MAX_FILES:
                raise Refused(f"the archive holds more than {MAX_FILES} files")
            path = PurePosixPath(name.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or "\x00" in name or ":" in name:
                raise Refused("the archive holds a file that would land outside its folder")
            if len(path.parts) > _MOST_FOLDERS:
                raise Refused("the archive holds too many folders in each other")
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with file, target.open("xb") as copy:
                while piece := file.read(_PIECE):
                    left -= len(piece)
                    if left < 0:
                        raise Refused(f"the archive unpacks to more than {most // 2**20} MB")
                    copy.write(piece)
    except Refused:
        raise
    except Exception:  # an empty name is an IndexError of zipfile's
        raise Refused("the archive cannot be unpacked") from None


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise Refused("the archive holds a link")
                if not info.is_dir():
                    yield info.filename, zipped.open(info)
        return
    with tarfile.open(archive) as tarred:
        for member in tarred:
            if member.isdir():
                continue
            file = tarred.extractfile(member) if member.isreg() else None
            if file is None:
                raise Refused("the archive holds a link or a device")
            yield member.name, file

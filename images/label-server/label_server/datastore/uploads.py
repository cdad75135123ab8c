"""Sessions: images that an annotator uploads; archives are unpacked within bounds.

Upstream unpacks whatever it is sent (monailabel 0.8.5, utils/sessions.py:121-127).
"""

import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO

from monailabel.utils.sessions import SessionInfo, Sessions

from label_server.errors import Refused
from label_server.settings import MAX_BODY_BYTES

MAX_FILES = 20_000
_PIECE = 2**20


class BoundedSessions(Sessions):
    """Upstream's sessions; an archive keeps to its folder and to a size."""

    def add_session(
        self, data_file: str, expiry: int = 0, uncompress: bool = False, session_id: str | None = None
    ) -> tuple[str, SessionInfo]:
        """Keep an uploaded file or folder.

        Raises:
            Refused: the archive is none, or reaches beyond its folder or the size that an upload may have.

        """
        if not uncompress or Path(data_file).is_dir():
            return super().add_session(data_file, expiry, False, session_id)
        # On the volume, not in the temporary folder, which is memory.
        Path(self.store_path).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=Path(self.store_path).parent) as folder:
            unpacked = Path(folder, "unpacked")
            unpacked.mkdir()
            try:
                unpack(Path(data_file), unpacked, MAX_BODY_BYTES)
            finally:
                # Upstream's endpoint forgets the upload when this fails. Its folder goes only if that was all in it.
                Path(data_file).unlink(missing_ok=True)
                with suppress(OSError):
                    Path(data_file).parent.rmdir()
            return super().add_session(str(unpacked), expiry, False, session_id)


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
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with file, target.open("xb") as copy:
                while piece := file.read(_PIECE):
                    left -= len(piece)
                    if left < 0:
                        raise Refused(f"the archive unpacks to more than {most // 2**20} MB")
                    copy.write(piece)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, tarfile.TarError, NotImplementedError, RuntimeError):
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

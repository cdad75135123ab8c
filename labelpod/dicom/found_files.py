"""The files that a user's paths stand for: every one once, and none of this checkout's own folders."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from labelpod.dicom.file_header import FileError
from labelpod.errors import DeployError

_CHECKOUT = Path(__file__).resolve().parents[2]
# Programs, their tests' DICOM files and secrets: in any folder, and in this checkout, where hidden ones are, too.
_ANYWHERE = {".git", ".venv", "__pycache__", "node_modules"}
_OWN = {"bench", "build", "docs", "images", "labelpod", "labelpod_common", "secrets", "templates", "tests"}
# zip, gzip, 7z, RAR, bzip2, xz and zstd begin with these; tar has its word further on.
_PACKED = (b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"Rar!", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_TAR, _TAR_AT = b"ustar", 257


def below(paths: Iterable[Path], errors: list[FileError]) -> list[Path]:
    """Every file once, even where paths overlap.

    Args:
        paths: files and folders, whose files are taken at any depth.
        errors: gets the folders that cannot be read.

    Raises:
        DeployError: a path is missing, is neither a file nor a folder, may not be looked at, or is an archive.

    """
    found: dict[Path, Path] = {}
    for path in paths:
        for file in _walk(path, errors) if _is_folder(path) else [path]:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def is_packed(file: Path) -> bool:
    """Whether a file is an archive, or compressed."""
    try:
        with file.open("rb") as opened:
            head = opened.read(_TAR_AT + len(_TAR))
    except OSError:
        return False
    # A DICOM file may begin with anything: 128 bytes of its own, before its word.
    return head[128:132] != b"DICM" and (head.startswith(_PACKED) or head[_TAR_AT:] == _TAR)


def _is_folder(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        remedy = "check the path" if path.is_absolute() else f"check the path, which begins at {Path.cwd()}"
        raise DeployError(f"{path} does not exist", remedy) from None
    except OSError as error:
        raise DeployError(f"{path} cannot be looked at: {error.strerror}", "get the right to read it") from None
    if stat.S_ISDIR(mode):
        return True
    if not stat.S_ISREG(mode):
        raise DeployError(f"{path} is neither a file nor a folder", "name the files, or the folder that holds them")
    if is_packed(path):
        raise DeployError(f"{path} is an archive", "unpack it, and name the folder that it was unpacked to")
    return False


def _walk(folder: Path, errors: list[FileError]) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        errors.append(FileError(Path(error.filename), error.strerror or "cannot be read"))

    for place, folders, names in os.walk(folder, onerror=unreadable):
        ours = Path(place).resolve() == _CHECKOUT
        folders[:] = sorted(name for name in folders if name not in _ANYWHERE and not (ours and _is_own(name)))
        yield from (file for file in (Path(place, name) for name in sorted(names)) if file.is_file())


def _is_own(folder: str) -> bool:
    """Whether a folder of the checkout is no place for studies."""
    return folder in _OWN or folder.startswith(".")

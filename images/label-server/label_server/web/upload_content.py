"""What an uploaded image or label may be: a format of its own, whole in one file, that runs no code when it is read.

MONAI chooses a reader by a file's suffix, and its NumpyReader unpickles (monai 1.5, data/image_reader.py:1273). ITK
chooses one by suffix or content, and what an NRRD or MetaImage header says may be in another file: a label whose header
names `/run/secrets/...` would be saved, and downloaded, with what that file holds.
"""

import re
import zlib
from typing import BinaryIO

from starlette.datastructures import UploadFile

from label_server.errors import Refused
from label_server.parsing import archives

_IMAGES = (".nii", ".nii.gz", ".nrrd", ".mha", ".dcm")
_OTHERS = (*archives.SUFFIXES, ".bin")  # slices of a session, and the voxels that OHIF sends
_HEADER_BYTES = 2**16
_DETACHED_NRRD = re.compile(rb"^\s*data ?file\s*:", re.IGNORECASE | re.MULTILINE)
_LOCAL_META = re.compile(rb"^\s*ElementDataFile\s*=\s*LOCAL\s*$", re.MULTILINE)
_DETACHED_NIFTI = (b"ni1\0", b"ni2\0")


def check(file: UploadFile) -> None:
    """Refuse an upload of another format, and one whose header names another file.

    Args:
        file: with the last part of its name; it is read from the start afterwards.

    Raises:
        Refused: with the reason.

    """
    name = (file.filename or "").lower()
    # A slice is often named after its UID.
    if "." in name and not name.rpartition(".")[2].isdecimal() and not suffix(name):
        raise Refused(f"only {', '.join(_IMAGES)} files and archives of them can be uploaded")
    header = _start(file.file)
    if header.startswith(b"NRRD"):
        _whole_nrrd(name, header)
    elif name.endswith(".mha"):
        _whole_meta_image(header)
    elif any(header[start : start + 4] in _DETACHED_NIFTI for start in (344, 4)):
        raise Refused("the NIfTI file is only a header: its voxels are in another file")


def suffix(name: str) -> str:
    """What the name says of the format, "" if nothing: a slice then."""
    return next((each for each in (*_IMAGES, *_OTHERS) if name.lower().endswith(each)), "")


def _start(file: BinaryIO) -> bytes:
    """The first bytes of a file, unpacked if they are gzip's."""
    file.seek(0)
    start = file.read(_HEADER_BYTES)
    file.seek(0)
    if start[:2] != b"\x1f\x8b":
        return start
    try:
        return zlib.decompressobj(wbits=31).decompress(start, _HEADER_BYTES)
    except zlib.error:
        return b""


def _whole_nrrd(name: str, header: bytes) -> None:
    text, end, _ = header.replace(b"\r\n", b"\n").partition(b"\n\n")
    if not name.endswith(".nrrd"):
        raise Refused("the file is NRRD, and its name says otherwise")
    if not end or _DETACHED_NRRD.search(text):
        raise Refused("the NRRD file is only a header: its voxels are in another file")


def _whole_meta_image(header: bytes) -> None:
    text = header.partition(b"ElementDataFile")
    if not _LOCAL_META.search(b"".join(text[1:]).partition(b"\n")[0]):
        raise Refused("the MetaImage file is only a header: its voxels are in another file")

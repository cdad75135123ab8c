"""What a file of voxels says before they begin: that they are in this very file.

What an NRRD or MetaImage header says may be in another file: a label whose header names `/run/secrets/...` would be
saved, and downloaded, with what that file holds. Both formats are read here as their own libraries read them, and what
these could take in two ways is refused.
"""

import re
import zlib
from typing import BinaryIO

from label_server.errors import Refused

_BYTES = 2**16
_DETACHED_NRRD = re.compile(rb"^\s*data ?file\s*:", re.IGNORECASE | re.MULTILINE)
_META_FIELD = b"ElementDataFile"
_LOCAL_META = re.compile(rb"[ \t]*ElementDataFile[ \t]*=[ \t]*LOCAL[ \t]*\r?")
_ENDLESS = "it is no image that can be read: its header has no end"
_DETACHED_NIFTI = (b"ni1\0", b"ni2\0")


def check(name: str, file: BinaryIO) -> None:
    """Refuse a file whose voxels are in another one.

    Args:
        name: of the file, in small letters; its suffix chooses the reader.
        file: read from the start, and put back there.

    Raises:
        Refused: with the reason.

    """
    header = _start(file)
    if header.startswith(b"NRRD"):
        _whole_nrrd(name, header)
    elif name.endswith(".mha"):
        _whole_meta_image(header)
    elif any(header[start : start + 4] in _DETACHED_NIFTI for start in (344, 4)):
        raise Refused("the NIfTI file is only a header: its voxels are in another file")


def _start(file: BinaryIO) -> bytes:
    """The first bytes of a file, unpacked if they are gzip's."""
    file.seek(0)
    start = file.read(_BYTES)
    file.seek(0)
    if start[:2] != b"\x1f\x8b":
        return start
    try:
        return zlib.decompressobj(wbits=31).decompress(start, _BYTES)
    except zlib.error:
        return b""


def _whole_nrrd(name: str, header: bytes) -> None:
    text, end, _ = header.replace(b"\r\n", b"\n").partition(b"\n\n")
    if not name.endswith(".nrrd"):
        raise Refused("the file is NRRD, and its name says otherwise")
    if not end:
        raise Refused(_ENDLESS)
    # Teem takes a carriage return for the end of a line, too.
    if b"\r" in text or _DETACHED_NRRD.search(text):
        raise Refused("the NRRD file is only a header: its voxels are in another file")


def _whole_meta_image(header: bytes) -> None:
    """The field may stand nowhere else before, as in a comment, or MetaIO would find another than we do."""
    found = header.lower().find(_META_FIELD.lower())
    line, end, _ = header[header.rfind(b"\n", 0, max(found, 0)) + 1 :].partition(b"\n")
    if found < 0 or not end:
        raise Refused(_ENDLESS)
    if not _LOCAL_META.fullmatch(line):
        raise Refused("the MetaImage file is only a header: its voxels are in another file")

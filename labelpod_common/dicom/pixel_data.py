"""Whether a DICOM file's pixel data are all there, and in a transfer syntax that is read here.

They are measured, not loaded: a file that broke off in them is found by its length.
"""

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

from pydicom import FileDataset, uid

from labelpod_common.dicom.problem import Problem

# What GDCM, the label server's reader, was seen to decode in SimpleITK 2.5.7.
_NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)
_ENCAPSULATED = (
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.RLELossless,
)
_LOSSY = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless)
SYNTAXES = (*_NATIVE, *_ENCAPSULATED)
_PIXEL_DATA, _ITEM, _END = (0x7FE0, 0x0010), (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)


def problem(file: BinaryIO, dataset: FileDataset, whole: Callable[[], FileDataset]) -> Problem | None:
    """What is wrong with the pixel data.

    Args:
        file: where pydicom stopped reading, before them.
        dataset: what it read.
        whole: reads the file with its pixel data, for what must be inflated to be measured.

    """
    syntax = dataset.file_meta.get("TransferSyntaxUID", "")
    if syntax in _ENCAPSULATED:
        return _encapsulated(file)
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        length = present = len(whole().get("PixelData") or b"")
    elif syntax in _NATIVE:
        length = _length(file, uid.UID(syntax).is_implicit_VR, uid.UID(syntax).is_little_endian)
        start = file.tell()
        present = file.seek(0, 2) - start
    else:
        name = uid.UID(syntax).name or "none"
        return Problem("refuse", "unsupported-syntax", f"the label server cannot decode the transfer syntax {name}")
    return _native(dataset, length, present)


def is_lossy(dataset: FileDataset) -> bool:
    """Whether its transfer syntax has changed the pixel values."""
    return dataset.file_meta.get("TransferSyntaxUID", "") in _LOSSY


def _length(file: BinaryIO, implicit: bool, little: bool) -> int:
    """Length of the pixel data, whose value comes next in the file; 0 if there are none."""
    order = "<" if little else ">"
    head = file.read(8)
    if len(head) < 8 or struct.unpack(f"{order}HH", head[:4]) != _PIXEL_DATA:
        return 0
    length = head[4:] if implicit else file.read(4)
    return int(struct.unpack(f"{order}L", length.ljust(4, b"\0"))[0])


def _native(dataset: FileDataset, length: int, present: int) -> Problem | None:
    if length == 0:
        return Problem("refuse", "no-pixel-data", "there are no pixel data")
    if present < length:
        return Problem("refuse", "truncated", f"the file breaks off: {present} of {length} bytes of pixel data")
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    voxels = rows * columns * int(dataset.get("NumberOfFrames") or 1) * int(dataset.get("SamplesPerPixel") or 1)
    needed = (voxels * int(dataset.get("BitsAllocated") or 16) + 7) // 8
    if length in (needed, needed + needed % 2):
        return None
    return Problem(
        "refuse", "wrong-rows", f"{length} bytes of pixel data are not the {needed} that {rows} x {columns} pixels need"
    )


def _encapsulated(file: BinaryIO) -> Problem | None:
    """Fragments must follow each other up to the delimiter."""
    if not _length(file, implicit=False, little=True):
        return Problem("refuse", "no-pixel-data", "there are no pixel data")
    tags = list(_fragments(file))
    if tags[-1:] != [_END]:
        return Problem(
            "refuse", "truncated", f"the file breaks off after {len(tags)} fragments of compressed pixel data"
        )
    if len(tags) < 3:  # the offset table, a fragment, the delimiter
        return Problem("refuse", "no-pixel-data", "the compressed pixel data are empty")
    return None


def _fragments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Tags of the items in encapsulated pixel data, up to the first that is not one."""
    tag = _ITEM
    while tag == _ITEM and len(head := file.read(8)) == 8:
        group, element, length = struct.unpack("<HHL", head)
        tag = (group, element)
        file.seek(length, 1)
        yield tag

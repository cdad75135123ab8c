"""What ITK does not look at in a NIfTI file: whether all of its voxels are there, and whether it lies where it says.

ITK takes zeros for voxels that a file was cut off before, and the second of two positions if the first is sheared.
"""

import math
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from isal import igzip

from label_server.errors import Refused

_PIECE = 2**20
_CLOSE = 0.1  # mm: ITK tells the matrix with six digits
_LPS = np.diag([-1.0, -1.0, 1.0])  # of NIfTI's right-anterior-superior


def check(reader: sitk.ImageFileReader, file: Path, kind: str) -> None:
    """Look at a file whose header has been read.

    Args:
        reader: that has read it.
        file: see there.
        kind: what it should be, in words.

    Raises:
        Refused: with the reason.

    """
    _whole(reader, file, kind)
    if reader.GetDimension() >= 3 and int(reader.GetMetaData("sform_code")) > 0:
        _where_it_says(reader)


def _whole(reader: sitk.ImageFileReader, file: Path, kind: str) -> None:
    voxels = math.prod(reader.GetSize())
    bytes_ = int(float(reader.GetMetaData("vox_offset"))) + voxels * int(reader.GetMetaData("bitpix")) // 8
    there = _length(file, bytes_)
    if there < bytes_:
        raise Refused(f"it is no {kind} that can be read: it is cut off after {there} of {bytes_} bytes")


def _length(file: Path, most: int) -> int:
    """The bytes of a file, unpacked if it is packed; it need not be read beyond `most`."""
    with file.open("rb") as start:
        if start.read(2) != b"\x1f\x8b":
            return file.stat().st_size
    length = 0
    try:
        with igzip.open(file) as unpacked:
            while length < most and (piece := unpacked.read(_PIECE)):
                length += len(piece)
    except (OSError, EOFError):  # it ends in the middle, or is damaged there
        pass
    return length


def _where_it_says(reader: sitk.ImageFileReader) -> None:
    matrix = _LPS @ np.array([reader.GetMetaData(f"srow_{axis}").split() for axis in "xyz"], float)
    dimension = reader.GetDimension()
    direction = np.array(reader.GetDirection()).reshape(dimension, dimension)[:3, :3]
    taken = np.column_stack([direction * reader.GetSpacing()[:3], reader.GetOrigin()[:3]])
    last = np.array(reader.GetSize()[:3]) - 1
    if (np.abs(taken - matrix) * np.append(last, 1)).max() > _CLOSE:
        raise Refused("its header says of two places where it lies, or its axes are not at right angles")

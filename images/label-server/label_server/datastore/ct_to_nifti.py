"""Makes the NIfTI file of a CT series out of its slices while they still arrive.

Upstream waits for the last slice, reads all of them back, and compresses the volume on one core with zlib
(monailabel 0.8.5, datastore/utils/convert.py:31-57), which takes ten times as long as the download. Here each slice
is a gzip member of its own, made as it comes, and the file is their concatenation (RFC 1952, 2.2).

Only a plain stack of slices is made here, and comes out voxel by voxel as ITK would have made it; whatever else a
series may be is left to ITK.
"""

import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from isal import igzip
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from label_server.datastore import dicom_files
from label_server.errors import Refused
from label_server.parsing import grid
from label_server.parsing.grid import Grid
from labelpod_common.dicom import header, slice_geometry
from labelpod_common.dicom.header import Header

_LEVEL = 2  # as small as zlib's own default makes CT, twenty times as fast
_PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
# The same in all slices of a stack.
_COMMON = (
    "SOPClassUID",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelSpacing",
    "ImageOrientationPatient",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
)
_SHARED = [*_COMMON, *(keyword for keyword in header.KEYWORDS if keyword not in header.OWN)]
_HEADER_BYTES = 352  # NIfTI-1 in one file: where the voxels begin
_DIMENSIONS = 42  # where the header holds the numbers of columns, rows and slices
# How far a slice may lie from its place in an even stack, in mm; ITK would go on beyond it, and warn.
_TOLERANCE = 1e-3
_UNSIGNED, _SIGNED = np.dtype("<u2"), np.dtype("<i2")

Vector = NDArray[np.float64]
Voxel = np.dtype[np.uint16] | np.dtype[np.int16]


@dataclass(frozen=True)
class _Frame:
    """What all slices of a stack have in common; lengths in mm."""

    rows: int
    columns: int
    spacing: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel: tuple[int, ...]
    intercept: int
    voxel: Voxel


@dataclass(frozen=True)
class Slice:
    """A slice of a plain stack, its voxels as a gzip member of little-endian numbers."""

    frame: _Frame
    position: tuple[float, ...]
    voxels: bytes


class Slices:
    """Makes the slices of one series; what they have in common is looked at once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], tuple[Header, _Frame | None]] = {}

    def of(self, content: bytes) -> tuple[Header, Slice | None]:
        """The header of a DICOM file, and its slice; None if the series is to be left to ITK.

        Raises:
            Refused: it cannot be read.

        """
        instance = dicom_files.read(content, specific_tags=[*_SHARED, *header.OWN, "PixelData"])
        try:
            common, frame = self._common_of(instance)
            said = header.with_own(common, instance)
        except Exception:  # a value that pydicom makes nothing of
            raise Refused("the header of a slice is broken") from None
        if not header.is_uid(said.sop_uid):
            raise Refused("a slice has no UID")
        try:
            return said, _slice(instance, frame, said.position) if frame and said.position else None
        except Exception:
            return said, None

    def _common_of(self, instance: Dataset) -> tuple[Header, _Frame | None]:
        syntax = str(instance.file_meta.get("TransferSyntaxUID"))
        # As they came: pydicom takes longer to make numbers of them than to read the file.
        values = (instance.get_item(keyword) for keyword in _SHARED)
        key = (syntax, *(str(each.value) if each else "" for each in values))
        if key not in self._known:
            self._known[key] = header.of(instance), _frame(instance) if syntax in _PLAIN else None
        return self._known[key]


def _slice(instance: Dataset, frame: _Frame, position: tuple[float, ...]) -> Slice | None:
    pixels = instance.get("PixelData") or b""
    if len(pixels) < 2 * frame.rows * frame.columns:
        return None
    stored = np.frombuffer(pixels, _stored_type(frame.pixel), frame.rows * frame.columns)
    low, high = _range(frame.pixel)
    if stored.min() < low or stored.max() > high:  # bits beyond those that count, an overlay for instance
        return None
    # What is stored and what comes out have 16 bits both: modulo 2**16 the sum is right, and takes one step.
    voxels = stored.view(frame.voxel) + np.array(frame.intercept).astype(frame.voxel)
    return Slice(frame, position, igzip.compress(voxels.tobytes(), _LEVEL, mtime=0))


def write(slices: list[Slice | None], path: Path) -> bool:
    """Write the volume.

    Args:
        slices: of a series, in any order.
        path: the file to be.

    Returns:
        Whether it was; not where the slices are no even stack, or one of them was left to ITK.

    """
    stack = [each for each in slices if each]
    if len(stack) < max(2, len(slices)) or len({each.frame for each in stack}) > 1:
        return False
    frame = stack[0].frame
    row, column = np.reshape(frame.orientation, (2, 3))
    normal = np.cross(row, column)
    stack.sort(key=lambda each: float(normal @ each.position))
    first, last = np.array(stack[0].position), np.array(stack[-1].position)
    thickness = float(normal @ (last - first)) / (len(stack) - 1)
    even = first + np.outer(np.arange(len(stack)) * thickness, normal)
    if thickness < _TOLERANCE or np.abs(even - [each.position for each in stack]).max() > _TOLERANCE:
        return False
    size, spacing = (frame.columns, frame.rows, len(stack)), (*frame.spacing, thickness)
    if not grid.possible(Grid(size, spacing, tuple(first.tolist()), frame.orientation)):  # ITK says why not
        return False
    header = _header(frame, len(stack), first, thickness, np.column_stack([row, column, normal]))
    with path.open("wb") as file:
        file.write(igzip.compress(header, _LEVEL, mtime=0))
        file.writelines(each.voxels for each in stack)
    return True


def _frame(instance: Dataset) -> _Frame | None:
    """What the slices have in common; None if it is not that of a plain stack."""
    try:
        slope, intercept = float(instance.get("RescaleSlope", 1)), float(instance.get("RescaleIntercept", 0))
        pixel = (int(instance.BitsStored), int(instance.PixelRepresentation))
        axes = slice_geometry.axes([float(each) for each in instance.ImageOrientationPatient])
        down, across = map(float, instance.PixelSpacing)
        plain = (
            instance.SOPClassUID == CTImageStorage
            and "ModalityLUTSequence" not in instance
            and (instance.BitsAllocated, instance.SamplesPerPixel, instance.HighBit) == (16, 1, pixel[0] - 1)
            and instance.PhotometricInterpretation == "MONOCHROME2"
            and int(instance.get("NumberOfFrames") or 1) == 1
            and slope == 1
            and intercept == int(intercept)
        )
        rows, columns = int(instance.Rows), int(instance.Columns)
    except (AttributeError, TypeError, ValueError, OverflowError):  # something is missing, or no number
        return None
    voxel = _voxel_type(pixel, int(intercept)) if plain else None
    if voxel is None:
        return None
    return _Frame(rows, columns, (across, down), tuple(axes[:2].ravel().tolist()), pixel, int(intercept), voxel)


def _stored_type(pixel: tuple[int, ...]) -> Voxel:
    return _SIGNED if pixel[1] else _UNSIGNED


def _range(pixel: tuple[int, ...]) -> tuple[int, int]:
    bits, signed = pixel
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def _voxel_type(pixel: tuple[int, ...], intercept: int) -> Voxel | None:
    """The type that ITK gives the volume: as stored, or one that takes every value the header allows."""
    if intercept == 0:
        return _stored_type(pixel)
    low, high = (value + intercept for value in _range(pixel))
    if -(2**15) <= low < 0 and high < 2**15 and not -(2**7) <= low <= high < 2**7:
        return _SIGNED
    return _UNSIGNED if low >= 0 and 2**8 <= high < 2**16 else None


def _header(frame: _Frame, slices: int, origin: Vector, thickness: float, direction: Vector) -> bytes:
    """ITK's own header of a volume of two voxels in that place, with the numbers of this one in it."""
    volume = sitk.Image([1, 1, 2], sitk.sitkInt16 if frame.voxel == _SIGNED else sitk.sitkUInt16)
    volume.SetOrigin(origin.tolist())
    volume.SetSpacing([*frame.spacing, thickness])
    volume.SetDirection(direction.ravel().tolist())
    with tempfile.NamedTemporaryFile(suffix=".nii") as file:
        sitk.WriteImage(volume, file.name)
        header = bytearray(file.read(_HEADER_BYTES))
    struct.pack_into("<3h", header, _DIMENSIONS, frame.columns, frame.rows, slices)
    return bytes(header)

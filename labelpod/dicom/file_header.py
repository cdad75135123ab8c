"""One DICOM file: what matters of its header, and whether its pixel data are all there.

Pixel data are measured, not loaded: a file that broke off in them is found by its length.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, FileDataset, dcmread, uid
from pydicom.errors import InvalidDicomError

from labelpod.console import clean
from labelpod.dicom.problem import Problem

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
_PIXEL_DATA, _ITEM, _END = (0x7FE0, 0x0010), (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)

Vector = tuple[float, ...]


@dataclass(frozen=True)
class FileError:
    """A file that is DICOM but cannot be used or sent, and why, in one line."""

    path: Path
    message: str


@dataclass(frozen=True)
class Instance:
    """What matters of a file's header. Positions and spacing in mm, None where missing or not numbers."""

    path: Path
    sop_uid: str
    series_uid: str
    study_uid: str
    patient_id: str
    sop_class: str
    transfer_syntax: str
    modality: str
    description: str
    rows: int
    columns: int
    samples: int
    frames: int
    lossy: bool
    position: Vector | None
    orientation: Vector | None
    spacing: Vector | None
    pixel_problem: Problem | None

    @property
    def is_image(self) -> bool:
        """SR, RTSTRUCT, SEG and the like are not; a class that DICOM does not know may be."""
        name = uid.UID(self.sop_class).name
        return "Image Storage" in name or name == self.sop_class


def read(path: Path) -> Instance | FileError | None:
    """The instance in a file, or what is wrong with the file; None if it is not a DICOM instance."""
    try:
        with path.open("rb") as file:
            return _parse(path, file)
    except InvalidDicomError:
        return None
    except Exception as error:  # broken bytes make pydicom raise anything
        return FileError(path, f"cannot be read: {clean(error) or type(error).__name__}")


def _parse(path: Path, file: BinaryIO) -> Instance | FileError | None:
    dataset = dcmread(file, stop_before_pixels=True)
    if dataset.file_meta.get("MediaStorageSOPClassUID") == uid.MediaStorageDirectoryStorage:
        return None  # DICOMDIR, the table of contents of a CD
    if missing := [name for name in ("SOPInstanceUID", "StudyInstanceUID") if not dataset.get(name)]:
        return FileError(path, f"it has no {' and no '.join(missing)}")
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    spacing = _vector(dataset, "PixelSpacing", 2)
    return Instance(
        path=path,
        sop_uid=str(dataset.SOPInstanceUID),
        series_uid=str(dataset.get("SeriesInstanceUID") or ""),
        study_uid=str(dataset.StudyInstanceUID),
        patient_id=clean(dataset.get("PatientID") or ""),
        sop_class=str(dataset.get("SOPClassUID") or ""),
        transfer_syntax=syntax,
        modality=clean(dataset.get("Modality") or ""),
        description=clean(dataset.get("SeriesDescription") or ""),
        rows=_integer(dataset, "Rows", 0),
        columns=_integer(dataset, "Columns", 0),
        samples=_integer(dataset, "SamplesPerPixel", 1),
        frames=_integer(dataset, "NumberOfFrames", 1),
        lossy=syntax in _LOSSY or dataset.get("LossyImageCompression") == "01",
        position=_vector(dataset, "ImagePositionPatient", 3),
        orientation=_vector(dataset, "ImageOrientationPatient", 6),
        spacing=spacing if spacing and min(spacing) > 0 else None,
        pixel_problem=_pixel_problem(path, file, dataset, syntax),
    )


def _integer(dataset: Dataset, keyword: str, default: int) -> int:
    value = dataset.get(keyword)
    try:
        return default if value in (None, "") else int(value)
    except (TypeError, ValueError):
        raise ValueError(f"{keyword} is {value!r}, not a whole number") from None


def _vector(dataset: Dataset, keyword: str, length: int) -> Vector | None:
    try:
        vector = tuple(float(value) for value in dataset.get(keyword) or ())
    except (TypeError, ValueError):
        return None
    return vector if len(vector) == length and all(map(isfinite, vector)) else None


def _pixel_problem(path: Path, file: BinaryIO, dataset: FileDataset, syntax: str) -> Problem | None:
    """What is wrong with the pixel data, where pydicom stopped reading."""
    if syntax in _ENCAPSULATED:
        return _encapsulated(file)
    if syntax == uid.DeflatedExplicitVRLittleEndian:  # must be inflated to be measured
        length = present = len(dcmread(path).get("PixelData") or b"")
    elif syntax in _NATIVE:
        length = _length(file, *dataset.original_encoding)
        present = path.stat().st_size - file.tell()
    else:
        name = uid.UID(syntax).name or "none"
        return Problem("refuse", "unsupported-syntax", f"the label server cannot decode the transfer syntax {name}")
    return _native(dataset, length, present)


def _length(file: BinaryIO, implicit: bool | None, little: bool | None) -> int:
    """Length of the pixel data, whose value comes next in the file; 0 if there are none."""
    order = "<" if little else ">"
    head = file.read(8)
    if len(head) < 8 or struct.unpack(f"{order}HH", head[:4]) != _PIXEL_DATA:
        return 0
    length = head[4:] if implicit else file.read(4)
    return int(struct.unpack(f"{order}L", length.ljust(4, b"\0"))[0])


def _native(dataset: Dataset, length: int, present: int) -> Problem | None:
    if length == 0:
        return Problem("refuse", "no-pixel-data", "there are no pixel data")
    if present < length:
        return Problem("refuse", "truncated", f"the file breaks off: {present} of {length} bytes of pixel data")
    rows, columns = _integer(dataset, "Rows", 0), _integer(dataset, "Columns", 0)
    frames, samples = _integer(dataset, "NumberOfFrames", 1), _integer(dataset, "SamplesPerPixel", 1)
    needed = (rows * columns * frames * samples * _integer(dataset, "BitsAllocated", 16) + 7) // 8
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

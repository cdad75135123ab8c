"""One DICOM file: what matters of its header, and whether its pixel data are all there."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from pydicom import dcmread, uid
from pydicom.errors import InvalidDicomError

from labelpod_common.dicom import header, pixel_data
from labelpod_common.dicom.header import Header
from labelpod_common.dicom.problem import Problem
from labelpod_common.text import clean

_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")


@dataclass(frozen=True)
class FileError:
    """A file that is DICOM but cannot be used or sent, and why, in one line."""

    path: Path
    message: str


@dataclass(frozen=True)
class Instance:
    """A file, its header, what is wrong with its pixel data, and of a label (DICOM SEG) which series it is of."""

    path: Path
    header: Header
    pixel_problem: Problem | None
    of_series: tuple[str, ...] = ()


def read(path: Path) -> Instance | FileError | None:
    """The instance in a file, or what is wrong with the file; None if it is not a DICOM instance."""
    try:
        with path.open("rb") as file:
            return _parse(path, file)
    except InvalidDicomError:
        return _without_preamble(path)
    except Exception as error:  # broken bytes make pydicom raise anything
        return FileError(path, f"cannot be read: {clean(error) or type(error).__name__}")


def _without_preamble(path: Path) -> FileError | None:
    """What to do with a data set that lacks the head of a DICOM file, as some old archives write it."""
    try:
        dataset = dcmread(path, stop_before_pixels=True, force=True)
        if header.is_uid(str(dataset.get("SOPInstanceUID", ""))) and dataset.get("StudyInstanceUID"):
            return FileError(path, "it lacks the head of a DICOM file; `dcmconv OLD NEW` of dcmtk writes one with it")
    except Exception:  # nothing says that it is DICOM
        return None
    return None


def _parse(path: Path, file: BinaryIO) -> Instance | FileError | None:
    dataset = dcmread(file, stop_before_pixels=True)
    if dataset.file_meta.get("MediaStorageSOPClassUID") == uid.MediaStorageDirectoryStorage:
        return None  # DICOMDIR, the table of contents of a CD
    if missing := [name for name in ("SOPInstanceUID", "StudyInstanceUID") if not dataset.get(name)]:
        return FileError(path, f"it has no {' and no '.join(missing)}")
    found = header.of(dataset)
    found = replace(found, lossy=found.lossy or pixel_data.is_lossy(dataset))
    of = tuple(str(each.get("SeriesInstanceUID", "")) for each in dataset.get("ReferencedSeriesSequence") or ())
    problem = pixel_data.problem(file, dataset, lambda: dcmread(path))
    return Instance(path, found, problem, of if found.sop_class in _SEGMENTATIONS else ())

"""What matters of a slice's DICOM header, wherever it comes from: a file, a DICOMweb server's metadata."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isfinite
from typing import Any

from pydicom import Dataset, uid
from pydicom.datadict import tag_for_keyword

from labelpod_common.text import clean

Vector = tuple[float, ...]

_UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
# What `of` looks at: readers need no other attributes.
KEYWORDS = (
    *(*_UIDS, "PatientID", "SOPClassUID", "Modality"),
    *("SeriesDescription", "ImageType", "ConvolutionKernel", "KVP", "Rows", "Columns", "SamplesPerPixel"),
    *("NumberOfFrames", "LossyImageCompression", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "SpecificCharacterSet"),
)
# Of these, what differs between the slices of a series.
OWN = ("SOPInstanceUID", "ImagePositionPatient")
_TAGS = [f"{tag_for_keyword(keyword):08X}" for keyword in KEYWORDS]
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_UID_LENGTH = 64


@dataclass(frozen=True)
class Header:
    """One slice. Positions and spacing in mm, None where missing or not numbers; (slope, intercept) of its values.

    `reconstruction` is what two reconstructions of one scan differ in.
    """

    sop_uid: str
    series_uid: str
    study_uid: str
    patient_id: str
    sop_class: str
    modality: str
    description: str
    image_type: tuple[str, ...]
    reconstruction: tuple[str, ...]
    rows: int
    columns: int
    samples: int
    frames: int
    lossy: bool
    position: Vector | None
    orientation: Vector | None
    spacing: Vector | None
    rescale: Vector | None
    rescale_said: bool
    lookup_table: bool

    @property
    def is_image(self) -> bool:
        """SR, RTSTRUCT, SEG and the like are not; a class that DICOM does not know may be."""
        name = uid.UID(self.sop_class).name
        return "Image Storage" in name or name == self.sop_class

    @property
    def bad_uids(self) -> list[str]:
        """Which of its UIDs are none."""
        uids = {
            "SOPInstanceUID": self.sop_uid,
            "SeriesInstanceUID": self.series_uid,
            "StudyInstanceUID": self.study_uid,
        }
        return [name for name, value in uids.items() if value and not is_uid(value)]


@lru_cache(maxsize=100_000)
def is_uid(text: str) -> bool:
    """Whether DICOM allows it as a UID; that a part begins with 0 is common, and does no harm."""
    return len(text) <= _UID_LENGTH and bool(_UID.fullmatch(text))


def from_json(listed: Mapping[str, Any]) -> Dataset:
    """What `of` looks at, of an instance as a DICOMweb server's metadata have it."""
    return Dataset.from_json({tag: listed[tag] for tag in _TAGS if tag in listed})


def of(dataset: Dataset) -> Header:
    """The header of an instance.

    Raises:
        ValueError: what must be a whole number is none; pydicom may raise anything else for broken values.

    """
    spacing = _vector(dataset.get("PixelSpacing"), 2)
    return Header(
        sop_uid=str(dataset.get("SOPInstanceUID") or ""),
        series_uid=str(dataset.get("SeriesInstanceUID") or ""),
        study_uid=str(dataset.get("StudyInstanceUID") or ""),
        patient_id=clean(dataset.get("PatientID") or ""),
        sop_class=str(dataset.get("SOPClassUID") or ""),
        modality=clean(dataset.get("Modality") or ""),
        description=clean(dataset.get("SeriesDescription") or ""),
        image_type=_words(dataset.get("ImageType")),
        reconstruction=(*_words(dataset.get("ConvolutionKernel")), _number(dataset.get("KVP"))),
        rows=_integer(dataset, "Rows", 0),
        columns=_integer(dataset, "Columns", 0),
        samples=_integer(dataset, "SamplesPerPixel", 1),
        frames=_integer(dataset, "NumberOfFrames", 1),
        lossy=dataset.get("LossyImageCompression") == "01",
        position=_vector(dataset.get("ImagePositionPatient"), 3),
        orientation=_vector(dataset.get("ImageOrientationPatient"), 6),
        spacing=spacing if spacing and min(spacing) > 0 else None,
        rescale=_vector((_or(dataset.get("RescaleSlope"), 1), _or(dataset.get("RescaleIntercept"), 0)), 2),
        rescale_said="RescaleSlope" in dataset or "RescaleIntercept" in dataset,
        lookup_table="ModalityLUTSequence" in dataset,
    )


def with_own(common: Header, dataset: Dataset) -> Header:
    """The header of an instance that has everything in common with another one but what each has of its own."""
    position = _vector(dataset.get("ImagePositionPatient"), 3)
    return replace(common, sop_uid=str(dataset.get("SOPInstanceUID") or ""), position=position)


def _or(value: object, default: float) -> object:
    return default if value in (None, "") else value


def _integer(dataset: Dataset, keyword: str, default: int) -> int:
    value = dataset.get(keyword)
    try:
        return default if value in (None, "") else int(value)
    except (TypeError, ValueError):
        raise ValueError(f"{keyword} is {value!r}, not a whole number") from None


def _vector(value: Any, length: int) -> Vector | None:
    try:
        vector = tuple(float(each) for each in value or ())
    except (TypeError, ValueError):
        return None
    return vector if len(vector) == length and all(map(isfinite, vector)) else None


def _number(value: Any) -> str:
    """Of a number one form, however it is written; of anything else the words."""
    try:
        return f"{float(value):g}"
    except (TypeError, ValueError):
        return clean(value or "")


def _words(value: object) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    several = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
    return tuple(clean(each) for each in several)

"""Image series and SEG series, as a DICOMweb server lists them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydicom.datadict import tag_for_keyword

# What our labels say of their maker; that it is true, own_labels.py tells.
MANUFACTURER = "labelpod"
IMAGE_FIELDS = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "NumberOfSeriesRelatedInstances",
    "Modality",
    "StudyDate",
    "StudyTime",
    "PatientID",
)
# Orthanc has these at hand because templates/orthanc.json.j2 names them.
LABEL_FIELDS = (
    *("StudyInstanceUID", "SeriesInstanceUID", "PatientID", "Manufacturer", "RelatedSeriesSequence"),
    *("ContentDate", "ContentTime", "ContentCreatorName"),
)
_TAGS = {
    keyword: f"{tag_for_keyword(keyword):08X}"
    for keyword in {
        *(*IMAGE_FIELDS, *LABEL_FIELDS),
        *("ReferencedSeriesSequence", "PurposeOfReferenceCodeSequence", "LongCodeValue"),
        *("FrameOfReferenceUID", "ManufacturerModelName", "Rows", "Columns", "ImagePositionPatient"),
        *("ImageOrientationPatient", "PixelSpacing"),
    }
}


@dataclass(frozen=True)
class ImageSeries:
    """An image series: its attributes by keyword, as text, "" if the server has none."""

    uid: str
    study_uid: str
    attributes: Mapping[str, str]

    @property
    def instances(self) -> int:
        """How many the server has of it; 1 if it does not say."""
        said = self.attributes["NumberOfSeriesRelatedInstances"]
        return int(said) if re.fullmatch(r"[0-9]{1,9}", said) else 1


@dataclass(frozen=True)
class LabelSeries:
    """A SEG series and the image series that it segments ("" if it names none that is here).

    `own` says whether this stack made it, `creator` who painted it, `instance` which instance of the series counts, ""
    for any, `save` which save made it, "" if it does not say so, `maker` with which program, `unread` why it cannot be
    read, `unlisted` why it is not one of the label list's all the same, `instances` of how many instances that is,
    `arrived` when the last of them came, "" if the server does not say.
    """

    uid: str
    study_uid: str
    image_uid: str
    created: str
    own: bool
    creator: str
    instance: str = ""
    save: str = ""
    maker: str = ""
    unread: str = ""
    unlisted: str = ""
    instances: int = 1
    arrived: str = ""

    @property
    def left_out(self) -> str:
        """Why it does not count, "" if it does."""
        return self.unread or self.unlisted

    @property
    def rank(self) -> tuple[bool, str, str, str]:
        """What the label that counts has most of: one of ours before any other, and then the newest.

        Others have clocks of their own: the server's order of arrival counts. Where it is not known, nobody else's word
        is taken for a time to come; a day is for time zones. Of two of one moment each server takes the same.
        """
        tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y%m%d%H%M%S}"
        created = self.created if self.instance or self.created <= tomorrow else ""
        return self.own, self.arrived or created, created, self.uid


def text(listed: Any, keyword: str) -> str:
    """The first value of an attribute in DICOM's JSON, "" if there is none.

    Not by way of pydicom: of some thousand series that takes seconds.
    """
    value = first(listed, keyword)
    said = str(value.get("Alphabetic", "") if isinstance(value, dict) else value)
    return said if said.isascii() else said.encode(errors="replace").decode()


def numbers(listed: Any, keyword: str) -> tuple[float, ...]:
    """All values of an attribute in DICOM's JSON, none if one of them is no number."""
    attribute = listed.get(_TAGS[keyword]) if isinstance(listed, Mapping) else None
    values = attribute.get("Value") if isinstance(attribute, Mapping) else None
    try:
        return tuple(float(value) for value in values or ())
    except (TypeError, ValueError):
        return ()


def referenced(listed: Any, sequence: str) -> str:
    """The series that a sequence names first, "" if it names none."""
    return text(first(listed, sequence), "SeriesInstanceUID")


def image(listed: Mapping[str, Any]) -> ImageSeries:
    """An image series from its entry in a list."""
    attributes = {keyword: text(listed, keyword) for keyword in IMAGE_FIELDS}
    return ImageSeries(attributes["SeriesInstanceUID"], attributes["StudyInstanceUID"], attributes)


def first(listed: Any, keyword: str) -> Any:
    """The first value of an attribute as DICOM's JSON has it, "" if there is none, or if that is no DICOM's."""
    attribute = listed.get(_TAGS[keyword]) if isinstance(listed, Mapping) else None
    values = attribute.get("Value") if isinstance(attribute, Mapping) else None
    # An empty value in the middle of a list is null.
    return values[0] if isinstance(values, list) and values and values[0] is not None else ""

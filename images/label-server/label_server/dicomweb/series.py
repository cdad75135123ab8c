"""Image series and SEG series, as a DICOMweb server lists them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import tag_for_keyword

# Tells our labels from those of other software, which are never replaced.
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
    keyword: f"{tag_for_keyword(keyword):08X}" for keyword in {*IMAGE_FIELDS, *LABEL_FIELDS, "ReferencedSeriesSequence"}
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
        return int(self.attributes["NumberOfSeriesRelatedInstances"] or 1)


@dataclass(frozen=True)
class LabelSeries:
    """A SEG series and the image series that it segments ("" if it names none).

    `own` says whether this software made it, `creator` who painted it.
    """

    uid: str
    study_uid: str
    image_uid: str
    created: str
    own: bool
    creator: str


def text(listed: Mapping[str, Any], keyword: str) -> str:
    """The first value of an attribute in DICOM's JSON, "" if there is none.

    Not by way of pydicom: of some thousand series that takes seconds.
    """
    value = _first(listed, keyword)
    return str(value.get("Alphabetic", "") if isinstance(value, dict) else value)


def referenced(listed: Mapping[str, Any], sequence: str) -> str:
    """The series that a sequence names first, "" if it names none."""
    return text(_first(listed, sequence) or {}, "SeriesInstanceUID")


def image(listed: Mapping[str, Any]) -> ImageSeries:
    """An image series from its entry in a list."""
    attributes = {keyword: text(listed, keyword) for keyword in IMAGE_FIELDS}
    return ImageSeries(attributes["SeriesInstanceUID"], attributes["StudyInstanceUID"], attributes)


def _first(listed: Mapping[str, Any], keyword: str) -> Any:
    values = listed.get(_TAGS[keyword], {}).get("Value")
    # An empty value in the middle of a list is null.
    return "" if not values or values[0] is None else values[0]

"""What the DICOMweb server holds: image series and the SEG series that label them.

Upstream keeps both lists for two hours and asks for the metadata of every SEG series each time
(monailabel 0.8.5, datastore/dicom.py:129-168). Here a list is a few seconds old at most, and read again only where
Orthanc says that something has changed. A SEG series, which never changes, is asked about once, or not at all: the
list itself says of ours what they belong to.
"""

import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dicomweb_client import DICOMwebClient
from pydicom import Dataset

from app.changes import Changes, Mark
from app.segments import MANUFACTURER

_SERIES_FIELDS = ["StudyInstanceUID", "SeriesInstanceUID", "NumberOfSeriesRelatedInstances", "Modality"]
_STUDY_FIELDS = ["StudyDate", "StudyTime", "PatientID"]
# Orthanc has these at hand because templates/orthanc.json.j2 names them.
_LABEL_FIELDS = ["RelatedSeriesSequence", "ContentDate", "ContentTime", "ContentCreatorName", "Manufacturer"]


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


@dataclass(frozen=True)
class _Lists:
    images: dict[str, Dataset]
    labels: dict[str, LabelSeries]
    mark: Mark | None


class SeriesIndex:
    """Both lists; what is older than `max_age` seconds is looked at again, or what it was told to forget.

    Args:
        client: of the DICOMweb server.
        image_filter: DICOM attributes that a series must match to be an image.
        max_age: in seconds.

    """

    def __init__(self, client: DICOMwebClient, image_filter: Mapping[str, Any], max_age: float) -> None:
        self._client = client
        self._filter = dict(image_filter)
        self._max_age = max_age
        self._changes = Changes(client)
        self._known_labels: dict[str, LabelSeries] = {}
        self._lists = _Lists({}, {}, None)
        self._looked = -math.inf
        self._lock = threading.Lock()

    def images(self) -> list[str]:
        """Series UIDs of the images that match the filter."""
        return list(self._current().images)

    def labels(self) -> dict[str, LabelSeries]:
        """The newest SEG series of each image series that matches the filter, by image series UID."""
        return self._current().labels

    def labels_of(self, image_uid: str) -> list[LabelSeries]:
        """Every SEG series of one image series, the newest last."""
        self._current()
        found = [label for label in self._known_labels.values() if label.image_uid == image_uid]
        return sorted(found, key=lambda label: label.created)

    def image(self, uid: str) -> Dataset | None:
        """What is known of one image series; the server is asked where the list does not have it."""
        return self._current().images.get(uid) or self._find(uid)

    def forget(self) -> None:
        """The next question goes to the server."""
        self._looked = -math.inf

    def _current(self) -> _Lists:
        with self._lock:
            started = time.monotonic()
            if started - self._looked > self._max_age:
                # Before the lists are read: what is changed meanwhile is found the next time.
                mark = self._changes.mark()
                if mark is None or mark != self._lists.mark:
                    self._lists = self._read(mark)
                self._looked = started
            return self._lists

    def _read(self, mark: Mark | None) -> _Lists:
        images = {str(series.SeriesInstanceUID): series for series in self._search(self._filter)}
        known = {}
        for series in self._search({"Modality": "SEG"}, _LABEL_FIELDS):
            uid = str(series.SeriesInstanceUID)
            known[uid] = self._known_labels.get(uid) or self._describe(series)
        self._known_labels = known
        newest: dict[str, LabelSeries] = {}
        for label in sorted(known.values(), key=lambda each: each.created):
            if label.image_uid in images:
                newest[label.image_uid] = label
        return _Lists(images, newest, mark)

    def _find(self, uid: str) -> Dataset | None:
        found = [each for each in self._search({"SeriesInstanceUID": uid}) if each.SeriesInstanceUID == uid]
        return found[0] if found else None

    def _search(self, filters: dict[str, Any], more: Sequence[str] = ()) -> list[Dataset]:
        fields = [*_SERIES_FIELDS, *_STUDY_FIELDS, *more]
        return [
            Dataset.from_json(each) for each in self._client.search_for_series(search_filters=filters, fields=fields)
        ]

    def _describe(self, series: Dataset) -> LabelSeries:
        study_uid, uid = str(series.StudyInstanceUID), str(series.SeriesInstanceUID)
        own = series.get("Manufacturer") == MANUFACTURER
        references = series.get("RelatedSeriesSequence") if own else None
        if not references:  # by other software, or on a server that does not list it
            series = Dataset.from_json(self._client.retrieve_series_metadata(study_uid, uid)[0])
            own = series.get("Manufacturer") == MANUFACTURER
            references = series.get("ReferencedSeriesSequence")
        image_uid = str(references[0].SeriesInstanceUID) if references else ""
        created = f"{series.get('ContentDate', '')}{series.get('ContentTime', '')}"
        return LabelSeries(uid, study_uid, image_uid, created, own, str(series.get("ContentCreatorName") or ""))

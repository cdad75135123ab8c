"""What the DICOMweb server holds: image series and the SEG series that label them.

Upstream keeps both lists for two hours and asks for the metadata of every SEG series each time
(monailabel 0.8.5, datastore/dicom.py:129-168). Here a list is a few seconds old at most, and a SEG series,
which never changes, is asked about once.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dicomweb_client import DICOMwebClient
from pydicom import Dataset

from app.segments import MANUFACTURER

_SERIES_FIELDS = ["StudyInstanceUID", "SeriesInstanceUID", "NumberOfSeriesRelatedInstances", "Modality"]
_STUDY_FIELDS = ["StudyDate", "StudyTime", "PatientID"]


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
    read_at: float


class SeriesIndex:
    """Both lists, refreshed when older than `max_age` seconds or when told to forget."""

    def __init__(self, client: DICOMwebClient, image_filter: Mapping[str, Any], max_age: float) -> None:
        self._client = client
        self._filter = dict(image_filter)
        self._max_age = max_age
        self._known_labels: dict[str, LabelSeries] = {}
        self._lists: _Lists | None = None
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
        self._lists = None

    def _current(self) -> _Lists:
        with self._lock:
            lists = self._lists
            if lists is None or time.monotonic() - lists.read_at > self._max_age:
                lists = self._lists = self._read()
            return lists

    def _read(self) -> _Lists:
        started = time.monotonic()
        images = {str(series.SeriesInstanceUID): series for series in self._search(self._filter)}
        segs = self._search({"Modality": "SEG"})
        known = {}
        for series in segs:
            uid = str(series.SeriesInstanceUID)
            known[uid] = self._known_labels.get(uid) or self._describe(series)
        self._known_labels = known
        newest: dict[str, LabelSeries] = {}
        for label in sorted(known.values(), key=lambda each: each.created):
            if label.image_uid in images:
                newest[label.image_uid] = label
        return _Lists(images, newest, started)

    def _find(self, uid: str) -> Dataset | None:
        found = [each for each in self._search({"SeriesInstanceUID": uid}) if each.SeriesInstanceUID == uid]
        return found[0] if found else None

    def _search(self, filters: dict[str, Any]) -> list[Dataset]:
        fields = _SERIES_FIELDS + _STUDY_FIELDS
        return [
            Dataset.from_json(each) for each in self._client.search_for_series(search_filters=filters, fields=fields)
        ]

    def _describe(self, series: Dataset) -> LabelSeries:
        study_uid, uid = str(series.StudyInstanceUID), str(series.SeriesInstanceUID)
        instance = Dataset.from_json(self._client.retrieve_series_metadata(study_uid, uid)[0])
        references = instance.get("ReferencedSeriesSequence") or []
        image_uid = str(references[0].SeriesInstanceUID) if references else ""
        created = f"{instance.get('ContentDate', '')}{instance.get('ContentTime', '')}"
        own = instance.get("Manufacturer") == MANUFACTURER
        return LabelSeries(uid, study_uid, image_uid, created, own, str(instance.get("ContentCreatorName") or ""))

"""What the DICOMweb server holds: image series and the SEG series that label them.

Upstream keeps both lists for two hours and asks for the metadata of every SEG series each time
(monailabel 0.8.5, datastore/dicom.py:129-168). Here a list is a few seconds old at most. Of Orthanc, only the series
that came and went are asked about; any other server is asked for both lists. A SEG series, which never changes, is
asked about once, or not at all: the list itself says of ours what they belong to.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import requests
from dicomweb_client import DICOMwebClient

from label_server.dicomweb import series
from label_server.dicomweb.contents import Content, Contents
from label_server.dicomweb.orthanc import Orthanc, State, name_of
from label_server.dicomweb.own_labels import OwnLabels
from label_server.dicomweb.series import (
    IMAGE_FIELDS,
    LABEL_FIELDS,
    ImageSeries,
    LabelSeries,
    referenced,
    text,
)

_LABELS = {"Modality": "SEG"}
_ONE_BY_ONE = 50  # series that arrive; more are asked about at once
_ENTRIES = 100  # of a whole list: they take Orthanc as long as a question for one series

_Listed = Mapping[str, Any]  # an entry of a list, in DICOM's JSON


@dataclass(frozen=True)
class _Lists:
    """By series UID."""

    images: dict[str, ImageSeries] = field(default_factory=dict)
    labels: dict[str, LabelSeries] = field(default_factory=dict)

    def newest(self) -> dict[str, LabelSeries]:
        """The label of each image that counts, by image series UID."""
        ordered = sorted(self.labels.values(), key=lambda label: label.rank)
        return {label.image_uid: label for label in ordered if label.image_uid in self.images}


class SeriesIndex:
    """Both lists; what is older than `max_age` seconds is looked at again, or what it was told to forget.

    Args:
        client: of the DICOMweb server.
        own: tells our labels.
        image_filter: DICOM attributes that a series must match to be an image.
        max_age: in seconds.
        quiet: after how many seconds without news a series is complete, where the server does not say it.
        known: series that were images before; of those that are none now, `gone` is told.

    """

    def __init__(
        self,
        client: DICOMwebClient,
        own: OwnLabels,
        image_filter: Mapping[str, Any],
        max_age: float,
        quiet: float = 0,
        known: Iterable[str] = (),
        gone: Callable[[set[str]], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._own = own
        self._orthanc = Orthanc(client)
        self._contents = Contents(client, self._orthanc, self.look_up, quiet)
        self._known = set(known)
        self._gone = gone
        self._arriving: set[str] = set()
        self._filter = dict(image_filter)
        self._max_age = max_age
        self._lists = _Lists()
        self._newest: dict[str, LabelSeries] = {}
        self._state: State | None = None
        # The series' UID by Orthanc's name; "" of one that no list had.
        self._names: dict[str, str] = {}
        self._looked = self._forgotten = -math.inf
        self._lock = threading.Lock()

    def images(self) -> list[str]:
        """Series UIDs of the images that match the filter."""
        return list(self._current().images)

    def labels(self) -> dict[str, LabelSeries]:
        """The newest SEG series of each image series that matches the filter, by image series UID."""
        self._current()
        return self._newest

    def labels_of(self, image_uid: str) -> list[LabelSeries]:
        """Every SEG series of one image series, the newest last."""
        found = [label for label in self._current().labels.values() if label.image_uid == image_uid]
        return sorted(found, key=lambda label: label.created)

    def arriving(self) -> set[str]:
        """Series of which more may come."""
        self._current()
        return self._arriving

    def settled(self) -> set[str]:
        """Series to which nothing more comes since this was asked last."""
        return self._orthanc.settled()

    def content(self, uid: str) -> Content | None:
        """What the server holds of a series at this moment; None if nothing. As `Contents.of` otherwise."""
        return self._contents.of(uid)

    def image(self, uid: str) -> ImageSeries | None:
        """What is known of one image series; the server is asked where the list does not have it."""
        return self._current().images.get(uid) or self.look_up(uid)

    def known_study(self, uid: str) -> str | None:
        """The study of a series that the lists have, however old they are; the server is not asked."""
        lists = self._lists
        found = lists.images.get(uid) or lists.labels.get(uid)
        return found.study_uid if found else None

    def look_up(self, uid: str) -> ImageSeries | None:
        """What the server says of one image series now: it may still be arriving."""
        found = [series.image(listed) for listed in self._search({"SeriesInstanceUID": uid}, IMAGE_FIELDS)]
        return next((each for each in found if each.uid == uid), None)

    def forget(self) -> None:
        """The next question goes to the server, even if one is on its way: it may miss the change."""
        self._forgotten = time.monotonic()

    def _current(self) -> _Lists:
        lists = self._refreshed()
        if gone := self._known - lists.images.keys():
            self._known = set(lists.images)
            self._gone(gone)  # without the lock: it may ask for the lists
        self._known |= lists.images.keys()
        return lists

    def _refreshed(self) -> _Lists:
        with self._lock:
            started = time.monotonic()
            if started - self._looked > self._max_age or self._looked <= self._forgotten:
                # Before the lists are read: what is changed meanwhile is found the next time.
                state = self._orthanc.state(self._state)
                if state is None or state.changed:
                    lists = self._follow() if state else self._read()
                    if lists is not self._lists:
                        self._lists, self._newest = lists, lists.newest()
                    self._own.have_been_listed()
                self._arriving = self._still_arriving(self._lists)
                self._state = state
                self._looked = started
            return self._lists

    def _still_arriving(self, lists: _Lists) -> set[str]:
        if len(self._arriving) > _ONE_BY_ONE:
            return self._arriving & self._contents.arriving(lists.images.values())
        found = {uid: self._contents.of(uid) for uid in self._arriving}
        return {uid for uid, content in found.items() if content and not content.complete}

    def _follow(self) -> _Lists:
        """The lists, less what has gone from Orthanc and with what has come."""
        there = self._orthanc.series()
        if there is None:
            return self._read()
        new, gone = there - self._names.keys(), self._names.keys() - there
        if len(new) * _ENTRIES > len(there) or not all(self._names[name] for name in gone):
            lists = self._read()
            self._names = dict.fromkeys(there, "") | {name: self._names[name] for name in there & self._names.keys()}
            return lists
        lists = _Lists(dict(self._lists.images), dict(self._lists.labels)) if new or gone else self._lists
        for name in gone:
            uid = self._names.pop(name)
            lists.images.pop(uid, None)
            lists.labels.pop(uid, None)
        for name in new:
            self._add(lists, name)
        return lists

    def _read(self) -> _Lists:
        """Both lists, from nothing."""
        images, labels = self._search(self._filter, IMAGE_FIELDS), self._search(_LABELS, LABEL_FIELDS)
        self._names = {_name(listed): text(listed, "SeriesInstanceUID") for listed in (*images, *labels)}
        lists = _Lists()
        self._enter(lists, images, labels)
        self._arriving = self._contents.arriving(lists.images.values()) & lists.images.keys()
        return lists

    def _add(self, lists: _Lists, name: str) -> None:
        """One series, into the list that it belongs to, if any."""
        attributes = self._orthanc.describe(name)
        if uid := attributes.get("SeriesInstanceUID"):
            one = {"SeriesInstanceUID": uid}
            is_label = attributes.get("Modality") == _LABELS["Modality"]
            labels = self._search(one, LABEL_FIELDS) if is_label else []
            self._enter(lists, self._search(self._filter | one, IMAGE_FIELDS), labels)
            self._names[name] = uid
            if not attributes["IsStable"] and uid in lists.images:
                self._arriving.add(uid)

    def _enter(self, lists: _Lists, images: Sequence[_Listed], labels: Sequence[_Listed]) -> None:
        lists.images.update({each.uid: each for each in map(series.image, images)})
        for listed in labels:
            uid = text(listed, "SeriesInstanceUID")
            lists.labels[uid] = self._lists.labels.get(uid) or self._label(listed)

    def _search(self, filters: Mapping[str, Any], fields: Sequence[str]) -> list[_Listed]:
        return list(self._client.search_for_series(search_filters=dict(filters), fields=list(fields)))

    def _label(self, listed: _Listed) -> LabelSeries:
        study_uid, uid = text(listed, "StudyInstanceUID"), text(listed, "SeriesInstanceUID")
        instance = self._own.sealed(listed)
        own = bool(instance) or self._own.from_before(listed)
        image_uid = referenced(listed, "RelatedSeriesSequence") if own else ""
        if not image_uid:  # by other software, or on a server that does not list it
            listed = next(iter(self._metadata(study_uid, uid)), {})
            instance = self._own.sealed(listed)
            own = bool(instance) or self._own.from_before(listed)
            # What is put beside a sealed instance may copy its seal, but cannot say of another image.
            image_uid = referenced(listed, "RelatedSeriesSequence" if instance else "ReferencedSeriesSequence")
        created = text(listed, "ContentDate") + text(listed, "ContentTime")
        return LabelSeries(uid, study_uid, image_uid, created, own, text(listed, "ContentCreatorName"), instance)

    def _metadata(self, study_uid: str, uid: str) -> list[_Listed]:
        """Of the instances of a series; none if it has gone since it was listed."""
        try:
            return list(self._client.retrieve_series_metadata(study_uid, uid))
        except requests.HTTPError as error:
            if error.response is not None and error.response.status_code == HTTPStatus.NOT_FOUND:
                return []
            raise


def _name(listed: _Listed) -> str:
    return name_of(*(text(listed, each) for each in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")))

"""What the DICOMweb server holds: image series and the SEG series that label them.

Upstream keeps both lists for two hours and asks for the metadata of every SEG series each time
(monailabel 0.8.5, datastore/dicom.py:129-168). Here a list is a few seconds old at most. Of Orthanc, only the series
that came and went are asked about; any other server is asked for both lists. A SEG series, which never changes, is
asked about once, or not at all: the list itself says of ours what they belong to.
"""

import math
import threading
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Any

import requests
from dicomweb_client import DICOMwebClient

from label_server.dicomweb import foreign_labels, series
from label_server.dicomweb.contents import Content, Contents
from label_server.dicomweb.foreign_labels import LabelRules
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
from label_server.errors import Refused

_LABELS = {"Modality": "SEG"}
_ONE_BY_ONE = 50  # series that arrive; more are asked about at once
_SETTLED_SECONDS = 60  # after which no more instances come to a series that was sent at once
_READS = 3  # of both lists, while series keep coming
_ENTRIES = 100  # of a whole list: they take Orthanc as long as a question for one series

_Listed = Mapping[str, Any]  # an entry of a list, in DICOM's JSON


@dataclass(frozen=True)
class _Lists:
    """By series UID."""

    images: dict[str, ImageSeries] = field(default_factory=dict)
    labels: dict[str, LabelSeries] = field(default_factory=dict)

    def newest(self, unread: Container[str]) -> dict[str, LabelSeries]:
        """The label of each image that counts, by image series UID; none of those that could not be read."""
        counting = (label for label in self.labels.values() if not label.left_out and label.uid not in unread)
        ordered = sorted(counting, key=lambda label: label.rank)
        return {label.image_uid: label for label in ordered if label.image_uid in self.images}

    def of_study(self, uid: str) -> list[str]:
        """The image series of a study."""
        return [image.uid for image in self.images.values() if image.study_uid == uid]


class SeriesIndex:
    """Both lists; what is older than `max_age` seconds is looked at again, or what it was told to forget.

    Args:
        client: of the DICOMweb server.
        own: tells our labels.
        image_filter: DICOM attributes that a series must match to be an image.
        max_age: in seconds.
        rules: which segments of other programs are labels.
        quiet: after how many seconds without news a series is complete, where the server does not say it.
        known: series that were images before; of those that are none now, `gone` is told.

    """

    def __init__(
        self,
        client: DICOMwebClient,
        own: OwnLabels,
        image_filter: Mapping[str, Any],
        max_age: float,
        rules: LabelRules = LabelRules(),  # noqa: B008, it does not change
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
        self._settled: set[str] = set()
        self._filter = dict(image_filter)
        self._max_age = max_age
        self._rules = rules
        self._unread: frozenset[str] = frozenset()
        self._lists = _Lists()
        self._newest: dict[str, LabelSeries] = {}
        self._state: State | None = None
        self._young: dict[str, float] = {}  # other programs' labels, and when they were first seen
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

    def leave_out(self, unread: frozenset[str]) -> None:
        """Labels, by series UID, that turned out not to be readable: they do not count."""
        with self._lock:
            if unread != self._unread:
                self._unread = unread
                self._newest = self._lists.newest(unread)

    def together_with(self, label: LabelSeries) -> list[LabelSeries]:
        """A label and what the same maker stored of the same image besides, the newest last; of ours each is whole."""
        if label.own:
            return [label]
        others = (each for each in self._lists.labels.values() if each.image_uid == label.image_uid and not each.own)
        same = (each for each in others if (each.creator, each.maker) == (label.creator, label.maker))
        counting = (each for each in same if not each.left_out and each.uid not in self._unread)
        return sorted(counting, key=lambda each: each.rank)

    def label(self, uid: str) -> LabelSeries | None:
        """A SEG series, if the lists have it; the server is not asked."""
        return self._lists.labels.get(uid)

    def slices(self, uid: str) -> list[_Listed]:
        """What the server says of each slice of an image; none if it is not here."""
        image = self._lists.images.get(uid)
        return self._metadata(image.study_uid, uid) if image else []

    def left_out(self) -> list[LabelSeries]:
        """The SEG series in studies of images that do not count; one that is of none of them under the first."""
        lists, found = self._current(), []
        for label in lists.labels.values():
            if label.image_uid in lists.images:
                found += [label] * bool(label.left_out)
            elif of_study := lists.of_study(label.study_uid):
                found.append(replace(label, image_uid=of_study[0], unlisted="it is of no image that is offered"))
        return found

    def labels_of(self, image_uid: str) -> list[LabelSeries]:
        """Every SEG series of one image series, the newest last; in the same order at every label server."""
        found = [label for label in self._current().labels.values() if label.image_uid == image_uid]
        return sorted(found, key=lambda label: (label.created, label.uid))

    def counting_of(self, labels: Iterable[LabelSeries]) -> LabelSeries | None:
        """Of these labels of one image the one that would count if there were no others."""
        counting = (label for label in labels if not label.left_out and label.uid not in self._unread)
        return max(counting, key=lambda label: label.rank, default=None)

    def arriving(self) -> set[str]:
        """Series of which more may come."""
        self._current()
        return self._arriving

    def take_settled(self) -> set[str]:
        """Series to which something came, and nothing more comes, since this was asked last."""
        self._current()
        with self._lock:
            settled, self._settled = self._settled, set()
        return settled

    def content(self, uid: str) -> Content | None:
        """What the server holds of a series at this moment; None if nothing. As `Contents.of` otherwise."""
        return self._contents.of(uid)

    def image(self, uid: str) -> ImageSeries | None:
        """What is known of one image series; the server is asked where the list does not have it."""
        return self._current().images.get(uid) or self.look_up(uid)

    def place(self, uid: str) -> tuple[tuple[int, ...], tuple[float, ...]] | None:
        """The rows, columns and slices of an image, and where one slice begins (mm); None if it is not said."""
        image = self.image(uid)
        listed = self._metadata(image.study_uid, uid) if image else []
        position = series.numbers(listed[0], "ImagePositionPatient") if listed else ()
        size = (*series.numbers(listed[0], "Rows"), *series.numbers(listed[0], "Columns")) if listed else ()
        if image is None or len(position) != 3 or len(size) != 2:
            return None
        return (int(size[0]), int(size[1]), image.instances), position

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
                    lists, state = self._follow(state) if state else (self._read(), None)
                    if lists is not self._lists:
                        self._lists, self._newest = lists, lists.newest(self._unread)
                    self._own.have_been_listed()
                self._arriving = self._still_arriving(self._lists)
                self._settle(started)
                if state:
                    self._settled |= {self._names[name] for name in state.settled if self._names.get(name)}
                self._state = state
                self._looked = started
            return self._lists

    def _still_arriving(self, lists: _Lists) -> set[str]:
        if len(self._arriving) > _ONE_BY_ONE:
            return self._arriving & self._contents.arriving(lists.images.values())
        return {uid for uid in self._arriving if self._arrives(uid)}

    def _arrives(self, uid: str) -> bool:
        try:
            content = self._contents.of(uid)
        except Refused:  # it is there twice: whoever wants it is told, and the others need not wait
            return False
        return content is not None and not content.complete

    def _settle(self, now: float) -> None:
        """Ask once more about other programs' labels: instances may have come to a series since it was new."""
        for uid in [uid for uid, seen in self._young.items() if now - seen > _SETTLED_SECONDS]:
            del self._young[uid]
            if known := self._lists.labels.get(uid):
                again = self._foreign(known.study_uid, uid, self._metadata(known.study_uid, uid), self._lists)
                self._lists = _Lists(self._lists.images, self._lists.labels | {uid: again})
                self._newest = self._lists.newest(self._unread)

    def _follow(self, state: State) -> tuple[_Lists, State]:
        """The lists, less what has gone from Orthanc and with what has come; and the number of series that they know.

        With any other number, what came after it was counted and has gone since would stay in them.
        """
        there = self._orthanc.series()
        if there is None:
            return self._read(), state
        new, gone = there - self._names.keys(), self._names.keys() - there
        if len(new) * _ENTRIES > len(there) or not all(self._names[name] for name in gone):
            lists = self._read_named(there)
        else:
            lists = self._changed(new, gone)
        return lists, replace(state, series=len(self._names))

    def _read_named(self, there: set[str]) -> _Lists:
        """Both lists, from nothing, when Orthanc has series of these names; once more if some have come meanwhile."""
        for _ in range(_READS):
            lists, named, there = self._read(), there, self._orthanc.series() or set()
            if there <= named:
                break
        self._names = dict.fromkeys(named, "") | {name: self._names[name] for name in named & self._names.keys()}
        return lists

    def _changed(self, new: set[str], gone: set[str]) -> _Lists:
        lists = _Lists(dict(self._lists.images), dict(self._lists.labels)) if new or gone else self._lists
        for name in gone:
            uid = self._names.pop(name)
            lists.images.pop(uid, None)
            lists.labels.pop(uid, None)
        for name in new:
            self._add(lists, name)
        self._look_again(lists, there_before=self._lists.images.keys())
        return lists

    def _look_again(self, lists: _Lists, there_before: Container[str]) -> None:
        """Ask once more about labels that came before the image that they are of."""
        studies = {image.study_uid for uid, image in lists.images.items() if uid not in there_before}
        for label in list(lists.labels.values()):
            if label.study_uid in studies and not label.image_uid:
                self._enter(lists, (), self._search({"SeriesInstanceUID": label.uid}, LABEL_FIELDS))

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
            if self._contents.arrives(attributes) and uid in lists.images:
                self._arriving.add(uid)

    def _enter(self, lists: _Lists, images: Sequence[_Listed], labels: Sequence[_Listed]) -> None:
        lists.images.update({each.uid: each for each in map(series.image, images)})
        for listed in labels:
            uid = text(listed, "SeriesInstanceUID")
            known = self._lists.labels.get(uid)
            lists.labels[uid] = known if known and known.image_uid else self._label(listed, lists)

    def _search(self, filters: Mapping[str, Any], fields: Sequence[str]) -> list[_Listed]:
        return list(self._client.search_for_series(search_filters=dict(filters), fields=list(fields)))

    def _label(self, listed: _Listed, lists: _Lists) -> LabelSeries:
        study_uid, uid = text(listed, "StudyInstanceUID"), text(listed, "SeriesInstanceUID")
        instance = self._own.sealed(listed)
        own = bool(instance) or self._own.from_before(listed)
        image_uid = referenced(listed, "RelatedSeriesSequence") if own else ""
        if not image_uid:  # by other software, or on a server that does not list it
            metadata = self._metadata(study_uid, uid)
            listed = next(iter(metadata), {})
            instance = self._own.sealed(listed)
            own = bool(instance) or self._own.from_before(listed)
            if not own:
                self._young.setdefault(uid, time.monotonic())
                return self._foreign(study_uid, uid, metadata, lists)
            # What is put beside a sealed instance may copy its seal, but cannot say of another image.
            image_uid = referenced(listed, "RelatedSeriesSequence" if instance else "ReferencedSeriesSequence")
        save = self._own.save_of(listed)
        return LabelSeries(uid, study_uid, image_uid, _created(listed), own, _creator(listed), instance, save)

    def _foreign(self, study_uid: str, uid: str, metadata: Sequence[_Listed], lists: _Lists) -> LabelSeries:
        """Another program's."""
        read = foreign_labels.read(metadata)
        search = partial(self._search_instances, study_uid)
        image_uid = foreign_labels.image_of(read, lists.images, lists.of_study(study_uid), search)
        first = next(iter(metadata), {})
        maker = f"{text(first, 'Manufacturer')} {text(first, 'ManufacturerModelName')}"
        return LabelSeries(
            *(uid, study_uid, image_uid, max(map(_created, metadata), default=""), False, _creator(first)),
            maker=maker,
            unread=read.unread,
            unlisted=self._rules.unlisted(read.segments),
            instances=len(metadata),
            arrived=self._orthanc.arrival(uid),
        )

    def _search_instances(self, study_uid: str, series_uid: str, filters: Mapping[str, str]) -> list[_Listed]:
        """An instance of a series of the study, or the instances anywhere that match.

        By the metadata: an Orthanc that must not look into its files for a list leaves out what it has not at hand.
        """
        if series_uid:
            return self._metadata(study_uid, series_uid)[:1]
        return list(self._client.search_for_instances(search_filters=dict(filters)))

    def _metadata(self, study_uid: str, uid: str) -> list[_Listed]:
        """Of the instances of a series; none if it has gone since it was listed."""
        try:
            return list(self._client.retrieve_series_metadata(study_uid, uid))
        except requests.HTTPError as error:
            if error.response is not None and error.response.status_code == HTTPStatus.NOT_FOUND:
                return []
            raise


def _created(listed: _Listed) -> str:
    return text(listed, "ContentDate") + text(listed, "ContentTime")


def _creator(listed: _Listed) -> str:
    return text(listed, "ContentCreatorName")


def _name(listed: _Listed) -> str:
    return name_of(*(text(listed, each) for each in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")))

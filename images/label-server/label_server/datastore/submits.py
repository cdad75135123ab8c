"""A label's way into the DICOMweb server, as a transaction: stored, seen, confirmed; then its forerunners are deleted.

Wherever it is cut off, an acknowledged label is there. A forerunner that was left is older, so that it does not count,
and the author's next label of the image takes it along. A save that is sent again, because its answer was lost, makes
no second label: each says which save made it.
"""

import logging
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import requests
from filelock import FileLock
from pydicom import Dataset

from label_server.datastore import label_versions
from label_server.datastore.confirmed import Confirmed
from label_server.dicomweb.client import DicomWebClient
from label_server.dicomweb.orthanc import delete_series
from label_server.dicomweb.own_labels import OwnLabels
from label_server.dicomweb.series import LabelSeries
from label_server.dicomweb.series_index import SeriesIndex
from label_server.errors import NotStored

logger = logging.getLogger(__name__)

_LOCKS = 64  # images share them: a lock for each would stay for ever
_LOOKS = (0.0, 0.2, 0.5, 1.0, 2.0)  # seconds before each: other servers than Orthanc may show it late
_WHOLE = "%Y%m%d%H%M%S"


@dataclass(frozen=True)
class Save:
    """A save of a label: of which image, whose, what tells it from others, and the version that it is to follow.

    That is "" if there must be none, and None for any.
    """

    image: str
    author: str
    id: str
    follows: str | None


class Submits:
    """Stores and deletes labels.

    Args:
        client: of the DICOMweb server.
        own: seals labels.
        index: tells which labels there are.
        confirmed: tells which of them are confirmed.
        folder: for locks, which other processes of this server heed as well.

    """

    def __init__(
        self, client: DicomWebClient, own: OwnLabels, index: SeriesIndex, confirmed: Confirmed, folder: Path
    ) -> None:
        self._client = client
        self._own = own
        self._index = index
        self._confirmed = confirmed
        self._folder = folder

    def turn(self, image_id: str) -> FileLock:
        """The right to save a label of an image, one at a time; for a with statement."""
        return FileLock(self._folder / f"submit-{zlib.crc32(image_id.encode()) % _LOCKS}.lock")

    def known(self, save: Save) -> str:
        """What is known of a save before its label is written.

        Returns:
            The series of the label that this very save has made, if it is its author's last, "" if there is none. What
            was cut off then is done now: it is confirmed, and the author's earlier ones are deleted.

        Raises:
            Overtaken: there is none, and another label counts than the one that it is to follow.
            requests.RequestException: the server refuses or does not answer.

        """
        return self._known(save, self._look(save.image))

    def store(self, seg: Dataset, save: Save) -> str:
        """Store a label, and delete the author's earlier ones; the labels of others stay.

        Only those that were known before are deleted: of two that are stored at once, as by two servers, each would
        take back the other. Of several that follow the same one, or that one save has made, the first that is confirmed
        stays, and each other is taken back by who has stored it.

        Args:
            seg: the label.
            save: what makes it.

        Returns:
            The series that it is in.

        Raises:
            NotStored: the server does not show it.
            Overtaken: another label counts than the one that it is to follow.
            requests.RequestException: the server refuses it or does not answer; what was there still is.

        """
        before = self._look(save.image)  # again: to write it took a while
        if known := self._known(save, before):
            return known
        uid = str(seg.SeriesInstanceUID)
        _date_after(seg, before)
        self._own.seal(seg, save.id)
        try:
            self._client.store_instances([seg], study_instance_uid=str(seg.StudyInstanceUID))
        finally:
            self._index.forget()  # it may be there although the connection has ended
        self._see(save, uid, {label.uid for label in before})
        return self._confirm(save, uid, before)

    def _look(self, image_id: str) -> list[LabelSeries]:
        """The labels of an image now, the newest last. What is confirmed is heard before: it is among them."""
        self._confirmed.hear(image_id)
        self._index.forget()  # another server may have stored one a moment ago
        return self._index.labels_of(image_id)

    def _known(self, save: Save, there: Sequence[LabelSeries]) -> str:
        mine = [label for label in there if _is_of(label, save.author)]
        if not mine or mine[-1].save != save.id:
            self._demand(save, there)
            return ""
        confirmed = self._confirmed.labels(save.image)
        same = [label for label in mine if label.save == save.id]
        stays = next((label for label in same if label.uid in confirmed), None)
        if stays is None:
            stays, others = same[0], [label for label in there if label not in same]
            if confirmed:  # since it was stored, perhaps, and its server is about to take it back
                self._demand(save, others)
            if not self._confirmed.add(save.image, stays.uid, others):
                return self.known(save)
        later = confirmed[confirmed.index(stays.uid) :] if stays.uid in confirmed else [stays.uid]
        self._retire([label for label in mine if label.uid not in later])
        return stays.uid

    def _demand(self, save: Save, there: Sequence[LabelSeries]) -> None:
        """Refuse a save that is to follow another label than the one that counts of these."""
        if save.follows is None:
            return
        counting = self._index.counting_of(there)
        if (now := self._version(counting)) != save.follows:
            raise label_versions.overtaken(counting, now)

    def _confirm(self, save: Save, uid: str, before: Sequence[LabelSeries]) -> str:
        """Confirm a label that was stored, and delete the author's earlier ones; the series that it is in.

        If another label server has confirmed one meanwhile, this one is taken back: it is there twice, or follows
        another than it was to follow. One that may follow any stays.
        """
        there = before
        while not self._confirmed.add(save.image, uid, there):
            there, confirmed = self._look(save.image), self._confirmed.labels(save.image)
            mine = [label for label in there if _is_of(label, save.author) and label.save == save.id]
            stays = next((label.uid for label in mine if label.uid in confirmed), "")
            if stays or save.follows is not None:
                self._retire([label for label in mine if label.uid == uid != stays])
            if stays:
                return stays
            if save.follows is not None:
                counting = self._index.counting_of(label for label in there if label.uid != uid)
                raise label_versions.overtaken(counting, self._version(counting))
        self._retire([label for label in before if _is_of(label, save.author)])
        return uid

    def _version(self, label: LabelSeries | None) -> str:
        return label_versions.version(self._index.together_with(label)) if label else ""

    def withdraw(self, uid: str) -> bool:
        """Delete a label, by the UID of its series; whether it is gone."""
        return delete_series(self._client._session, self._client.base_url, uid, self._own.deletion)

    def _see(self, save: Save, uid: str, before: set[str]) -> None:
        """Wait until the label is there, or one that the author has stored after it elsewhere, which replaced it."""
        for pause in _LOOKS:
            time.sleep(pause)
            self._index.forget()
            new = [label for label in self._index.labels_of(save.image) if label.uid not in before]
            if any(label.uid == uid or _is_of(label, save.author) for label in new):
                return
        raise NotStored("the DICOMweb server took the label and does not show it")

    def _retire(self, labels: Sequence[LabelSeries]) -> None:
        for label in labels:
            try:
                self.withdraw(label.uid)
            except requests.RequestException as error:  # the new one is there, and counts
                logger.warning(f"{label.uid} was replaced and could not be deleted: {type(error).__name__}")
            self._index.forget()


def _is_of(label: LabelSeries, author: str) -> bool:
    return label.own and label.creator == author


def _date_after(seg: Dataset, labels: Sequence[LabelSeries]) -> None:
    """Date a label after those of ours that it follows, whatever the clocks say: the newest counts."""
    stamps = [_next(label.created) for label in labels if label.instance]  # what is sealed has a date of ours
    stamp = max([f"{datetime.now():{_WHOLE}.%f}", *stamps])
    seg.ContentDate, seg.ContentTime = stamp[:8], stamp[8:]


def _next(created: str) -> str:
    """The next microsecond."""
    whole, _, part = created.partition(".")
    moment = datetime.strptime(whole, _WHOLE) + timedelta(microseconds=int(part.ljust(6, "0")) + 1)
    return f"{moment:{_WHOLE}.%f}"

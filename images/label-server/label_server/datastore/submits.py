"""A label's way into the DICOMweb server, as a transaction: stored, seen there, and only then its forerunners deleted.

Wherever it is cut off, an acknowledged label is there. A forerunner that was left is older, so that it does not count,
and the author's next label of the image takes it along. A save that is sent again, because its answer was lost, makes
no second label: each says which save made it.
"""

import logging
import time
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import requests
from filelock import FileLock
from pydicom import Dataset

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


class Submits:
    """Stores and deletes labels.

    Args:
        client: of the DICOMweb server.
        own: seals labels.
        index: tells which labels there are.
        folder: for locks, which other processes of this server heed as well.

    """

    def __init__(self, client: DicomWebClient, own: OwnLabels, index: SeriesIndex, folder: Path) -> None:
        self._client = client
        self._own = own
        self._index = index
        self._folder = folder

    def turn(self, image_id: str) -> FileLock:
        """The right to save a label of an image, one at a time; for a with statement."""
        return FileLock(self._folder / f"submit-{zlib.crc32(image_id.encode()) % _LOCKS}.lock")

    def again(self, image_id: str, author: str, save: str) -> str:
        """The series of a label that this very save has made, if it is the author's last; "" if there is none.

        What was cut off then is done now: the author's earlier ones are deleted.
        """
        self._index.forget()
        mine = [label for label in self._index.labels_of(image_id) if _is_of(label, author)]
        if not mine or mine[-1].save != save:
            return ""
        self._retire(mine[:-1])
        return mine[-1].uid

    def store(self, image_id: str, seg: Dataset, author: str, save: str) -> str:
        """Store a label, and delete the author's earlier ones; the labels of others stay.

        Only those that were known before are deleted: of two that are stored at once, as by two servers, each would
        take back the other. Of one save that is at two servers at once, all but the first are deleted.

        Args:
            image_id: of the image.
            seg: the label.
            author: whose it is.
            save: which made it.

        Returns:
            The series that it is in.

        Raises:
            NotStored: the server does not show it.
            requests.RequestException: the server refuses it or does not answer; what was there still is.

        """
        self._index.forget()  # another server may have stored one a moment ago
        before = self._index.labels_of(image_id)
        _date_after(seg, before)
        self._own.seal(seg, save)
        try:
            self._client.store_instances([seg], study_instance_uid=str(seg.StudyInstanceUID))
        finally:
            self._index.forget()  # it may be there although the connection has ended
        new = self._see(image_id, str(seg.SeriesInstanceUID), {label.uid for label in before}, author)
        same = [label for label in new if label.save == save]
        self._retire([label for label in before if _is_of(label, author)] + same[1:])
        return same[0].uid if same else str(seg.SeriesInstanceUID)

    def withdraw(self, uid: str) -> bool:
        """Delete a label, by the UID of its series; whether it is gone."""
        return delete_series(self._client._session, self._client.base_url, uid, self._own.deletion)

    def _see(self, image_id: str, uid: str, before: set[str], author: str) -> list[LabelSeries]:
        """Wait until the label is there, or one that the author has stored after it elsewhere, which replaced it.

        Returns:
            All that the author has stored since, the newest last.

        """
        for pause in _LOOKS:
            time.sleep(pause)
            self._index.forget()
            new = [label for label in self._index.labels_of(image_id) if label.uid not in before]
            if mine := [label for label in new if label.uid == uid or _is_of(label, author)]:
                return mine
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

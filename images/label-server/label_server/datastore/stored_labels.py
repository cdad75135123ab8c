"""The labels in the DICOMweb server: which counts of each image, which are left out and why, and their voxels."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import Dataset

from label_server.datastore import dicom_files, label_versions, seg_reader, slice_places
from label_server.datastore.label_check import LabelCheck, Positions
from label_server.datastore.label_values import LabelError
from label_server.datastore.unread_labels import Unread, UnreadLabels
from label_server.dicomweb.client import DicomWebClient
from label_server.dicomweb.series import LabelSeries
from label_server.dicomweb.series_index import SeriesIndex
from label_server.errors import Refused
from label_server.settings import FOREIGN_LABELS
from labelpod_common.labels import Label

_ANY_NAME = FOREIGN_LABELS == "any"


class UnreadLabel(LabelError):
    """The only labels of an image are other programs', and cannot be read; the message says why."""


@dataclass(frozen=True)
class LeftOut:
    """A label that does not count: of which image, its series, why, and whether that is because it cannot be read."""

    image: str
    series: str
    reason: str
    unread: bool


class StoredLabels:
    """What the lists of the server say of labels, and what reading them has shown.

    Args:
        client: of the DICOMweb server.
        index: its lists.
        labels: the server's label list.
        folder: that keeps the record of what could not be read.

    """

    def __init__(self, client: DicomWebClient, index: SeriesIndex, labels: Sequence[Label], folder: Path) -> None:
        self._client = client
        self._index = index
        self._labels = labels
        self._unread = UnreadLabels(folder / "unread_labels.json", f"{FOREIGN_LABELS} {labels}")
        self._seen: Mapping[str, LabelSeries] = {}
        self._check = LabelCheck(index.slices, self._look_at)

    def counting(self) -> Mapping[str, LabelSeries]:
        """The label of each labelled image that counts, by the image's UID; the same object while nothing changes."""
        unread = self._unread.all()
        self._index.leave_out(frozenset(unread))
        labels = self._index.labels()
        if labels is not self._seen or unread:  # of thousands, looking at each takes longer than all else
            foreign = (label for label in labels.values() if not label.own)
            self._check.want(foreign, filter(None, map(self._index.label, unread)))
            self._seen = labels
        return labels

    def left_out(self) -> list[LeftOut]:
        """Those that do not count, of images that are here."""
        images, unread = set(self._index.images()), self._unread.all().values()
        told = [LeftOut(each.image_uid, each.uid, each.left_out, bool(each.unread)) for each in self._index.left_out()]
        found = [each for each in unread if each.image in images and self._index.known_study(each.series)]
        return told + [LeftOut(each.image, each.series, each.reason, True) for each in found]

    def why_unread(self, image_uid: str) -> str:
        """Why a label of an image cannot be read, "" if there is none such."""
        return next((each.reason for each in self.left_out() if each.unread and each.image == image_uid), "")

    def made_of(self, label: LabelSeries) -> list[str]:
        """What the label map of another program's label is made of, and how; nothing for ours, which is one SEG."""
        together = [] if label.own else self._index.together_with(label)
        return [f"{FOREIGN_LABELS} {each.uid} {each.instances}" for each in together]

    def version(self, label: LabelSeries) -> str:
        """The version of a label that counts, with what belongs together with it."""
        return label_versions.version(self._index.together_with(label))

    def read(self, label: LabelSeries, image: sitk.Image, slices: Path) -> NDArray[np.uint8]:
        """The label map of the label that counts; that of another program with what belongs together with it.

        Args:
            label: of an image.
            image: its volume.
            slices: the folder of its DICOM files.

        Raises:
            LabelError: it cannot be read.
            UnreadLabel: it is another program's; from now on it does not count.

        """
        if label.own:
            return seg_reader.read(self._instances(label)[0], image, self._labels)
        together, positions = self._index.together_with(label), slice_places.positions(slices)
        try:
            return self._foreign(together, image, positions)
        except LabelError as problem:
            self._note(together, image, positions, str(problem))
            raise UnreadLabel(str(problem)) from None

    def _look_at(self, label: LabelSeries, image: sitk.Image, positions: Positions) -> None:
        """Read a label, and note whether that is possible."""
        try:
            self._foreign([label], image, positions)
            self._unread.remove(label.uid)
        except LabelError as problem:
            self._unread.add(Unread(label.image_uid, label.uid, str(problem)))

    def _foreign(self, together: Sequence[LabelSeries], image: sitk.Image, positions: Positions) -> NDArray[np.uint8]:
        series = [self._instances(each) for each in together]
        return seg_reader.read_foreign(series, image, self._labels, _ANY_NAME, positions)

    def _note(self, together: Sequence[LabelSeries], image: sitk.Image, positions: Positions, reason: str) -> None:
        """Note which of the labels that belong together cannot be read; all, if it is only all that cannot."""
        for each in together:
            self._look_at(each, image, positions)
        if not any(each.uid in self._unread.all() for each in together):
            for each in together:
                self._unread.add(Unread(each.image_uid, each.uid, reason))

    def _instances(self, label: LabelSeries) -> list[Dataset]:
        """The instances of a SEG series; of one of ours that which was sealed, whatever else was put beside it."""
        found = []
        for content in self._client.series_files(label.study_uid, label.uid):
            with suppress(LabelError) if label.instance else nullcontext():  # ours may stand beside
                seg = _read(content)
                if label.instance in ("", seg.get("SOPInstanceUID")):
                    found.append(seg)
        if not found:
            raise LabelError("the DICOMweb server has none in its place that can be read")
        return found


def _read(content: bytes) -> Dataset:
    try:
        return dicom_files.read(content)
    except Refused as refused:
        raise LabelError(f"its DICOM SEG cannot be read: {refused}") from None

"""The DICOMweb datastore of MONAI Label with upstream's faults repaired.

Each method says which fault of monailabel 0.8.5 it repairs. The file layout of the cache is upstream's:
`<series>/*.dcm` and `<series>.nii.gz` for images, `labels/<tag>/<series>.nii.gz` for labels.
"""

import logging
import shutil
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import requests
import SimpleITK as sitk
from filelock import FileLock
from monailabel.config import settings
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.exception import ImageNotFoundException, MONAILabelError, MONAILabelException
from numpy.typing import NDArray
from pydicom import Dataset

from label_server import users
from label_server.datastore import authors, label_files, label_values, label_versions, listing, reviews, seg_writer
from label_server.datastore.confirmed import Confirmed
from label_server.datastore.guarded import plain
from label_server.datastore.image_cache import IncompleteSeries
from label_server.datastore.judgements import Judgements
from label_server.datastore.label_information import LabelInformation
from label_server.datastore.label_values import LabelError
from label_server.datastore.pacs_images import deleted
from label_server.datastore.stored_labels import StoredLabels, UnreadLabel
from label_server.datastore.submits import Save, Submits
from label_server.dicomweb.client import DicomWebClient
from label_server.dicomweb.foreign_labels import LabelRules
from label_server.dicomweb.own_labels import OwnLabels
from label_server.dicomweb.series import LabelSeries
from label_server.dicomweb.series_metadata import SeriesMetadata
from label_server.errors import Changed, Forbidden, Refused
from label_server.parsing import placing
from label_server.settings import FOREIGN_LABELS
from labelpod_common import atomic_file
from labelpod_common.labels import Label
from labelpod_common.series_metadata import CONFIRMED, REVIEW

logger = logging.getLogger(__name__)

Voxels = NDArray[np.uint8]
_ASSISTED = "assisted"
# What may be wrong with one image or its label; ITK's is the last.
_UNREADABLE = (LabelError, Refused, IncompleteSeries, ImageNotFoundException, requests.HTTPError, RuntimeError)


class RepairedDicomWebDatastore(LabelInformation):
    """Upstream's datastore with its own list, download, label and cache handling.

    Args:
        client: where the images are.
        image_filter: DICOM attributes that a series must match to be offered.
        own: seals and tells our labels.
        cache: folder on the workspace volume.
        kept: folder for labels that cannot be stored.
        labels: the server's label list.

    """

    def __init__(
        self,
        client: DicomWebClient,
        own: OwnLabels,
        image_filter: Mapping[str, Any],
        cache: Path,
        kept: Path,
        labels: Sequence[Label],
    ) -> None:
        self._labels = labels
        self._own = own
        super().__init__(client, own, image_filter, cache, kept, LabelRules(() if FOREIGN_LABELS == "any" else labels))
        confirmed = Confirmed(SeriesMetadata(client, CONFIRMED, image_filter))
        self._submits = Submits(client, own, self._index, confirmed, self._images.incoming)
        self._stored = StoredLabels(client, self._index, labels, Path(self._datastore_path))
        of_labels = SeriesMetadata(client, REVIEW, {"Modality": "SEG"}, settings.MONAI_LABEL_DICOMWEB_CACHE_EXPIRY)
        self._judgements = Judgements(of_labels)

    # --- lists: seconds old, not hours (dicom.py:129-168) ---

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Series UIDs of the images that have a label; each once, so that completed never passes total."""
        return [uid for uid in self.labels() if not self.unfit(uid)]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Series UIDs of the images that nobody has labelled yet."""
        labelled = self.labels()
        return [uid for uid in self.list_images() if uid not in labelled]

    def files(self, image_id: str) -> dict[str, str]:
        """Where a labelled image and its label are for a training, once they have been fetched."""
        name = self._filename(image_id, ".nii.gz")
        label = Path(self._datastore.label_path(DefaultLabelTag.FINAL), name).resolve()
        return {"image": str(self._images.path(image_id)), "label": str(label)}

    # --- labels ---

    def save_label(
        self,
        image_id: str,
        label_filename: str,
        label_tag: str,
        label_info: dict[str, Any],
        label_id: str = "",
        follows: str | None = None,
        painted_on: str | None = None,
    ) -> str:
        """Store a label; a final one goes to the DICOMweb server as DICOM SEG first.

        Upstream names segments by rank, fails on an empty label and shows the case as unlabelled for up to
        two hours (dicom.py:173-214, convert.py:94-134).

        Args:
            image_id: of the image.
            label_filename: the label map.
            label_tag: `final`, or that of a draft.
            label_info: what is known of it; more is written into it.
            label_id: not used.
            follows: the version of the final label that this one is to follow, "" if there must be none; None for any.
            painted_on: the version of the image's content that it was painted on; None for what its author got last.

        Raises:
            LabelError: the label does not fit the image or holds values without a name.
            Overtaken: another label counts than the one that it is to follow, and not because this very save was
                stored before.

        """
        plain(label_tag)  # it names a folder
        image_file = self.image_to_label(image_id, users.current.get().name, painted_on)
        author = authors.author(users.current.get().name, str(label_info.get("client_id") or ""))
        label_info |= authors.said(author)
        label = Path(label_filename)
        with self._submits.turn(image_id), label.open("rb") as file, self.kept_if_it_changes(image_id, file, ".nii.gz"):
            self._save(image_id, image_file, label_filename, label_tag, label_info, follows)
        return image_id

    def _save(
        self, image_id: str, image_file: str, label_file: str, label_tag: str, info: dict[str, Any], follows: str | None
    ) -> None:
        with tempfile.TemporaryDirectory(dir=self._images.incoming) as folder:
            if label_tag == DefaultLabelTag.FINAL:
                stored = self._store_final(image_id, image_file, label_file, info, folder, follows)
                if stored is None:
                    return
                label_file = str(stored)
            try:
                self._keep(image_id, Path(label_file), label_tag, info)
            except (OSError, ImageNotFoundException) as error:
                if "SeriesInstanceUID" not in info:
                    raise
                logger.warning(f"The label of {image_id} is stored, and not in the cache: {type(error).__name__}")

    def _keep(self, image_id: str, label: Path, tag: str, info: dict[str, Any]) -> None:
        """Put a label into the cache, whole or not at all; upstream writes over the earlier one (local.py:500)."""
        _, ext = self._to_id(label.name)
        draft = self._images.incoming / f"{uuid.uuid4()}{ext}"
        target = Path(self._datastore.label_path(tag), self._filename(image_id, ext))
        try:
            shutil.copyfile(label, draft)
            target.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        info |= {"ts": int(time.time()), "name": target.name}
        with self._mutex:
            self._init_from_datastore_file()  # an inference over all images is another process
            self._known(image_id).labels[tag] = DataModel(info=info, ext=ext)
            self._update_datastore_file()

    def _known(self, image_id: str) -> ImageLabelModel:
        known: ImageLabelModel | None = self._datastore.objects.get(image_id)
        if known is None:  # removed meanwhile
            raise ImageNotFoundException(f"Image {image_id} not found")
        return known

    def _store_final(
        self, image_id: str, image_file: str, label_file: str, info: dict[str, Any], folder: str, follows: str | None
    ) -> Path | None:
        """Store it where others find it; the label map as it is stored, None if this very save did that before."""
        image = sitk.ReadImage(image_file)
        info.setdefault("algorithm", self._by_person(image_id))
        voxels, names = self._values(image, label_file, info)
        path = label_files.write(voxels, image, Path(folder, "label.nii.gz"))  # first: it takes room on the disk
        counting = self.label_version(image_id)  # what could not be read does not count from here on
        number = label_versions.save_id(counting if follows is None else follows, voxels, names)
        save = Save(image_id, info["client_id"], number, follows)
        before = self._submits.known(save)
        if before or self._images.slices(image_id).is_dir():
            seg = None if before else self._as_seg(image_id, image, voxels, names, info)
            series = self._submits.store(seg, save) if seg else before
            self._not_alone(image_id, series)
            info["SeriesInstanceUID"], info["StudyInstanceUID"] = series, self.study_of(image_id)
            # Since it was stored before, a reviewer may have said something else of it, and others may have theirs.
            if not before or not self._is_judged(series):
                self._share_own(info)
        info["label_info"] = self.listed()
        return None if before else path

    def _is_judged(self, uid: str) -> bool:
        """Whether other label servers know a judgement of a label of ours."""
        try:
            self._judgements.hear()
        except requests.RequestException:
            return True  # nothing is written over what is not known
        return bool(self._judgements.of(uid, lambda: label_versions.of_own(uid)))

    def _share_own(self, info: Mapping[str, Any]) -> None:
        """Have other label servers know what a reviewer says of their own label, which is stored."""
        uid = info["SeriesInstanceUID"]
        try:
            if reviews.is_judged(info) and not self._judgements.write(uid, label_versions.of_own(uid), info):
                logger.warning(f"The judgement that came with {uid} is in the cache only: others write there, too")
        except requests.RequestException as error:
            logger.warning(f"The judgement that came with {uid} is in the cache only: {type(error).__name__}")

    def _not_alone(self, image_id: str, label_uid: str) -> None:
        """Take back a label whose image was deleted while it was stored: it would make the patient again."""
        if self.gone(image_id):
            self._submits.withdraw(label_uid)
            raise Changed(deleted(image_id))

    def as_seg(self, image_id: str, label_file: str, info: dict[str, Any]) -> bytes:
        """The DICOM SEG that a label map would be stored as; it is not stored.

        Args:
            image_id: of the image.
            label_file: the label map.
            info: of the label: what its values mean, and how it was made.

        Raises:
            LabelError: the label does not fit the image or holds values without a name.

        """
        image = sitk.ReadImage(self.get_image_uri(image_id))
        voxels, names = self._values(image, label_file, info)
        content = BytesIO()
        author = authors.author(users.current.get().name, str(info.get("client_id") or ""))
        self._as_seg(image_id, image, voxels, names, info | {"client_id": author}).save_as(content)
        return content.getvalue()

    def _values(self, image: sitk.Image, label_file: str, info: Mapping[str, Any]) -> tuple[Voxels, dict[int, str]]:
        """A label map on the image's grid, with the values of the server's list; and what its own meant."""
        values = sitk.GetArrayFromImage(_placed(image, label_files.read(label_file)))
        names = label_values.names_by_value(info.get("label_info"), self._labels, np.unique(values))
        return label_values.renumber(values, names, self._labels), names

    def _as_seg(
        self, image_id: str, image: sitk.Image, voxels: Voxels, names: Mapping[int, str], info: Mapping[str, Any]
    ) -> Dataset:
        slices = self._images.slices(image_id)
        return seg_writer.write(voxels, image, slices, self._labels, names, info["client_id"], info["algorithm"])

    def note_inference(self, image_id: str) -> None:
        """Remember that the user was given a model's answer on an image: their label of it is not by hand only."""
        user = users.current.get().name
        known = LocalDatastore.get_image_info(self, image_id).get(_ASSISTED, [])
        if user not in known:
            self.update_image_info(image_id, {_ASSISTED: [*known, user]})

    def _by_person(self, image_id: str) -> str:
        """How a person's label was made, as DICOM calls it; a draft of a model's is where they began."""
        with self._mutex:
            known = self._known(image_id)
            assisted = users.current.get().name in known.image.info.get(_ASSISTED, [])
            drafted = any("model" in each.info for each in known.labels.values())
        return "SEMIAUTOMATIC" if assisted or drafted else "MANUAL"

    def listed(self) -> list[dict[str, Any]]:
        """The labels, with the values that they have in the file of every final label."""
        return [{"name": label.name, "idx": label.value} for label in self._labels]

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:
        """Path of a label's NIfTI file, or "" if there is none.

        Upstream takes the id that REST passes for a SEG series and downloads the CT as if it were one
        (dicom.py:101-123). Here the id is the image's, as everywhere else. A final label is the newest of ours in
        the DICOMweb server, or else the newest of other programs, on the image's whole grid and with the values of
        the server's list; the cache is used if it has just that.
        """
        image_id = image_id or label_id
        cached = LocalDatastore.get_label_uri(self, image_id, label_tag)
        if label_tag != DefaultLabelTag.FINAL:
            return str(cached)
        series = self.labels().get(image_id)
        if series is None and (reason := self._stored.why_unread(image_id)):
            raise UnreadLabel(reason)
        if series is None:  # deleted there, unless it never was
            return "" if self._known_as(image_id).get("SeriesInstanceUID") else str(cached)
        if cached and Path(cached).exists() and self._is_of(image_id, series):
            return str(cached)
        image = sitk.ReadImage(self.get_image_uri(image_id))
        try:
            voxels = self._stored.read(series, image, self._images.slices(image_id))
        except UnreadLabel:
            if self.labels().get(image_id) in (None, series):
                raise
            return self.get_label_uri(label_id, label_tag, image_id)  # an older one, which counts now
        with tempfile.TemporaryDirectory(dir=self._images.incoming) as folder:
            path = label_files.write(voxels, image, Path(folder, "label.nii.gz"))
            info: dict[str, Any] = {"SeriesInstanceUID": series.uid, "StudyInstanceUID": series.study_uid}
            info |= {"label_info": self.listed(), "made_of": self._stored.made_of(series)}
            info |= authors.said(series.creator)
            with self._mutex:
                known = self._known_as(image_id)
                states = known if self._is_version(known, series) else {}  # what was said of another is not of this
                LocalDatastore.save_label(self, image_id, str(path), label_tag, states | info)
        return str(LocalDatastore.get_label_uri(self, image_id, label_tag))

    def _is_of(self, image_id: str, series: LabelSeries) -> bool:
        info = self._known_as(image_id)
        return info.get("label_info") == self.listed() and self._is_version(info, series)

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label; a final one from the DICOMweb server as well, where upstream leaves it.

        Raises:
            MONAILabelException: the server does not let it go.
            Forbidden: it is another program's.

        """
        if label_tag == DefaultLabelTag.FINAL:
            there = self._index.labels_of(label_id)
            if there and not any(label.own for label in there):
                raise Forbidden(
                    "the label is another program's: delete it where it was made, or in the DICOMweb server"
                )
            kept = [label for label in there if label.own and not self._submits.withdraw(label.uid)]
            self._index.forget()
            if kept:
                raise MONAILabelException(
                    MONAILabelError.INVALID_INPUT, "the DICOMweb server does not let its label be deleted"
                )
        with self._mutex:
            super().remove_label(label_id, label_tag)

    def json(self) -> dict[str, Any]:
        """All images and final labels of the DICOMweb server, and what the cache has besides.

        Upstream tells only of the images that somebody has opened.
        """
        images, labels = self.list_images(), self.labels()
        self._judgements.hear()
        with self._mutex:
            known: dict[str, Any] = super().json()
        for uid in images:
            known["objects"].setdefault(uid, listing.image(uid))
        for uid, entry in known["objects"].items():
            entry["labels"] = listing.labels(uid, entry["labels"], labels.get(uid), self._is_version)
            if (counting := labels.get(uid)) and (said := self._judgement(counting)):
                entry["labels"][DefaultLabelTag.FINAL.value]["info"] |= said
        for label in self._stored.left_out():
            told = {"SeriesInstanceUID": label.series, "reason": label.reason}
            known["objects"].setdefault(label.image, listing.image(label.image)).setdefault("left_out", []).append(told)
        return known

    def status(self) -> dict[str, Any]:
        """Upstream's numbers, and which labels of other programs cannot be read."""
        unread = [label for label in self._stored.left_out() if label.unread]
        told = [{"image": label.image, "SeriesInstanceUID": label.series, "reason": label.reason} for label in unread]
        return super().status() | ({"unread_labels": told} if told else {})

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Image and label files of all labelled images, for training; fetches what the cache lacks."""
        return self.trainable()[0]

    def trainable(self) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
        """What `datalist` gives, and what it leaves out: `{"image", "reason"}`.

        What cannot be read is left out, whoever stored it: one odd DICOM SEG must not stop every training.
        """
        entries, left_out = [], {}
        for uid in self.get_labeled_images():
            try:
                entry = {"image": self.get_image_uri(uid), "label": self.get_label_uri(uid, DefaultLabelTag.FINAL)}
            except _UNREADABLE as problem:
                left_out[uid] = str(problem)
                continue
            if entry["label"]:  # not deleted meanwhile
                entries.append(entry)
        left_out |= {label.image: label.reason for label in self._stored.left_out() if label.unread}
        for uid, reason in left_out.items():
            logger.warning(f"Left out of the training: {uid}, {reason}")
        return entries, [{"image": uid, "reason": reason} for uid, reason in left_out.items()]

    def _remove_non_existing(self) -> int:
        """Forget labels whose files are gone; an image's file may have made way for others.

        Upstream forgets such an image, its labels and what is known of it (local.py:639).
        """
        self._init_from_datastore_file()
        gone = 0
        for image_id, known in self._datastore.objects.items():
            for tag, label in list(known.labels.items()):
                if not Path(self._datastore.label_path(tag), self._filename(image_id, label.ext)).exists():
                    del known.labels[tag]
                    gone += 1
        return gone

    def _update_datastore_file(self, lock: bool = True) -> None:
        """Upstream truncates the file and then writes it (local.py:683): a kill in between loses it."""
        config = Path(self._datastore_config_path)
        with FileLock(self._lock_file) if lock else nullcontext():
            atomic_file.write(config, self._datastore.model_dump_json(exclude={"base_path"}, indent=2).encode())
            self._config_ts = config.stat().st_mtime


def _placed(image: sitk.Image, label: sitk.Image) -> sitk.Image:
    try:
        return placing.put_on(image, label)
    except Refused as refused:
        raise LabelError(str(refused)) from None

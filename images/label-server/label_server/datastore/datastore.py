"""The DICOMweb datastore of MONAI Label with upstream's faults repaired.

Each method says which fault of monailabel 0.8.5 it repairs. The file layout of the cache is upstream's:
`<series>/*.dcm` and `<series>.nii.gz` for images, `labels/<tag>/<series>.nii.gz` for labels.
"""

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import requests
import SimpleITK as sitk
from filelock import FileLock
from monailabel.config import settings
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.exception import ImageNotFoundException, MONAILabelError, MONAILabelException
from monailabel.utils.others.generic import md5_digest

from label_server import users
from label_server.datastore import image_cache, label_files, label_values, opened_images, seg_writer
from label_server.datastore.guarded import GuardedDatastore, plain
from label_server.datastore.image_cache import IncompleteSeries
from label_server.datastore.label_values import LabelError
from label_server.datastore.opened_images import OpenedImages
from label_server.datastore.stored_labels import StoredLabels, UnreadLabel
from label_server.dicomweb.client import DicomWebClient
from label_server.dicomweb.foreign_labels import LabelRules
from label_server.dicomweb.orthanc import delete_series
from label_server.dicomweb.own_labels import OwnLabels
from label_server.dicomweb.series import LabelSeries
from label_server.dicomweb.series_index import SeriesIndex
from label_server.errors import Forbidden, Refused
from label_server.parsing import grid
from label_server.settings import CACHE_MAX_BYTES, FOREIGN_LABELS
from labelpod_common import atomic_file
from labelpod_common.labels import Label

logger = logging.getLogger(__name__)

# What may be wrong with one image or its label; ITK's is the last.
_UNREADABLE = (LabelError, Refused, IncompleteSeries, ImageNotFoundException, requests.HTTPError, RuntimeError)
_SHOWN = ("SeriesInstanceUID", "StudyInstanceUID", "StudyDate", "StudyTime", "Modality", "PatientID")


class RepairedDicomWebDatastore(GuardedDatastore):
    """Upstream's datastore with its own list, download, label and cache handling.

    Args:
        client: where the images are.
        image_filter: DICOM attributes that a series must match to be offered.
        own: seals and tells our labels.
        cache: folder on the workspace volume.
        labels: the server's label list.

    """

    def __init__(
        self,
        client: DicomWebClient,
        own: OwnLabels,
        image_filter: Mapping[str, Any],
        cache: Path,
        labels: Sequence[Label],
    ) -> None:
        self._client = client
        self._convert_to_nifti = True
        self._labels = labels
        self._own = own
        rules = LabelRules(() if FOREIGN_LABELS == "any" else labels)
        self._index = SeriesIndex(client, own, image_filter, settings.MONAI_LABEL_DICOMWEB_CACHE_EXPIRY, rules)
        root = cache / md5_digest(client.base_url)
        self._images = image_cache.ImageFiles(root, CACHE_MAX_BYTES)
        self.opened = OpenedImages(root / "opened_images.json")
        self._stored = StoredLabels(client, self._index, labels, root)
        self._mutex = threading.RLock()
        self._submits: dict[str, threading.Lock] = {}
        # auto_reload off: on a volume it polls every file of the cache each second (local.py:173).
        LocalDatastore.__init__(self, datastore_path=str(root), auto_reload=False)

    # --- lists: seconds old, not hours (dicom.py:129-168) ---

    def list_images(self) -> list[str]:
        """Series UIDs of all images."""
        return self._index.images()

    def study_of(self, image_id: str) -> str | None:
        """The study of an image, if the lists as they are have it; nobody is asked."""
        opened = self.opened.of(image_id)
        return self._index.known_study(opened[0] if opened else image_id)

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Series UIDs of the images that have a label; each once, so that completed never passes total."""
        return list(self.labels())

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Series UIDs of the images that nobody has labelled yet."""
        labelled = self.labels()
        return [uid for uid in self._index.images() if uid not in labelled]

    def labels(self) -> Mapping[str, LabelSeries]:
        """The label that counts of each labelled image, by the image's UID; the same object while nothing changes."""
        return self._stored.counting()

    def files(self, image_id: str) -> dict[str, str]:
        """Where a labelled image and its label are for a training, once they have been fetched."""
        name = self._filename(image_id, ".nii.gz")
        label = Path(self._datastore.label_path(DefaultLabelTag.FINAL), name).resolve()
        return {"image": str(self._images.path(image_id)), "label": str(label)}

    # --- images: whole series or none (utils/dicom.py:72-84, convert.py:56) ---

    def get_image_uri(self, image_id: str) -> str:
        """Path of the image's NIfTI file, fetched from the DICOMweb server if the cache has none.

        Raises:
            ImageNotFoundException: no such series.
            IncompleteSeries: the server did not send all of it.

        """
        path = self._images.get(image_id, lambda folder: self._fetch(image_id, folder))
        if image_id not in self._datastore.objects:
            self._register(image_id)
        return str(path)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Take a volume for the image of the DICOMweb server that it is; from now on its name means that image.

        It is not kept: it would stand in the cache for one of the server's.

        Returns:
            The image's own id.

        Raises:
            MONAILabelException: it is none of them.

        """
        uploaded = Path(image_filename)
        there = image_id in self._index.images()
        for uid in [image_id] if there else self._may_be(uploaded):
            if opened_images.same(uploaded, Path(self.get_image_uri(uid))):
                self.opened.add(image_id, uid)
                return uid
        known = "there is an image of this name, and it is another" if there else "it is none of the server's images"
        reason = f"{known}: images come from the DICOMweb server, send it there"
        raise MONAILabelException(MONAILabelError.INVALID_INPUT, reason)

    def _may_be(self, uploaded: Path) -> Iterator[str]:
        """The images that a volume may be by their size and place; those on disk first."""
        slices = grid.of_file(uploaded).size
        images = [
            uid for uid in self._index.images() if (known := self._index.image(uid)) and known.instances in slices
        ]
        on_disk = [uid for uid in images if self._images.path(uid).exists()]
        for uid in on_disk:
            size = grid.of_file(self._images.path(uid))
            if opened_images.may_be(uploaded, size.size, size.origin):
                yield uid
        for uid in images:
            place = self._index.place(uid) if uid not in on_disk else None
            if place and opened_images.may_be(uploaded, *place):
                yield uid

    def remove_image(self, image_id: str) -> None:
        """Remove an image and its labels from the cache; upstream leaves its DICOM files there for ever."""
        super().remove_image(image_id)
        with self._mutex:
            self._images.remove(image_id)
            self._datastore.objects.pop(image_id, None)
            self._update_datastore_file()

    def hold_images(self) -> None:
        """Keep every image until this process ends."""
        self._images.hold()

    def _fetch(self, image_id: str, folder: Path) -> None:
        series = self._index.look_up(image_id)
        if series is None:
            raise ImageNotFoundException(f"Image {image_id} not found")
        try:
            got = image_cache.keep(self._client.series_files(series.study_uid, image_id), folder)
        except Refused as refused:
            raise Refused(f"the series {image_id} is no image: {refused}") from None
        if got < series.instances:
            raise IncompleteSeries(f"the DICOMweb server sent {got} of {series.instances} slices of {image_id}")

    def _register(self, image_id: str) -> None:
        series = self._index.image(image_id)
        info: dict[str, Any] = {"ts": int(time.time()), "name": f"{image_id}.nii.gz"}
        info |= {keyword: (series and series.attributes[keyword]) or "UNK" for keyword in _SHOWN}
        with self._mutex:
            self._init_from_datastore_file()
            known = self._datastore.objects.get(image_id)
            labels = known.labels if known else {}
            model = ImageLabelModel(image=DataModel(info=info, ext=".nii.gz"), labels=labels)
            self._datastore.objects[image_id] = model
            self._update_datastore_file()

    # --- labels ---

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], label_id: str = ""
    ) -> str:
        """Store a label; a final one goes to the DICOMweb server as DICOM SEG first.

        Upstream names segments by rank, fails on an empty label and shows the case as unlabelled for up to
        two hours (dicom.py:173-214, convert.py:94-134).

        Raises:
            LabelError: the label does not fit the image or holds values without a name.

        """
        plain(label_tag)  # it names a folder
        image_file = self.get_image_uri(image_id)
        label_info["user"] = users.current.get().name
        # MONAI Label Reviewer shows it as the annotator.
        label_info["client_id"] = label_info["user"]
        # Two submits of one person at once would each take back what the other has stored.
        with self._submits.setdefault(image_id, threading.Lock()):
            self._save(image_id, image_file, label_filename, label_tag, label_info)
        return image_id

    def _save(self, image_id: str, image_file: str, label_file: str, label_tag: str, info: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory(dir=self._images.incoming) as folder:
            if label_file.endswith(".bin"):
                as_image = label_files.from_voxels(image_file, label_file)
                label_file = shutil.move(as_image, str(Path(folder, "from_binary.nii.gz")))
            if label_tag == DefaultLabelTag.FINAL:
                label_file = str(self._store_final(image_id, image_file, label_file, info, folder))
            with self._mutex:
                LocalDatastore.save_label(self, image_id, label_file, label_tag, info)
        self._index.forget()

    def _store_final(self, image_id: str, image_file: str, label_file: str, info: dict[str, Any], folder: str) -> Path:
        image = sitk.ReadImage(image_file)
        label = grid.put_on(image, label_files.read(label_file))
        names = label_values.names_by_value(info.get("label_info"), self._labels)
        voxels = label_values.renumber(sitk.GetArrayFromImage(label), names, self._labels)
        slices = self._images.slices(image_id)
        if slices.is_dir():
            creator = str(info.get("user") or "")
            seg = seg_writer.write(voxels, image, slices, self._labels, names, creator)
            self._own.seal(seg)
            self._client.store_instances([seg], study_instance_uid=str(seg.StudyInstanceUID))
            self._retire(image_id, creator, str(seg.SeriesInstanceUID))
            info["SeriesInstanceUID"] = str(seg.SeriesInstanceUID)
            info["StudyInstanceUID"] = str(seg.StudyInstanceUID)
        info["label_info"] = self._listed()
        return label_files.write(voxels, image, Path(folder, "label.nii.gz"))

    def _retire(self, image_id: str, creator: str, new: str) -> None:
        """Take back what the same person submitted before; the labels of others stay, and the newest counts."""
        for label in self._index.labels_of(image_id):
            if label.own and label.creator == creator and label.uid != new:
                self._withdraw(label)

    def _withdraw(self, label: LabelSeries) -> bool:
        return delete_series(self._client._session, self._client.base_url, label.uid, self._own.deletion)

    def _listed(self) -> list[dict[str, Any]]:
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
            info |= {"label_info": self._listed(), "user": series.creator, "made_of": self._stored.made_of(series)}
            with self._mutex:
                states = LocalDatastore.get_label_info(self, image_id, label_tag) if cached else {}
                LocalDatastore.save_label(self, image_id, str(path), label_tag, states | info)
        return str(LocalDatastore.get_label_uri(self, image_id, label_tag))

    def _known_as(self, image_id: str) -> dict[str, Any]:
        return dict(LocalDatastore.get_label_info(self, image_id, DefaultLabelTag.FINAL))

    def _is_of(self, image_id: str, series: LabelSeries) -> bool:
        info = self._known_as(image_id)
        as_listed = info.get("SeriesInstanceUID") == series.uid and info.get("label_info") == self._listed()
        return as_listed and info.get("made_of", []) == self._stored.made_of(series)

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
            kept = [label for label in there if label.own and not self._withdraw(label)]
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
        images, labels = self._index.images(), self.labels()
        with self._mutex:
            known: dict[str, Any] = super().json()
        for uid in images:
            name = {"name": f"{uid}.nii.gz"}
            entry = known["objects"].setdefault(uid, {"image": {"ext": ".nii.gz", "info": name}, "labels": {}})
            if uid in labels:
                info = name | {"user": labels[uid].creator, "client_id": labels[uid].creator}
                entry["labels"].setdefault(DefaultLabelTag.FINAL.value, {"ext": ".nii.gz", "info": info})
        for label in self._stored.left_out():
            told = {"SeriesInstanceUID": label.series, "reason": label.reason}
            known["objects"][label.image].setdefault("left_out", []).append(told)
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

"""The images of a DICOMweb server: complete, as they are there now, and only such as can be labelled."""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import requests
from monailabel.config import settings
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore
from monailabel.interfaces.exception import ImageNotFoundException, MONAILabelError, MONAILabelException
from monailabel.utils.others.generic import md5_digest

from label_server import users
from label_server.datastore import image_cache, opened_images
from label_server.datastore.guarded import GuardedDatastore
from label_server.datastore.image_cache import IncompleteSeries
from label_server.datastore.kept_labels import KeptLabels
from label_server.datastore.opened_images import OpenedImages
from label_server.datastore.verdicts import Verdicts
from label_server.dicomweb.client import DicomWebClient
from label_server.dicomweb.contents import Content
from label_server.dicomweb.foreign_labels import LabelRules
from label_server.dicomweb.own_labels import OwnLabels
from label_server.dicomweb.series_index import SeriesIndex
from label_server.dicomweb.series_metadata import SeriesMetadata
from label_server.errors import Changed, Refused
from label_server.parsing import grid
from label_server.settings import CACHE_MAX_BYTES, SERIES_QUIET_SECONDS
from labelpod_common.dicom import header, series_check
from labelpod_common.dicom.header import is_uid
from labelpod_common.series_metadata import LEASE

logger = logging.getLogger(__name__)

_SHOWN = ("SeriesInstanceUID", "StudyInstanceUID", "StudyDate", "StudyTime", "Modality", "PatientID")
_POLL_SECONDS = 0.5
_MOST_GIVEN = 10_000
_ARRIVING = "its slices still arrive"


class PacsImages(GuardedDatastore):
    """The image side of the datastore.

    Args:
        client: where the images are.
        own: tells our labels.
        image_filter: DICOM attributes that a series must match to be offered.
        cache: folder on the workspace volume.
        kept: folder for labels that cannot be stored.
        rules: which segments of other programs are labels.

    """

    def __init__(
        self,
        client: DicomWebClient,
        own: OwnLabels,
        image_filter: Mapping[str, Any],
        cache: Path,
        kept: Path,
        rules: LabelRules,
    ) -> None:
        self._client = client
        self._convert_to_nifti = True
        self.leases = SeriesMetadata(client, LEASE, image_filter)
        root = cache / md5_digest(client.base_url)
        self._images = image_cache.ImageFiles(root, CACHE_MAX_BYTES)
        self.opened = OpenedImages(root / "opened_images.json")
        self._verdicts = Verdicts(root / ".verdicts.json")
        self._mutex = threading.RLock()
        self._given: dict[tuple[str, str], str] = {}
        self.kept = KeptLabels(kept)
        self._when_gone: list[Callable[[str, Path], None]] = []
        # auto_reload off: on a volume it polls every file of the cache each second (local.py:173).
        LocalDatastore.__init__(self, datastore_path=str(root), auto_reload=False)
        self._index = SeriesIndex(
            client,
            own,
            image_filter,
            settings.MONAI_LABEL_DICOMWEB_CACHE_EXPIRY,
            rules,
            SERIES_QUIET_SECONDS,
            known={*self._datastore.objects, *self._images.uids(), *self._verdicts.all_known()},
            gone=self._remove_gone,
        )

    # --- lists: seconds old, not hours (dicom.py:129-168) ---

    def list_images(self) -> list[str]:
        """Series UIDs of all images that can be labelled."""
        self._forget_what_changed()
        images, arriving = self._index.images(), self._index.arriving()
        return [uid for uid in images if uid not in arriving and not self.unfit(uid)]

    def unfit(self, image_id: str) -> str:
        """Why nobody is given an image to label, as far as that is known; "" if somebody may be."""
        if not is_uid(image_id):
            return "bad-uid: its SeriesInstanceUID is no UID, which has digits and dots only, 64 at most"
        return self._verdicts.of(image_id)

    def left_out(self) -> dict[str, str]:
        """The images that nobody is given to label, and why."""
        self._forget_what_changed()
        arriving = self._index.arriving()
        found = ((uid, _ARRIVING if uid in arriving else self.unfit(uid)) for uid in self._index.images())
        return {uid: reason for uid, reason in found if reason}

    def _forget_what_changed(self) -> None:
        for uid in self._index.take_settled():
            content = self._content_now(uid) if self._verdicts.has(uid) else None
            if content and not self._verdicts.knows(uid, content.version):
                self._verdicts.forget(uid)

    def _content_now(self, image_id: str) -> Content | None:
        """What the server holds of an image; None also where it holds it twice: then nobody is given it."""
        try:
            return self._index.content(image_id)
        except Refused as refused:
            self._verdicts.set_for_now(image_id, f"duplicate-series: {refused}")
            return None

    def study_of(self, image_id: str) -> str | None:
        """The study of an image, if the lists as they are have it; nobody is asked."""
        opened = self.opened.of(image_id)
        return self._index.known_study(opened[0] if opened else image_id)

    def study_date(self, image_id: str) -> str:
        """The day of an image's study as YYYY-MM-DD, "" if the lists do not say."""
        series = self._index.image(image_id)
        said = series.attributes["StudyDate"] if series else ""
        return f"{said[:4]}-{said[4:6]}-{said[6:]}" if re.fullmatch(r"[0-9]{8}", said) else ""

    def status(self) -> dict[str, Any]:
        """As upstream's; and the images that are left out, with the reasons."""
        return super().status() | {"left_out": self.left_out()}

    # --- images: whole series or none (utils/dicom.py:72-84, convert.py:56) ---

    def get_image_uri(self, image_id: str) -> str:
        """Path of the image's NIfTI file, fetched from the DICOMweb server unless the cache has what is there now.

        Raises:
            ImageNotFoundException: no such series.
            IncompleteSeries: it has not arrived yet, or the server did not send all of it.
            Refused: it makes no image, or one that would be read wrongly.

        """
        try:
            content = self.content(image_id)
        except (requests.ConnectionError, requests.Timeout):
            # Nothing says that it is another one, and somebody may be in the middle of painting it.
            if self._images.path(image_id).exists():
                return str(self._images.path(image_id))
            raise
        return str(self._image(image_id, content))

    def was_given(self, image_id: str, user: str) -> None:
        """Remember which content of an image a user has got, until the server ends."""
        with self._mutex:
            self._given[user, image_id] = self._images.version(image_id)
            while len(self._given) > _MOST_GIVEN:
                del self._given[next(iter(self._given))]

    def image_to_label(self, image_id: str, user: str, painted_on: str | None = None) -> str:
        """Path of an image that a user has painted on, if it is still what they have got.

        Args:
            image_id: of the image.
            user: who has painted.
            painted_on: the version of its content that they have painted on; None if they do not say so, and what
                they got from here last counts.

        Raises:
            Changed: it is not, or it is gone.
            ImageNotFoundException: there was no such image.

        """
        cached = self._images.version(image_id)
        given = painted_on or self._given.get((user, image_id), cached)
        try:
            content = self.content(image_id)
        except ImageNotFoundException:
            if given:
                raise Changed(deleted(image_id)) from None
            raise
        if given not in ("", content.version):
            if not painted_on and (user, image_id) not in self._given:  # whoever comes back gets the new one
                self._images.remove(image_id)
            raise Changed(f"slices of {image_id} came, went or were replaced since you got the image: get it again")
        return str(self._image(image_id, content))

    def content(self, image_id: str) -> Content:
        """What the server holds of an image, once that is complete.

        Raises:
            ImageNotFoundException: nothing.
            IncompleteSeries: something still comes.

        """
        if not is_uid(image_id):
            raise ImageNotFoundException(f"There is no image {image_id!r}: that is no UID of digits and dots")
        until = time.monotonic() + 1.5 * SERIES_QUIET_SECONDS + 1
        while (content := self._index.content(image_id)) and not content.complete:
            if time.monotonic() > until:
                raise IncompleteSeries(f"{image_id}: {_ARRIVING}")
            time.sleep(_POLL_SECONDS)
        if content is None:
            self._remove_gone({image_id})
            raise ImageNotFoundException(f"Image {image_id} is not in the DICOMweb server")
        return content

    def _image(self, image_id: str, content: Content) -> Path:
        path = self._images.get(image_id, content.version, lambda folder: self._fetch(image_id, content, folder))
        if image_id not in self._datastore.objects:
            self._register(image_id)
        if not self._verdicts.knows(image_id, content.version):  # it was fetched before there were any
            self.look_at(image_id)
        return path

    def _fetch(self, image_id: str, content: Content, folder: Path) -> None:
        series = self._index.look_up(image_id)
        if series is None:
            raise ImageNotFoundException(f"Image {image_id} not found")
        try:
            kept = image_cache.keep(self._client.series_files(series.study_uid, image_id), folder)
        except Refused as refused:
            self._verdicts.set(image_id, content.version, str(refused))
            raise Refused(f"the series {image_id} is no image: {refused}") from None
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "an error"
            self._verdicts.set_for_now(image_id, f"the DICOMweb server answers {status} when it is asked for it")
            raise
        if kept.instances < series.instances:
            of = f"{kept.instances} of {series.instances} slices of {image_id}"
            raise IncompleteSeries(f"the DICOMweb server sent {of}")
        if self._index.content(image_id) != content:
            raise IncompleteSeries(f"{image_id} changed while it was fetched")
        self._verdicts.set(image_id, content.version, kept.unfit)

    def look_at(self, image_id: str) -> None:
        """Find out whether an image can be labelled, by its headers alone, unless that is known by now."""
        content = self._content_now(image_id)
        series = self._index.look_up(image_id) if content and content.complete else None
        if content is None or series is None or self._verdicts.knows(image_id, content.version):
            return
        listed = self._client.retrieve_series_metadata(series.study_uid, image_id)
        self._verdicts.set(image_id, content.version, _judged(listed))

    def to_look_at(self, left_out: bool) -> list[str]:
        """Images that nothing is known of yet, or to which something came.

        Args:
            left_out: whether to name also those that are left out: slices may have been taken from them.

        """
        self._forget_what_changed()
        known = self._verdicts.all_known()
        images = [uid for uid in self._index.images() if is_uid(uid)]
        return [uid for uid in images if uid not in known or (left_out and self._verdicts.of(uid))]

    @contextmanager
    def kept_if_it_changes(self, image_id: str, label: BinaryIO, suffix: str) -> Iterator[None]:
        """Keep a label for its author if its image, or the label before it, is not what it was, and say so.

        Raises:
            Changed: it is not.

        """
        user = users.current.get().name
        try:
            yield
        except Exception as problem:
            changed = problem if isinstance(problem, Changed) else None
            was_there = not isinstance(problem, ImageNotFoundException) or (user, image_id) in self._given
            if not changed and was_there and self.gone(image_id):
                # Whatever it is that was not found: the image's files went in the middle of it.
                changed = Changed(deleted(image_id))
            if not changed:
                raise
            name = self.kept.keep(user, image_id, suffix, label)
            changed.args = (f"{changed}. It is kept for you: GET /datastore/kept/{name}",)
            raise changed from None

    def look_again(self) -> None:
        """Whatever is asked for next is as the server has it now, and not as it was seconds ago."""
        self._index.forget()

    def cache_bytes(self) -> int:
        """How much of the disk the images take that are kept here."""
        return self._images.bytes()

    # --- what is gone there ---

    def gone(self, image_id: str) -> bool:
        """Whether the server has no such image now."""
        return not is_uid(image_id) or self._index.content(image_id) is None

    def when_gone(self, do: Callable[[str, Path], None]) -> None:
        """Have this called with UID and file of each image that was deleted in the DICOMweb server."""
        self._when_gone.append(do)

    def _remove_gone(self, image_ids: set[str]) -> None:
        """Remove what is kept of images that the server has no longer: a deleted patient is deleted here, too."""
        for image_id in image_ids:
            if is_uid(image_id) and self._index.content(image_id) is None:
                self._forget_image(image_id)
                logger.info(f"Removed {image_id}, which was deleted in the DICOMweb server")

    def _forget_image(self, image_id: str) -> None:
        with self._mutex:
            self._images.remove(image_id)
            self._datastore.objects.pop(image_id, None)
            for label in Path(self._datastore.label_path(None)).glob(f"*/{image_id}.*"):
                label.unlink(missing_ok=True)
            self._update_datastore_file()
        self._verdicts.forget(image_id)
        for do in self._when_gone:
            do(image_id, self._images.path(image_id))

    def remove_image(self, image_id: str) -> None:
        """Remove an image and its labels from the cache; upstream leaves its DICOM files there for ever."""
        super().remove_image(image_id)
        with self._mutex:
            self._images.remove(image_id)
            self._datastore.objects.pop(image_id, None)
            self._update_datastore_file()

    # --- files ---

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
                self.was_given(uid, users.current.get().name)
                return uid
        known = "there is an image of this name, and it is another" if there else "it is none of the server's images"
        reason = f"{known}: images come from the DICOMweb server, send it there"
        raise MONAILabelException(MONAILabelError.INVALID_INPUT, reason)

    def _may_be(self, uploaded: Path) -> Iterator[str]:
        """The images that a volume may be by their size and place; those on disk first."""
        slices = grid.of_file(uploaded).size
        images = [uid for uid in self.list_images() if (known := self._index.image(uid)) and known.instances in slices]
        on_disk = [uid for uid in images if self._images.path(uid).exists()]
        for uid in on_disk:
            size = grid.of_file(self._images.path(uid))
            if opened_images.may_be(uploaded, size.size, size.origin):
                yield uid
        for uid in images:
            place = self._index.place(uid) if uid not in on_disk else None
            if place and opened_images.may_be(uploaded, *place):
                yield uid

    def hold_images(self) -> None:
        """Keep every image until this process ends."""
        self._images.hold()

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


def deleted(image_id: str) -> str:
    """What is said of an image that somebody has and the server has no longer."""
    return f"the image {image_id} was deleted in the DICOMweb server"


def _judged(listed: list[Mapping[str, Any]]) -> str:
    """Why a series is left out, by its instances' metadata as a DICOMweb server gives them."""
    try:
        headers = [header.of(header.from_json(each)) for each in listed]
    except Exception:  # a value that pydicom makes nothing of
        return "the header of a slice is broken"
    return series_check.unfit(series_check.problems(headers)) if headers else "it has no slices"

"""An uploaded image or label is read by a process that can do nothing else; an endpoint gets what came out of it."""

import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from monailabel.config import settings
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.utils.app import app_instance
from starlette.datastructures import UploadFile

from label_server import users
from label_server.datastore import label_files
from label_server.datastore.label_values import LabelError
from label_server.datastore.pacs_images import PacsImages
from label_server.errors import Refused
from label_server.parsing import grid, readers, scratch, segments
from label_server.web import endpoint_checks, opened_names, request_validation, upload_content

_VOXELS = ".bin"  # as OHIF sends them, without a header


def images(given: dict[str, Any]) -> None:
    """Put a volume in the place of each uploaded image of an inference; its label may be voxels of a stored image.

    Raises:
        Refused: it is none.
        ImageNotFoundException: there is no image that the voxels could be of.

    """
    for file in request_validation.uploads(given):
        upload_content.check(file)
        if _voxels(file):
            if file is not given.get("label") or not _are_all(file, given["image"]):
                raise Refused("voxels without a header can only be the label of an image")
            _give_header(file, given["image"])
        else:
            with _folder() as folder:
                _replace(file, readers.image(folder, _kept([file], folder)))


def inference(given: dict[str, Any]) -> None:
    """Put the image in the place of the name under which it was opened in Slicer, and volumes in that of uploads.

    Raises:
        Refused: as `images`; or the result is to be stored under such a name.
        ImageNotFoundException: see there.

    """
    if opened := opened_names.images(given.get("image") or ""):
        if json.loads(given.get("params") or "{}").get("save_label"):
            raise Refused("under the name that an image has in Slicer only a final label is stored")
        given["image"] = opened[0]  # the user sees the result, and where it lies
    images(given)


def session(given: dict[str, Any]) -> None:
    """Put one volume in the place of a session's files, be they slices or an archive.

    Raises:
        Refused: they are no image.

    """
    files = list(request_validation.uploads(given))
    for file in files:
        upload_content.check(file)
    with _folder() as folder:
        _replace(files[0], readers.image(folder, _kept(files, folder)))
    given["files"], given["uncompress"] = files[:1], False


def label(given: dict[str, Any]) -> None:
    """Put a label map on the grid of its image in the place of what was uploaded, and the names that it brings.

    Raises:
        LabelError: it is none.
        ImageNotFoundException: there is no such image.
        Changed: the image is not what it was; the label is kept for its author.

    """
    file = given["label"]
    upload_content.check(file)
    if opened := opened_names.images(given["image"]):
        if (given.get("tag") or DefaultLabelTag.FINAL) != DefaultLabelTag.FINAL:
            raise LabelError("under the name that an image has in Slicer only a final label is stored")
        given["image"] = _of_grid(file, given["image"], opened)
    with _kept_for_its_author(file, given["image"]):
        on = grid.of_file(_image_to_label(given["image"], given.get("painted_on")))
    if _voxels(file):
        if not _are_all(file, given["image"]):
            raise LabelError("it has more or fewer voxels than the image")
        _give_header(file, given["image"])
        return
    try:
        with _folder() as folder:
            (name,) = _kept([file], folder)
            _replace(file, readers.label(folder, name, on))
            _name(given, segments.names(folder))
    except Refused as refused:
        raise LabelError(str(refused)) from None


def _image_to_label(image: str, painted_on: str | None) -> Path:
    store, user = app_instance().datastore(), users.current.get().name
    of_pacs = isinstance(store, PacsImages)
    return Path(store.image_to_label(image, user, painted_on) if of_pacs else store.get_image_uri(image))


@contextmanager
def _kept_for_its_author(file: UploadFile, image: str) -> Iterator[None]:
    """Keep a label whose image is not what it was, and say so."""
    store = app_instance().datastore()
    suffix = upload_content.suffix(str(file.filename))
    with store.kept_if_it_changes(image, file.file, suffix) if isinstance(store, PacsImages) else nullcontext():
        yield


def _name(given: dict[str, Any], names: Sequence[str]) -> None:
    """Let the names in a segmentation's header count; a list that comes with it may say nothing else."""
    if not names:
        return
    said = json.loads(given.get("params") or "{}")
    kept = endpoint_checks.meanings([{"name": name, "idx": place} for place, name in enumerate(names, start=1)])
    listed = {entry["name"] for entry in said.get("label_info") or [] if entry["name"]}
    if listed and listed != {entry["name"] for entry in kept}:
        raise Refused("the segments in the file are others than those in label_info")
    given["params"] = json.dumps(said | {"label_info": kept})


def _of_grid(file: UploadFile, name: str, opened: Sequence[str]) -> str:
    """Which of the images that were opened under a name a label is of: the one on whose grid it lies, exactly."""
    try:
        with _folder() as folder:
            return opened_names.of_label(name, opened, readers.image(folder, _kept([file], folder)))
    except Refused as refused:
        raise LabelError(str(refused)) from None
    finally:
        file.file.seek(0)


@contextmanager
def _folder() -> Iterator[Path]:
    """On the volume, not in the temporary folder, which is memory."""
    folder = Path(settings.MONAI_LABEL_SESSION_PATH).parent / ".reading"
    folder.mkdir(parents=True, exist_ok=True)
    with scratch.folder(folder) as made:
        yield made


def _voxels(file: UploadFile) -> bool:
    return str(file.filename).lower().endswith(_VOXELS)


def _are_all(file: UploadFile, image: str) -> bool:
    """Whether there is a byte for each voxel of an image; it is looked at before they are read into memory."""
    size = grid.of_file(_image(image)).size
    return file.file.seek(0, os.SEEK_END) == math.prod(size) and file.file.seek(0) == 0


def _image(image: str) -> Path:
    return Path(app_instance().datastore().get_image_uri(image))


def _give_header(file: UploadFile, image: str) -> None:
    """Put a label map in the place of voxels of an image."""
    with _folder() as folder:
        (name,) = _kept([file], folder)
        _replace(file, label_files.of_voxels(folder / name, _image(image), folder / "label.nii.gz"))


def _kept(files: Sequence[UploadFile], folder: Path) -> list[str]:
    """Write the uploads into a folder, under names that say the format and nothing else."""
    names = []
    for number, file in enumerate(files):
        suffix = upload_content.suffix(str(file.filename))
        names.append(f"{number}{suffix}")
        with (folder / names[-1]).open("xb") as copy:
            shutil.copyfileobj(file.file, copy)
    return names


def _replace(file: UploadFile, volume: Path) -> None:
    file.file.close()
    file.file = volume.open("rb")  # it goes from the disk when it is closed
    file.filename = "image.nii.gz"

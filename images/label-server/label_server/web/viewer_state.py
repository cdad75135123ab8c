"""What the viewer asks of an image and of the trainings, where "there is none" is an answer and not a failure."""

from typing import Any

from fastapi import APIRouter
from monailabel.endpoints import datastore as upstream
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.utils.app import app_instance

from label_server import users
from label_server.datastore.image_cache import IncompleteSeries
from label_server.datastore.pacs_images import PacsImages
from label_server.datastore.stored_labels import UnreadLabel
from label_server.web import labels
from label_server.web.start_page import models

_FINAL = DefaultLabelTag.FINAL.value
router = APIRouter(prefix="/viewer", tags=["Viewer"])


def label(image: str) -> dict[str, Any]:
    """Tell of the label that counts, and of which content of the image a save is to say that it was painted on.

    Returns:
        `version` as its ETag is, None if there is none; `info`, what it says of itself; `problem`, why another
        program's label does not count, "" if there is none; `content`, the version of the image's, None where
        images have none; `arriving`, whether more of the image comes, and all else is for later.

    """
    try:
        content = _content(image)
    except IncompleteSeries:
        return {"arriving": True}
    version = labels.etag(image, _FINAL).get("ETag")
    info = upstream.get_label_info(image, _FINAL) if version else {}
    if version:
        info = info | {"label_info": app_instance().datastore().listed()}  # as the file is, whenever it was cached
    return {"version": version, "info": info, "problem": "" if version else _problem(image), "content": content}


def _content(image: str) -> str | None:
    store = app_instance().datastore()
    return store.content(image).version if isinstance(store, PacsImages) else None


def _problem(image: str) -> str:
    try:
        app_instance().datastore().get_label_uri(image, _FINAL)
    except UnreadLabel as error:
        return str(error)
    return ""


def following(strategy: str, image: str) -> dict[str, str] | None:
    """Tell which image the user will be given by a strategy once they have labelled this one, and its study.

    Returns:
        None if it is not chosen yet, or nothing is left.

    """
    app = app_instance()
    found = app.following(strategy, users.current.get().name, image)
    study = app.datastore().study_of(found) if found and isinstance(app.datastore(), PacsImages) else None
    return {"image": found, "study": study} if found and study else None


def training() -> list[dict[str, Any]]:
    """Tell of the trainings that run: of which model, and how many of its epochs are done."""
    return [vars(each) for each in models.work(app_instance()).trainings]


router.add_api_route("/label", label, summary="Which label of an image counts")
router.add_api_route("/following", following, summary="Which image comes after this one")
router.add_api_route("/training", training, summary="Which trainings run")

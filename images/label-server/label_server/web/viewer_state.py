"""What the viewer asks of an image and of the trainings, where "there is none" is an answer and not a failure."""

from typing import Any

from fastapi import APIRouter
from monailabel.endpoints import datastore as upstream
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.utils.app import app_instance

from label_server.web import labels
from label_server.web.start_page import models

router = APIRouter(prefix="/viewer", tags=["Viewer"])


def label(image: str) -> dict[str, Any]:
    """Tell of the label that counts: `version` as its ETag is, None if there is none, and what it says of itself."""
    version = labels.etag(image, DefaultLabelTag.FINAL.value).get("ETag")
    info = upstream.get_label_info(image, DefaultLabelTag.FINAL.value) if version else {}
    return {"version": version, "info": info}


def training() -> list[dict[str, Any]]:
    """Tell of the trainings that run: of which model, and how many of its epochs are done."""
    return [vars(each) for each in models.work(app_instance()).trainings]


router.add_api_route("/label", label, summary="Which label of an image counts")
router.add_api_route("/training", training, summary="Which trainings run")

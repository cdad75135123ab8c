"""What reviewers say of labels, and what they have said."""

import json
from typing import Annotated

from fastapi import APIRouter, Form, Header
from monailabel.interfaces.utils.app import app_instance
from starlette.responses import JSONResponse, Response

from label_server import users
from label_server.datastore import authors, reviews
from label_server.datastore.datastore import RepairedDicomWebDatastore
from label_server.errors import Overtaken
from label_server.users import Role
from label_server.web import labels

router = APIRouter(prefix="/datastore", tags=["Datastore"])


def review() -> list[dict[str, str]]:
    """The label that counts of each labelled image, and its judgement; annotators see their own labels only."""
    store, user = app_instance().datastore(), users.current.get()
    if not isinstance(store, RepairedDicomWebDatastore):
        return []
    return [
        reviews.entry(label, store.study_of(label.image_uid) or label.study_uid, info)
        for label, info in store.final_labels()
        if user.role >= Role.REVIEWER or (label.own and authors.said(label.creator)["user"] == user.name)
    ]


def judge(
    label: str,
    tag: str,
    info: Annotated[str, Form()] = "{}",
    if_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Add to what is known of a label; where it says so, only to the version that its sender has seen."""
    store, version = app_instance().datastore(), labels.follows(tag, if_match)
    more = {} if version is None else {"version": version}
    try:
        store.update_label_info(label, tag, json.loads(info), **more)
    except Overtaken as error:
        told = {"detail": f"The judgement was not saved: {error}", "changed_by": error.by, "changed_at": error.at}
        return JSONResponse(told, 409)
    return JSONResponse(None)


def judge_as_slicer(
    label: str,
    tag: str,
    info: Annotated[str, Form(alias="params")] = "{}",
    if_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The same in the words of MONAI Label Reviewer."""
    return judge(label, tag, info, if_match)


router.add_api_route("/review", review, summary="What reviewers have said of the labels that count")

"""Malformed input at every door: a reason and a status below 500, and nothing stored or left behind."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import SimpleITK as sitk
from monailabel.interfaces.tasks.infer_v2 import InferType
from starlette.testclient import TestClient

from label_server.users import Role, User
from label_server.web import routes
from label_server.web.routes import ENDPOINTS
from tests.support import web
from tests.support.attacks import image as volume
from tests.support.ct import Ct
from tests.support.dicomweb import Pacs
from tests.support.labels import ok, painted
from tests.support.web import Server

FILLED = {"model": "threshold", "strategy": "first", "method": "dice", "session_id": "none"}
FILES = {
    "nothing": b"",
    "garbage": b"no file of any kind",
    "cut off": volume()[:60],
    "four": web.written(sitk.JoinSeries([sitk.Image(3, 3, 3, sitk.sitkUInt8)] * 2)),
    "fraction": web.written(sitk.Image(3, 3, 3, sitk.sitkFloat32) + 0.5),
    "zip": b"PK\x03\x04 and no more",
}
NAMES = ("x.nii.gz", "x.nii", "x.nrrd", "x.seg.nrrd", "x.mha", "x.bin", "x.dcm", "x.zip", "x.pt", "x")
TEXTS = ("", "null", "[]", "7", '"x"', "{", '{"a":', '{"x": null}', "{}", '{"label_info": {"a": [1]}}', "\ufffd" * 9)
LABEL_INFO = [
    7,
    "x",
    {"name": "a"},
    [None],
    [[]],
    [{"name": 7}],
    [{"name": "a", "idx": "1"}],
    [{"idx": None}],
    [{}] * 999,
]
CLICKS = [
    [],
    None,
    "",
    7,
    {},
    [7],
    [None],
    [[]],
    [[None] * 3],
    [["1", "2", "3"]],
    [[1, 2]],
    [[1, 2, 3, 4]],
    [[[1, 2, 3]]],
]
CLICKS += [[[99, 1, 1]], [[-1, 1, 1]], [[1, 1, 6]], [[1, 1, 1], [1, 24, 1]], [[1, 1, float("nan")]], [[1, 1, 1e9]]]


def address(path: str) -> str:
    for name, value in FILLED.items():
        path = path.replace(f"{{{name}}}", value)
    return path


def bodies(uid: str) -> Iterator[dict[str, Any]]:
    """Each kind of body, malformed in each way, with a query that fits."""
    query = {"image": uid, "id": uid, "label": uid, "tag": "final"}
    for given in ({}, query, query | {"output": "dicom_seg"}, query | {"image": "1.2", "label": "1.2", "id": "1.2"}):
        yield {"params": given}
        for text in TEXTS:
            yield {"params": given, "data": {"params": text, "info": text, "wsi": text}}
            yield {"params": given, "content": text.encode(), "headers": {"Content-Type": "application/json"}}
    for name in NAMES:
        for content in FILES.values():
            yield {"params": query, "files": dict.fromkeys(("file", "files", "label"), (name, content))}
    for said in LABEL_INFO:
        form = {"params": json.dumps({"label_info": said})}
        yield {"params": query, "data": form, "files": {"label": ("x.nii.gz", volume())}}


@pytest.fixture
def kept(server: Server, image: Ct, pacs: Pacs, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever is asked, the label that was stored before is there afterwards, and no file is left in /tmp."""
    monkeypatch.setattr("monailabel.utils.async_tasks.task.run_background_task", lambda request, method: {})
    ok(server.submit(image.uid, painted()))
    before = set(Path(tempfile.gettempdir()).iterdir())
    yield
    assert np.array_equal(server.label(image.uid), painted()) and len(pacs.segmentations()) == 1
    assert set(Path(tempfile.gettempdir()).iterdir()) == before


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(("method", "path"), [entry for entry in ENDPOINTS if entry[0] != "DELETE"])
def test_no_endpoint_fails_at_malformed_input(server: Server, image: Ct, method: str, path: str):
    asked = list(bodies(image.uid)) if method in ("POST", "PUT") else [*list(bodies(image.uid))[:4], {}]
    for body in asked:
        answer = server.ask(method, address(path), "admin", **body)
        assert answer.status_code < 500, (body, answer.text)
        assert answer.status_code < 400 or method == "HEAD" or answer.json()["detail"], body


@pytest.fixture
def clicked(label_app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model waits for clicks."""
    monkeypatch.setattr(label_app._infers["threshold"], "type", InferType.DEEPGROW)


def infer(server: Server, uid: str, **params: Any) -> httpx.Response:
    form = {"params": json.dumps(params)}
    return server.ask("POST", f"/infer/threshold?image={uid}&output=image", "anna", data=form)


@pytest.mark.usefixtures("clicked")
@pytest.mark.parametrize("points", CLICKS, ids=str)
@pytest.mark.parametrize("key", ["foreground", "background", "dense"])
def test_clicks_that_are_none_are_refused(server: Server, image: Ct, label_app: Any, key: str, points: Any):
    answer = infer(server, image.uid, **{key: points})
    assert answer.status_code == 400 and answer.json()["detail"].startswith("Refused: "), answer.text
    assert label_app._infers["threshold"].asked == []


@pytest.mark.usefixtures("clicked")
def test_a_click_in_the_image_passes(server: Server, image: Ct, label_app: Any):
    for params in ({"foreground": [[0, 0, 0], [23, 23, 5]]}, {"background": [[1, 2, 3.5]], "foreground": None}):
        ok(infer(server, image.uid, **params))
    asked = label_app._infers["threshold"].asked
    assert [each["foreground"] for each in asked] == [[[0, 0, 0], [23, 23, 5]], []], "upstream takes both for granted"


@pytest.mark.usefixtures("clicked")
def test_clicks_outside_an_uploaded_image_are_refused(server: Server):
    files = {"file": ("x.nii.gz", volume((4, 8, 8)))}
    form = {"params": json.dumps({"foreground": [[1, 1, 4]]})}
    answer = server.ask("POST", "/infer/threshold", "anna", data=form, files=files)
    assert answer.status_code == 400 and "slice 4 is not from 0 to 3" in answer.json()["detail"]


@pytest.mark.usefixtures("clicked")
def test_a_slice_that_the_image_has_not_is_refused(server: Server, image: Ct):
    answer = infer(server, image.uid, foreground=[[1, 1, 1]], slice=6)
    assert answer.status_code == 400 and "slice 6 is none of the image's 6" in answer.json()["detail"]


@pytest.mark.parametrize("key", ["device", "logging", "result_dtype", "label", "roi", "slice"])
@pytest.mark.parametrize("value", [None, ""])
def test_what_is_not_chosen_is_not_passed_on(server: Server, image: Ct, label_app: Any, key: str, value: Any):
    """Upstream takes what is there for a choice."""
    ok(infer(server, image.uid, **{key: value}))
    assert label_app._infers["threshold"].asked[-1].get(key, "another") not in (None, "")


def test_an_error_that_nobody_has_foreseen_is_answered_with_a_sentence(label_app: Any, monkeypatch: pytest.MonkeyPatch):
    """Upstream's answer is the bare words Internal Server Error."""
    monkeypatch.setattr(label_app, "info", lambda: 1 / 0)
    application = routes.application("x")

    async def as_admin(scope: Any, receive: Any, send: Any) -> None:
        await application(scope | {"user": User("admin", Role.ADMIN)}, receive, send)

    answer = TestClient(as_admin, raise_server_exceptions=False).get("/info/")
    assert answer.status_code == 500
    assert answer.json() == {"detail": "The server has failed (ZeroDivisionError); its log says more"}

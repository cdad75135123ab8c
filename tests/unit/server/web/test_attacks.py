"""Attacks that plain upstream lets through, and hostile values in every place, without a container."""

import itertools
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.attacks import (
    DATA,
    HOSTILE,
    bomb,
    code,
    deep_zip,
    hostile_requests,
    image,
    linking_tar,
    operations,
    slipping_zip,
)
from tests.support.ct import Ct, ct
from tests.support.dicomweb import Pacs
from tests.support.web import Server

# A label whose voxels are said to be in another file of the server.
DETACHED = b"NRRD0004\ntype: uint8\ndimension: 1\nsizes: 8\nencoding: raw\ndata file: /etc/passwd\n\n"
CLICK = {"foreground": [[1, 2, 3]], "background": [], "result_extension": ".nii.gz"}


def infer(**params: Any) -> tuple[str, str, dict[str, Any]]:
    return "POST", "/infer/threshold?image={ct}", {"data": {"params": json.dumps(CLICK | params)}}


def train(**params: Any) -> tuple[str, str, dict[str, Any]]:
    return "POST", "/train/threshold?enqueue=true", {"json": {"max_epochs": 1} | params}


def put(path: str, name: str, file: tuple[str, bytes]) -> tuple[str, str, dict[str, Any]]:
    return "PUT", path, {"files": {name: file}}


# Name -> the request, and how it is refused. The stack tier has those that need its models besides.
ATTACKS: dict[str, tuple[tuple[str, str, dict[str, Any]], int]] = {
    "write into the app": (put("/datastore/image?image=../lib/pwned", "file", ("x.py", b"print(1)")), 400),
    "replace an image": (put("/datastore/image?image={ct}", "file", ("x.nii.gz", image())), 400),
    "store an image": (put("/datastore/image?image=new", "file", ("x.nii.gz", image())), 400),
    "write a label outside": (put("/datastore/label?image={ct}&tag=../../evil", "label", ("l.nii.gz", image())), 400),
    "the same, encoded twice": (put("/datastore/label?image={ct}&tag=%252e%252e", "label", ("l.nii.gz", b"x")), 400),
    "save an inference outside": (infer(save_label=True, label_tag="../../evil"), 400),
    "read another file": (infer(image="/workspace/x.nii.gz"), 400),
    "read a file beside": (("POST", "/infer/threshold?image=planted.nii.gz", {}), 404),
    "name the session's file": (infer(session={"path": "/etc"}), 400),
    "an expression for the bundle": (infer(highres="$__import__('os').getcwd()"), 400),
    "a component for the bundle": (infer(network={"_target_": "os.getcwd"}), 400),
    "a reference for the bundle": (infer(highres="@network"), 400),
    "an image that is a pickle": (("POST", "/infer/threshold", {"files": {"file": ("x.npy", code())}}), 400),
    "a pickle in a session": (put("/session/", "files", ("x.npz", code())), 400),
    "the name of an upload": (put("/datastore/label?image={ct}", "label", ("..\\l.nii.gz", image())), 400),
    "the extension of an upload": (put("/datastore/label?image={ct}", "label", ("l.n;ls.nii.gz", image())), 400),
    "a label of another file": (put("/datastore/label?image={ct}", "label", ("l.nrrd", DETACHED)), 400),
    "the same, under another name": (put("/datastore/label?image={ct}", "label", ("l.nii.gz", DETACHED)), 400),
    "replace a model by code": (put("/model/threshold", "file", ("m.pt", code())), 422),
    "orthanc's own interface": (("GET", "/proxy/dicom/wado/..%2fsystem", {}), 400),
    "orthanc's scripts": (("POST", "/proxy/dicom/wado/tools/now", {}), 404),
    "a training with data of its own": (train(train_ds="/etc/passwd"), 400),
    "a training that tells another server": (train(tracking_uri="http://evil.example"), 400),
    "a training into another folder": (train(name="../../evil"), 400),
    "a training with code of its own": (train(bundle_path="/workspace/cache"), 400),
    "an archive that slips out": (put("/session/?uncompress=true", "files", ("slip.zip", slipping_zip())), 400),
    "an archive with a link": (put("/session/?uncompress=true", "files", ("link.tar.gz", linking_tar())), 400),
    "an archive that is none": (put("/session/?uncompress=true", "files", ("x.zip", b"PK\x03\x04 no")), 400),
    "an image without a header": (("POST", "/infer/threshold", {"files": {"file": ("x.bin", ct().files[0])}}), 400),
    "more voxels than the image has": (put("/datastore/label?image={ct}", "label", ("l.bin", b"x" * 10**6)), 422),
    "scribbles of other voxels": (("POST", "/infer/threshold?image={ct}", {"files": {"label": ("l.bin", b"x")}}), 400),
    "an archive of folders in folders": (put("/session/", "files", ("deep.zip", deep_zip())), 400),
    "a session outside": (("GET", "/session/..%2f..%2fmodel", {}), 400),
    "a log of another place": (("GET", "/logs/?lines=-1", {}), 400),
}


# What any request may write: the cached image, locks and lists, and that it was refused.
WRITTEN = ("refusals.jsonl", ".lock", "datastore_v2.json", "leases.json", ".dcm", ".nii.gz")


def files(folder: Path) -> dict[str, int]:
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(WRITTEN))
    return {str(path): path.stat().st_mtime_ns for path in found}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused(server: Server, image: Ct, tmp_path: Path, monkeypatch, name: str):
    server.image(image.uid)
    (tmp_path / "planted.nii.gz").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    (method, path, more), status = ATTACKS[name]
    before = files(tmp_path)
    answer = server.ask(method, path.replace("{ct}", image.uid), "admin", **more)
    assert answer.status_code == status, answer.text
    assert files(tmp_path) == before
    assert "evil" not in answer.text and "passwd" not in answer.text


def test_a_bomb_stops_at_the_limit(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("label_server.parsing.readers.MAX_VOLUME_BYTES", 2**20)
    answer = server.ask("PUT", "/session/?uncompress=true", "anna", files={"files": ("bomb.zip", bomb(3))})
    assert answer.status_code == 400 and "unpacks to more than 1 MB" in answer.text
    assert list(tmp_path.rglob("zeros.bin")) == []


# --- in every place ---


@pytest.fixture
def nothing_left(server: Server, image: Ct, pacs: Pacs):
    """Afterwards the DICOMweb server holds what it held, and the server still labels."""
    server.image(image.uid)
    yield
    assert list(pacs.series) == [image.uid]
    assert server.ask("POST", f"/infer/threshold?image={image.uid}", "anna").status_code == 200


def bad(answer: httpx.Response) -> bool:
    return answer.status_code >= 500 or "root:x:0" in answer.text or "class LabelServerApp" in answer.text


@pytest.mark.parametrize("user", ["", "anna", "admin"])
def test_hostile_values_in_every_place_do_nothing(server: Server, nothing_left, user: str, monkeypatch):
    """Each place has some of the values in turn; all of them in all places are the stack tier's."""
    monkeypatch.setattr("monailabel.utils.async_tasks.task.run_background_task", lambda request, method: {})
    values, sent = itertools.cycle(HOSTILE), 0
    for operation in operations(server.ask("GET", "/openapi.json", "anna").json()):
        places = len(list(hostile_requests(operation, "x", "threshold")))
        for place, value in itertools.product(range(places), itertools.islice(values, 6)):
            path, more = list(hostile_requests(operation, value, "threshold"))[place]
            answer = server.ask(operation.method, path, user, **more)
            sent += 1
            assert not bad(answer), (operation.method, path[:120], answer.status_code, answer.text[:200])
    assert sent > 400


def test_made_up_requests_are_answered(server: Server, nothing_left):
    known = [
        each
        for each in operations(server.ask("GET", "/openapi.json", "anna").json())
        if each.method != "DELETE" and not each.path.startswith("/train")
    ]

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.sampled_from(known), DATA)
    def check(operation, nested: Any) -> None:
        for path, more in hostile_requests(operation, "1.2", "threshold"):
            if "data" in more:
                more["data"] = {"params": json.dumps(nested), "info": json.dumps(nested)}
            elif "json" in more:
                more["json"] = nested
            assert not bad(server.ask(operation.method, path, "rita", **more)), (operation.method, path, nested)

    check()

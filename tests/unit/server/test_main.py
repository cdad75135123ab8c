"""The label server's app: what it adds to a sample app."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from monailabel.config import settings
from monailabel.datastore.local import LocalDatastore

from label_server.datastore.datastore import RepairedDicomWebDatastore
from label_server.datastore.sessions import OwnedSessions
from label_server.pod import state
from tests.support import app
from tests.support.ct import Ct, ct
from tests.support.waiting import eventually
from tests.support.web import Server


def test_the_datastore_and_the_sessions_are_ours(label_app: Any):
    assert isinstance(label_app.datastore(), RepairedDicomWebDatastore)
    assert isinstance(label_app.sessions(), OwnedSessions)


def test_a_folder_of_studies_is_left_to_upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "studies").mkdir()
    monkeypatch.setattr(settings, "MONAI_LABEL_DATASTORE_AUTO_RELOAD", False)  # it watches the folder for ever
    loaded = app.load(tmp_path, str(tmp_path / "studies"), monkeypatch)
    assert type(loaded.datastore()) is LocalDatastore
    assert loaded.train({"model": "threshold"}) == {"trained": {"model": "threshold"}}


def test_an_image_that_was_given_is_made_ready_for_clicks(server: Server, image: Ct, label_app: Any, monkeypatch):
    prepared: list[str] = []
    clicks = SimpleNamespace(prepare=prepared.append)
    monkeypatch.setattr(label_app, "_infers", {"deepgrow_2d": clicks})
    label_app.prepare(image.uid)
    assert label_app._leases.holder(image.uid) is None, "nobody was given it"
    label_app._leases.take(image.uid, "anna/")
    label_app.prepare(image.uid)
    eventually(lambda: prepared, 5, "it is ready")
    assert [Path(each).name for each in prepared] == [f"{image.uid}.nii.gz"]


def test_a_saved_label_ends_the_lease(label_app: Any):
    label_app._leases.take("1.2", "anna/")
    label_app.on_save_label("1.2", "1.2")
    assert label_app._leases.holder("1.2") is None


@pytest.mark.parametrize(("path", "name"), [("/infer/threshold", "planted")])
def test_no_inference_reads_a_file_of_the_server(server: Server, tmp_path: Path, monkeypatch, path: str, name: str):
    """Upstream reads any file of that path (interfaces/app.py:286)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(b"x")
    answer = server.ask("POST", f"{path}?image={name}", "anna")
    assert answer.status_code == 404 and answer.json() == {"detail": f"Image {name} not found"}


def test_a_rented_pod_tells_when_it_stops(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(state, "_FOLDER", str(tmp_path))
    state.set_stop(1_800_000_000)
    assert server.ask("GET", "/info/", "anna").json()["stops_at"] == "2027-01-15T08:00:00+00:00"
    state.set_stop(None)
    assert server.ask("GET", "/info/", "anna").json()["stops_at"] is None


def test_an_inference_over_all_images_needs_no_gpu_and_leaves_out_what_fails(label_app: Any, pacs: Any, caplog: Any):
    pacs.store(*(ct(seed) for seed in (1, 2, 3)))
    first, *others = sorted(pacs.series)
    fails = label_app._infers["threshold"].__class__.__call__

    def infer(task: Any, request: dict[str, Any]) -> Any:
        if first in request["image"]:
            raise ValueError("odd")
        return fails(task, request)

    label_app._infers["threshold"].__class__.__call__ = infer
    try:
        result = label_app.batch_infer({"model": "threshold", "images": "all", "multi_gpu": True, "max_workers": 1})
    finally:
        label_app._infers["threshold"].__class__.__call__ = fails
    assert [bool(result[each]) for each in (first, *others)] == [False, True, True]
    assert f"{first} is left out: ValueError" in caplog.text
    assert label_app.datastore().status()["label_tags"] == {"original": 2}

"""Label servers of which one trains: the others read its models, believe how far it is, and change nothing of it."""

import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from label_server import startup
from label_server.errors import Refused
from label_server.models import archive_format, training_runs
from label_server.startup import NotReady
from tests.support import app
from tests.support.ct import Ct
from tests.support.web import Server

ELSEWHERE = "run at the one with ROLE=train"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the models, outside of any workspace."""
    folder = tmp_path / "models"
    monkeypatch.setenv("MODEL_DIR", str(folder))
    return folder


@pytest.fixture
def annotator(models: Path, label_app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The app of a second server that only annotates; the first one's is `label_app`, which trains."""
    monkeypatch.setenv("ROLE", "annotate")
    made = app.beside(label_app, tmp_path / "second", monkeypatch)
    monkeypatch.setenv("ROLE", "train")
    return made


def seen(folder: Path) -> dict[str, tuple[int, int]]:
    """Each file and folder, with when it was changed and its size."""
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in (folder, *folder.rglob("*"))}


def at_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_runs.socket, "gethostname", lambda: "another-host")


def long_ago(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (time.time() - 7200,) * 2)


# --- models ---


def test_models_are_in_the_workspace_where_nobody_says_another_place(label_app: Any):
    place = Path(label_app.app_dir, "model")
    assert place.is_dir() and not place.is_symlink()


def test_a_model_that_the_trainer_publishes_serves_at_the_others_by_itself(
    models: Path, label_app: Any, annotator: Any
):
    task = annotator._infers["threshold"]
    assert task.get_path() is None and not annotator.info()["models"]["threshold"]["trained"]
    Path(label_app._infers["threshold"].get_path(validate=False)).write_bytes(b"weights")
    assert Path(task.get_path()).read_bytes() == b"weights" and annotator.info()["models"]["threshold"]["trained"]
    assert (models / "threshold.pt").exists()


def test_back_without_another_place_the_models_are_in_the_workspace_again(models: Path, tmp_path: Path, monkeypatch):
    place = startup.lay_out(tmp_path / "w", "radiology") / "model"
    assert place.resolve() == models
    monkeypatch.delenv("MODEL_DIR")
    startup.lay_out(tmp_path / "w", "radiology")
    assert place.is_dir() and not place.is_symlink()


def test_models_that_nobody_would_see_any_more_keep_the_server_from_starting(models: Path, tmp_path: Path):
    place = tmp_path / "w" / "radiology" / "model"
    place.mkdir(parents=True)
    (place / "deepgrow_2d.pt").write_bytes(b"weights")
    with pytest.raises(NotReady, match=f"MODEL_DIR: there are models in {place}.*move them to {models}"):
        startup.lay_out(tmp_path / "w", "radiology")
    assert (place / "deepgrow_2d.pt").read_bytes() == b"weights"


def test_who_annotates_does_not_start_before_the_trainers_folder_is_there(models: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("ROLE", "annotate")
    with pytest.raises(NotReady, match=f"the folder {models} is not there"):
        startup.lay_out(tmp_path / "w", "radiology")


@pytest.mark.parametrize(
    ("role", "folder", "reason"),
    [("other", "/models", "ROLE: 'other' is none of all, annotate, train"), ("annotate", "", "needs MODEL_DIR")],
)
def test_a_role_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, role: str, folder: str, reason: str):
    monkeypatch.setenv("ROLE", role)
    monkeypatch.setenv("MODEL_DIR", folder)
    with pytest.raises(NotReady, match=reason):
        startup.check_role()


def test_who_annotates_puts_no_weights_into_the_folder(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    monkeypatch.setattr(startup, "_provide_models", lambda *_: asked.append(os.environ["ROLE"]))
    for name in ("check_names", "check_door"):
        monkeypatch.setattr(startup, name, lambda *_: None)
    given = {
        "APP": "radiology",
        "STUDIES": str(tmp_path),
        "MODELS": "",
        "BUNDLES": "",
        "WORKSPACE": str(tmp_path / "w"),
    }
    for name, value in (given | {"WEIGHTS_WAIT": "0", "STUDIES_WAIT": "1"}).items():
        monkeypatch.setenv(name, value)
    for role in ("train", "annotate"):
        monkeypatch.setenv("ROLE", role)
        startup.main()
    assert asked == ["train"]
    monkeypatch.setenv("ROLE", "other")
    with pytest.raises(NotReady, match="ROLE"):
        startup.main()


# --- what is asked of it ---


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", "/train/threshold"), ("POST", "/train/"), ("DELETE", "/train/"), ("POST", "/batch/infer/threshold")),
        *(("DELETE", "/batch/infer"), ("PUT", "/model/threshold"), ("DELETE", "/model/threshold")),
    ],
)
def test_what_is_for_the_trainer_is_refused_where_a_server_only_annotates(
    annotator: Any, server: Server, models: Path, monkeypatch: pytest.MonkeyPatch, method: str, path: str
):
    (models / "threshold.pt").write_bytes(b"weights")
    before = seen(models)
    monkeypatch.setenv("ROLE", "annotate")
    answer = server.ask(method, path, "admin", **({"json": {}} if method == "POST" else {}))
    assert answer.status_code == 421 and ELSEWHERE in answer.json()["detail"]
    assert server.ask(method, path, "anna").status_code == 403
    assert seen(models) == before


def test_what_annotators_ask_is_answered_and_changes_no_model(
    annotator: Any, server: Server, models: Path, image: Ct, monkeypatch: pytest.MonkeyPatch
):
    (models / "threshold.pt").write_bytes(b"weights")
    (models / "threshold").mkdir()
    left = models / "threshold" / "progress.json"
    left.write_text(
        json.dumps({"process": [1, 1.0], "host": "gone", "dice": [], "started": "2026-11-28T00:00:00+00:00"})
    )
    long_ago(left)
    before = seen(models)
    monkeypatch.setenv("ROLE", "annotate")
    with app.asked(annotator):
        for path in ("/info/", "/train/", "/", "/metrics", "/model/threshold", "/viewer/training"):
            assert server.ask("GET", path, "admin").status_code in (200, 404), path
        assert server.ask("POST", f"/infer/threshold?image={image.uid}", "anna").status_code == 200
    assert seen(models) == before


def test_an_archive_of_models_is_not_taken_where_a_server_only_annotates(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ROLE", "annotate")
    with pytest.raises(Refused, match=ELSEWHERE), archive_format.unpacked(io.BytesIO()):
        pytest.fail("it is taken")


# --- trainings ---


@pytest.fixture
def run(models: Path) -> training_runs.Run:
    """A training of this host's, in the models' folder."""
    return training_runs.Run(models / "threshold", "r", 2, 10)


def test_another_hosts_training_is_believed_while_it_is_fresh(run: training_runs.Run, models: Path, monkeypatch):
    run.epoch(3, 0.5)
    at_another_host(monkeypatch)
    monkeypatch.setattr(training_runs, "_process", lambda *_: pytest.fail("its number may be anybody's here"))
    told = training_runs.progress(models / "threshold")
    assert told and told["epoch"] == 3
    long_ago(models / "threshold" / "progress.json")
    assert training_runs.progress(models / "threshold") is None


@pytest.mark.parametrize(("role", "closed"), [("annotate", False), ("train", True)])
def test_only_a_trainer_closes_what_nobody_has_heard_of(run, models: Path, monkeypatch, role: str, closed: bool):
    at_another_host(monkeypatch)
    monkeypatch.setenv("ROLE", role)
    assert training_runs.history(models / "threshold") == []
    long_ago(models / "threshold" / "progress.json")
    found = training_runs.history(models / "threshold")
    assert [each["problem"] for each in found] == (["it was stopped"] if closed else [])
    assert (models / "threshold" / "progress.json").exists() != closed


def test_a_stop_leaves_another_hosts_training_as_it_is(models: Path, label_app: Any, monkeypatch: pytest.MonkeyPatch):
    training_runs.Run(models / "threshold", "r", 2, 10)
    cache = models / "threshold" / "r" / "cache_1"
    cache.mkdir(parents=True)
    at_another_host(monkeypatch)
    monkeypatch.setattr(training_runs.train, "stop", lambda: {"id": "1"})
    training_runs.stop()
    assert cache.is_dir() and (models / "threshold" / "progress.json").exists()


def test_nobody_trains_a_model_that_another_host_trains(run, models: Path, monkeypatch: pytest.MonkeyPatch):
    at_another_host(monkeypatch)
    with pytest.raises(RuntimeError, match="trains this model already"):
        training_runs.Run(models / "threshold", "r2", 2, 10)


def test_in_a_workspace_of_its_own_a_server_closes_what_its_last_container_left(tmp_path: Path, monkeypatch):
    training_runs.Run(tmp_path, "r", 2, 10)
    monkeypatch.setattr(training_runs, "_process", lambda *_: [0, 0.0])
    at_another_host(monkeypatch)
    assert [each["problem"] for each in training_runs.history(tmp_path)] == ["it was stopped"]


# --- downloads ---


@pytest.mark.parametrize(("role", "left"), [("all", []), ("annotate", ["1.2.lock", "held", "new"])])
def test_beside_others_only_downloads_that_nobody_goes_on_with_are_removed(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str, left: list[str]
):
    models.mkdir()
    incoming = tmp_path / "w" / "cache" / "x" / ".incoming"
    for name in ("old", "new"):
        (incoming / name / "slices").mkdir(parents=True)
    for name in ("held", "1.2.lock"):
        (incoming / name).touch()
    long_ago(incoming / "old" / "slices", *incoming.iterdir())
    monkeypatch.setenv("ROLE", role)
    startup.lay_out(tmp_path / "w", "radiology")
    assert sorted(path.name for path in incoming.glob("*")) == left

"""What may be said of a training, and what is told of one."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from label_server.models import training_runs
from tests.support.web import Server


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The processes that would have been started: task and request."""
    begun: list[tuple[str, dict[str, Any]]] = []

    def run(request: dict[str, Any], method: str) -> dict[str, Any]:
        begun.append((method, request))
        return {"id": "1", "status": "SUBMITTED"}

    monkeypatch.setattr("monailabel.utils.async_tasks.task.run_background_task", run)
    return begun


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"max_epochs": 1, "val_split": 0.5, "pretrained": False, "device": "cpu", "dataset": "Dataset"},
        {"max_epochs": 100_000, "early_stop_patience": -1, "gpus": "0,1", "name": "train_02"},
        {"model": "threshold", "client_id": "anna", "gpus": "all"},
        {"device": ["cpu"], "dataset": ["SmartCacheDataset", "Dataset"]},
    ],
)
def test_what_the_trainer_offers_may_be_chosen(server: Server, started, params: dict[str, Any]):
    answer = server.ask("POST", "/train/threshold", "admin", json=params)
    assert answer.status_code == 200 and answer.json()["status"] == "SUBMITTED"
    assert started == [("train", {"model": "threshold"} | params)]


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"train_ds": "x"}, "not for clients to choose"),
        ({"unknown": 1}, "no such parameter"),
        ({"tracking_uri": ""}, "no such parameter"),
        ({"model": "other"}, "no such parameter"),
        ({"max_epochs": 100_001}, "max_epochs has a value"),
        ({"max_epochs": -2}, "max_epochs has a value"),
        ({"max_epochs": "1"}, "max_epochs has a value"),
        ({"val_split": None}, "val_split has a value"),
        ({"pretrained": 0}, "pretrained has a value"),
        ({"pretrained": "yes"}, "pretrained has a value"),
        ({"device": "cuda:7"}, "device has a value"),
        ({"dataset": "Other"}, "dataset has a value"),
        ({"gpus": "all,0"}, "gpus has a value"),
        ({"gpus": "10"}, "gpus has a value"),
        ({"name": "a b"}, "name has a value"),
        ({"name": "x" * 65}, "name has a value"),
        ({"name": ""}, "name has a value"),
        ({"name": ["x"]}, "name has a value"),
    ],
)
def test_nothing_else_may(server: Server, started, params: dict[str, Any], reason: str):
    answer = server.ask("POST", "/train/threshold", "admin", json=params)
    assert answer.status_code == 400 and reason in answer.json()["detail"]
    assert started == []


@pytest.mark.parametrize(
    ("params", "status"),
    [({}, 200), ({"threshold": {"max_epochs": 1}}, 200), ({"other": {}}, 400), ({"threshold": 1}, 400), (None, 200)],
)
def test_all_trainers_at_once(server: Server, started, params: Any, status: int):
    answer = server.ask("POST", "/train/", "admin", json=params)
    assert answer.status_code == status and len(started) == (status == 200)


def test_a_trainer_that_is_not_there(server: Server, started):
    answer = server.ask("POST", "/train/other", "admin", json={})
    assert answer.status_code == 400 and "no such trainer" in answer.json()["detail"]


def test_without_a_training_there_is_none_to_tell_of(server: Server):
    assert server.ask("GET", "/train/?check_if_running=true", "anna").status_code == 404


def test_stopping_removes_the_images_it_worked_on(server: Server, tmp_path: Path):
    caches = [tmp_path / "radiology" / "model" / "threshold" / run / "cache_1" for run in ("a", "b")]
    for cache in caches:
        cache.mkdir(parents=True)
        (cache / "image.pt").write_bytes(b"x")
    assert server.ask("DELETE", "/train/", "admin").status_code == 200
    assert [cache.exists() for cache in caches] == [False, False] and caches[0].parent.exists()


# --- the record of a training ---


def test_a_training_tells_how_far_it_is_and_leaves_a_record(tmp_path: Path):
    folder = tmp_path / "threshold"
    left_out = [{"image": "1.2", "reason": "its frames are small"}]
    run = training_runs.Run(folder, "r1", studies=0, epochs=2)
    run.preparing([{}, {}, {}], left_out)
    run.iteration(1, 5, 0.9)
    run.epoch(1, 0.8)
    run.validated(1, 0.5)
    run.validated(2, 0.4)
    now = training_runs.progress(folder)
    assert (now["epoch"], now["iteration"], now["iterations"], now["loss"]) == (1, 1, 5, [[1, 0.8]])
    run.published("ab" * 32)
    run.end()
    assert training_runs.progress(folder) is None
    (record,) = training_runs.history(folder)
    assert record["left_out"] == left_out
    assert (record["best_dice"], record["published"], record["problem"]) == (0.5, True, "")
    assert not {"process", "iteration", "iterations", "last_loss"} & set(record)


def test_a_training_that_was_killed_is_recorded_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "threshold"
    monkeypatch.setattr(training_runs, "_process", lambda pid=None: [1, 0.0] if pid is None else [1, 1.0])
    training_runs.Run(folder, "killed", studies=1, epochs=1)
    assert training_runs.progress(folder) is None
    assert [record["problem"] for record in training_runs.history(folder)] == ["it was stopped"]
    (folder / "progress.json").write_text("{")
    assert len(training_runs.history(folder)) == 1


def test_a_training_that_fails_while_it_prepares_is_recorded_with_the_study(tmp_path: Path):
    run = training_runs.Run(tmp_path, "r1", studies=0, epochs=2, batch_size=4, val_split=0.2)
    with pytest.raises(OSError, match="cut off"):
        for number, _ in enumerate(run.preparing([{"image": f"/x/1.2.{number}.nii.gz"} for number in range(3)])):
            if number == 1:
                assert training_runs.progress(tmp_path)["study"] == "1.2.1"
                raise OSError("it is cut off")
    run.end("it is cut off")
    (record,) = training_runs.history(tmp_path)
    assert (record["study"], record["problem"], record["studies"]) == ("1.2.1", "it is cut off", 3)


def test_a_training_tells_what_it_is_measured_on_and_how(tmp_path: Path):
    run = training_runs.Run(tmp_path, "r1", studies=0, epochs=2, batch_size=4, val_split=0.2)
    assert len(list(run.preparing([{"image": "/x/1.2.nii.gz"}]))) == 1
    run.measured_on({"patient 2", "patient 1"})
    run.end()
    (record,) = training_runs.history(tmp_path)
    assert (record["batch_size"], record["val_split"], record["study"]) == (4, 0.2, None)
    assert record["patients"] == ["patient 1", "patient 2"]


def test_a_training_that_is_stopped_is_recorded_with_its_duration(server: Server, tmp_path: Path, monkeypatch):
    """Even if it had only begun to prepare, when it had nothing to say yet."""
    folder = tmp_path / "radiology" / "model" / "threshold"
    run = training_runs.Run(folder, "r1", studies=1, epochs=2)
    run._data["started"] = "2020-01-01T00:00:00+00:00"
    run.save()
    (folder.parent / "weights.pt").write_bytes(b"beside it")
    monkeypatch.setattr(training_runs.train, "stop", lambda: {"status": "STOPPED"})
    assert server.ask("DELETE", "/train/", "admin").status_code == 200
    assert training_runs.progress(folder) is None
    (record,) = training_runs.history(folder)
    assert record["problem"] == "it was stopped" and record["seconds"] > 10**8


def test_a_training_that_was_killed_lasted_until_it_was_last_heard_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training_runs, "_process", lambda pid=None: [1, 0.0] if pid is None else [1, 1.0])
    run = training_runs.Run(tmp_path, "killed", studies=1, epochs=1)
    started = datetime.fromisoformat(run._data["started"]).timestamp()
    os.utime(tmp_path / "progress.json", (started + 90, started + 90))
    assert [record["seconds"] for record in training_runs.history(tmp_path)] == [90.0]


def test_the_reason_of_a_failure_is_what_was_wrong_at_first():
    with pytest.raises(RuntimeError) as failed:
        try:
            raise OSError("the label is cut off\nand more")
        except OSError as error:
            raise RuntimeError("applying transform <LoadImaged>") from error
    assert training_runs.reason(failed.value) == "the label is cut off"
    assert training_runs.reason(MemoryError()) == "MemoryError"

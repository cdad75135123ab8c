"""Trainings from the command line, on the running stack."""

import json
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest
import requests

from labelpod.dicom import phantom
from tests.stack.conftest import answers
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.ports import held_port
from tests.support.waiting import eventually

SERVER = "label-server"
MODELS = "/workspace/radiology/model"
QUICK = ("--epochs", "1", "--batch-size", "4")


def submit_box(annotator: Annotator, image_id: str, slices: int = 1) -> None:
    """Label a box, on as many slices, as nodule1."""
    image = annotator.image(image_id)
    voxels = np.zeros(image.GetSize()[::-1], np.uint8)
    voxels[4 : 4 + slices, 100:120, 100:120] = 1
    annotator.submit(image_id, image, voxels)


def weights(stack: Clone) -> str:
    """Checksum of what serves; "" if nothing has been trained."""
    return stack.run_in(SERVER, "sh", "-c", f"sha256sum < {MODELS}/deepgrow_2d.pt 2>/dev/null || true").split(" ")[0]


def history(stack: Clone) -> list[dict]:
    return json.loads(stack.done("history", "deepgrow_2d", "--json"))


def train(stack: Clone, *arguments: str) -> subprocess.CompletedProcess[str]:
    return stack.cli("train", "deepgrow_2d", *arguments)


@pytest.fixture
def labelled(annotator: Annotator, ct: str) -> str:
    """The real chest CT, with a label on one slice."""
    submit_box(annotator, ct)
    eventually(lambda: annotator.completed() == 1, 10, "the label is counted")
    return ct


def test_without_a_label_a_training_is_refused_with_the_numbers(stack: Clone, annotator: Annotator, ct: str):
    eventually(lambda: annotator.completed() == 0, 10, "labels of before are gone")
    result = train(stack)
    assert result.returncode == 1 and "needs 1 labelled study" in result.stderr and "0 of 1" in result.stderr


def test_a_model_without_a_trainer_is_refused_with_those_that_there_are(stack: Clone):
    result = stack.cli("train", "deepgrow_pipeline")
    assert result.returncode == 1 and "deepgrow_2d, deepgrow_3d" in result.stderr


def test_a_watched_training_shows_its_loss_publishes_and_is_in_the_history(stack: Clone, labelled: str, tmp_path):
    before, runs = weights(stack), history(stack)
    result = train(stack, *QUICK, "--val-split", "0", "--watch")
    assert result.returncode == 0, result.stderr
    assert "started on 1 labelled study" in result.stderr and "Epoch 1 of 1: loss 0." in result.stderr
    assert "its weights serve from now on" in result.stdout and weights(stack) != before
    models = {model["name"]: model for model in stack.status()["label_server"]["models"]}
    assert models["deepgrow_2d"]["trained"] is True
    *earlier, run = history(stack)
    assert earlier == runs and (run["studies"], run["epoch"], run["epochs"]) == (1, 1, 1)
    assert run["published"] is True and run["problem"] == "" and run["best_dice"] is None
    model = json.loads(stack.done("models", "list", "--json"))[0]
    assert (model["sha256"], model["run"], model["studies"]) == (weights(stack), run["run"], 1)
    assert stack.run_in(SERVER, "find", MODELS, "-name", "cache_*") == ""
    picture = tmp_path / "history.png"
    assert "published" in stack.done("history", "--plot", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def mlflow(stack: Clone) -> Iterator[str]:
    """MLflow's pages run; their URL."""
    stack.environment["MLFLOW_PORT"] = str(held_port())
    url = f"http://127.0.0.1:{stack.environment['MLFLOW_PORT']}/"
    stack.compose("--profile", "mlflow", "up", "--detach", "mlflow")
    eventually(lambda: answers(url), 60, "MLflow answers")
    yield url
    stack.compose("--profile", "mlflow", "rm", "--stop", "--force", "mlflow")


def test_the_trainings_are_in_mlflows_pages_which_can_only_read(labelled: str, mlflow: str):
    """After a training, of the test before; a page of another site cannot ask through the browser."""
    experiments = f"{mlflow}api/2.0/mlflow/experiments"
    found = requests.post(f"{experiments}/search", json={"max_results": 100}, timeout=30)
    names = {experiment["name"] for experiment in found.json()["experiments"]}
    assert "deepgrow_2d" in names
    assert requests.post(f"{experiments}/create", json={"name": "other"}, timeout=30).status_code >= 400
    elsewhere = requests.get(mlflow, headers={"Host": "elsewhere.example"}, timeout=30)
    assert elsewhere.status_code == 403


def test_dice_is_measured_on_another_patient(stack: Clone, annotator: Annotator, pacs: Pacs, labelled: str, tmp_path):
    phantom.write(tmp_path, slices=40, size=128)
    pacs.store(tmp_path)
    submit_box(annotator, eventually(annotator.next_sample, 10, "the phantom is offered"))
    eventually(lambda: annotator.completed() == 2, 10, "both labels are counted")
    result = train(stack, *QUICK, "--val-split", "0.5", "--watch")
    assert result.returncode == 0 and "Epoch 1 of 1: Dice 0." in result.stderr, result.stderr
    run = history(stack)[-1]
    assert run["studies"] == 2 and [run["best_dice"]] == [dice for _, dice in run["dice"]]


def test_a_training_that_is_stopped_leaves_the_weights_and_says_so(stack: Clone, annotator, ct: str, tmp_path):
    submit_box(annotator, ct, slices=40)
    eventually(lambda: annotator.completed() == 1, 10, "the label is counted")
    before, runs = weights(stack), history(stack)
    train(stack, "--epochs", "50", "--batch-size", "1", "--val-split", "0")
    second = train(stack)
    assert second.returncode == 1 and "a training of deepgrow_2d runs already" in second.stderr
    state = eventually(lambda: progress(annotator), 180, "the training is under way")
    assert state["studies"] == 1 and state["epochs"] == 50
    assert stack.cli("train", "deepgrow_3d", "--stop").returncode == 1
    assert "stopped" in stack.done("train", "--stop")
    (run,) = eventually(lambda: history(stack)[len(runs) :], 10, "the run is in the history")
    assert run["epoch"] == 0 and "stopped" in run["problem"] and run["published"] is False
    assert weights(stack) == before
    assert "no training runs" in stack.cli("train", "--stop").stderr
    # A training without an epoch can be drawn, too.
    assert stack.cli("history", "--plot", str(tmp_path / "history.png")).returncode == 0


def progress(annotator: Annotator) -> dict | None:
    """How far the training is, once an iteration of it is done."""
    state = annotator.client.info()["train_stats"]["deepgrow_2d"]["progress"]
    return state if state and state["iteration"] else None

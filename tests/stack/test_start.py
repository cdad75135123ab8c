"""How the label server starts, from its environment alone, and how it stops."""

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import requests
import SimpleITK as sitk

from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.waiting import eventually

SERVER = "label-server"
MODELS = (
    "deepgrow_2d,deepgrow_3d,deepedit,segmentation,segmentation_spleen,"
    "localization_spine,localization_vertebra,segmentation_vertebra,sw_fastedit,sam2"
)


@contextmanager
def started_with(stack: Clone, **environment: str) -> Iterator[None]:
    """The label server with other settings: the container is new, the image is the same."""
    before = dict(stack.environment)
    own = f"labelpod/label-server:{stack.project}"
    image = subprocess.run(["docker", "image", "inspect", "-f", "{{.Id}}", own], capture_output=True, check=True)
    stack.environment.update(environment)
    result = stack.compose("up", "--detach", "--wait", SERVER)
    try:
        assert result.returncode == 0, result.stderr + stack.compose("logs", "--tail", "30", SERVER).stdout
        used = subprocess.run(
            ["docker", "inspect", "-f", "{{.Image}}", _container(stack)], capture_output=True, check=True
        )
        assert used.stdout == image.stdout
        yield
    finally:
        stack.environment.clear()
        stack.environment.update(before)
        stack.compose("up", "--detach", "--wait", SERVER)


def _container(stack: Clone) -> str:
    return stack.compose("ps", "-q", SERVER).stdout.strip()


def test_other_labels_need_no_other_image(stack: Clone, annotator: Annotator):
    with started_with(stack, LABELS="mass:1,cyst:2,mass 2:1"):
        info = annotator.client.info()
    assert info["labels"] == ["mass", "cyst", "mass 2"]
    assert info["models"]["deepgrow_3d"]["labels"] == {"mass": 1, "cyst": 2, "mass 2": 3}


def test_every_model_starts_untrained_and_says_so(stack: Clone, annotator: Annotator):
    """Without a network no weights can be had; a model that cannot even be made is shown all the same."""
    stack.run_in(SERVER, "bash", "-c", "rm -f /workspace/radiology/model/*.pt")  # what another test has trained
    with started_with(stack, MODELS=MODELS, BUNDLES="lung_nodule_ct_detection", WEIGHTS_WAIT="5"):
        info = annotator.client.info()
    shown = {name: model["trained"] for name, model in info["models"].items() if model["type"] != "scribbles"}
    asked = (set(MODELS.split(",")) - {"sam2"}) | {"sam_2d", "sam_3d", "lung_nodule_ct_detection"}
    assert asked | {"deepgrow_pipeline", "vertebra_pipeline", "deepedit_seg"} <= set(shown)
    if requests_reach_the_internet():
        pytest.skip("weights can be had here: whether a model is untrained is not known")
    assert not any(shown.values()), shown
    assert info["labels"][:3] == ["nodule1", "nodule2", "nodule3"]


def requests_reach_the_internet() -> bool:
    try:
        return requests.head("https://github.com", timeout=3).ok
    except requests.RequestException:
        return False


def test_a_bundle_that_cannot_be_had_says_why_when_it_is_run(stack: Clone, annotator: Annotator, ct: str):
    with started_with(stack, BUNDLES="no_such_bundle", WEIGHTS_WAIT="5"):
        answer = requests.post(f"{annotator.url}/infer/no_such_bundle?image={ct}", timeout=60)
    assert answer.status_code == 400 and "could not be downloaded" in answer.json()["detail"]


@pytest.mark.parametrize("app", ["monaibundle", "pathology"])
def test_upstreams_other_apps_start_as_they_ship(stack: Clone, annotator: Annotator, app: str):
    with started_with(stack, APP=app, BUNDLES="", STUDIES="/tmp", WEIGHTS_WAIT="5"):
        assert annotator.client.info()["name"].startswith("MONAILabel")


def test_images_can_come_from_a_folder(stack: Clone, annotator: Annotator, tmp_path):
    image = sitk.GetImageFromArray(np.zeros((8, 32, 32), np.int16))
    sitk.WriteImage(image, str(tmp_path / "chest.nii.gz"))
    tmp_path.chmod(0o777)
    for folder in (tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    files = f"{stack.root / 'compose.yaml'}:{stack.root / 'compose.folder.yaml'}"
    with started_with(stack, STUDIES=str(tmp_path), COMPOSE_FILE=files):
        assert annotator.next_sample() == "chest"
        annotator.submit("chest", annotator.image("chest"), np.ones((8, 32, 32)))
        assert annotator.completed() == 1
    assert list(tmp_path.glob("labels/final/chest*"))


def test_the_server_is_alive_to_its_health_check_while_an_inference_runs(stack: Clone, annotator: Annotator, ct: str):
    """Upstream's /info does not answer meanwhile; what a check asks must."""
    work = threading.Thread(target=annotator.click, args=("deepgrow_3d", ct, [181, 285, 25]))
    work.start()
    seen = set()
    while work.is_alive():
        form = "{{.State.Health.Status}} {{.RestartCount}}"
        inspect = ["docker", "inspect", "-f", form, _container(stack)]
        seen.add(subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.strip())
        time.sleep(0.5)
    assert seen == {"healthy 0"}


def test_it_stops_within_10_seconds_with_its_training(stack: Clone, annotator: Annotator, pacs: Pacs, ct: str):
    image = annotator.image(ct)
    voxels = np.zeros(image.GetSize()[::-1], np.uint8)
    voxels[10:20, 100:120, 100:120] = 1
    annotator.submit(ct, image, voxels)
    annotator.client.train_start("deepgrow_2d", {"max_epochs": 50, "train_batch_size": 1, "val_split": 0.0})
    trains = "ps -eo args | grep -c '[m]onailabel.interfaces.utils.app'"
    eventually(lambda: int(stack.compose("exec", "-T", SERVER, "bash", "-c", trains).stdout or 0), 30, "it trains")
    time.sleep(5)
    started = time.monotonic()
    stack.compose("stop", SERVER)
    seconds = time.monotonic() - started
    code = subprocess.run(
        ["docker", "inspect", "-f", "{{.State.ExitCode}}", stack.compose("ps", "-aq", SERVER).stdout.strip()],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert seconds < 10 and code in ("0", "143"), f"{seconds:.1f} s, exit code {code}"


def test_uploads_of_local_volumes_are_kept_on_the_workspace(stack: Clone, annotator: Annotator, tmp_path):
    """Upstream keeps them in the home folder of a container that is thrown away."""
    image = tmp_path / "local.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 16, 16), np.int16)), str(image))
    session = annotator.client.create_session(str(image))["session_id"]
    assert session in stack.run_in(SERVER, "ls", "/workspace/sessions")

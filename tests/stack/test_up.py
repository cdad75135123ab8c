"""A new user's first hour, in order: one command, one push, one label, and everything still there after a restart."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import SimpleITK as sitk
from dotenv import dotenv_values

from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs, masks
from tests.support.waiting import eventually

# The nodule in chest-ct-mini: IJK of a voxel inside it (chest-ct-full/nodules.json, less 40 slices).
NODULE = [181, 285, 25]


@pytest.fixture(scope="module")
def printed(user: Clone) -> str:
    """What `up --yes` prints on a clone where nothing has been done yet, under a umask of 077."""
    for path in (user.root / "images" / "orthanc").rglob("*"):
        path.chmod(0o600)
    before = os.umask(0o077)
    try:
        return user.done("up", "--yes", "--cpu")
    finally:
        os.umask(before)


@pytest.fixture(scope="module")
def status(user: Clone, printed: str) -> dict:
    return user.status()


@pytest.fixture(scope="module")
def annotator(status: dict) -> Annotator:
    return Annotator(status["label_server"]["url"])


@pytest.fixture(scope="module")
def pacs(status: dict) -> Pacs:
    return Pacs.of(status)


@pytest.fixture(scope="module")
def ct(user: Clone, annotator: Annotator, data) -> str:
    """The real CT, pushed; its series UID as next sample gives it."""
    user.done("studies", "push", str(data / "chest-ct-mini"))
    return eventually(annotator.next_sample, 5, "next sample offers the CT")


@pytest.fixture(scope="module")
def labelled(annotator: Annotator, ct: str) -> np.ndarray:
    """nodule1 is painted by a click with deepgrow_2d, nodule2 and nodule3 by hand, and submitted."""
    image = annotator.image(ct)
    voxels = np.zeros(image.GetSize()[::-1], np.uint8)
    voxels[annotator.click("deepgrow_2d", ct, NODULE) > 0] = 1
    voxels[10:14, 300:320, 350:370] = 2
    voxels[30:33, 100:110, 200:210] = 3
    annotator.submit(ct, image, voxels)
    return voxels


def test_up_prints_what_to_paste_and_which_models_are_untrained(printed, status):
    for text in (status["label_server"]["url"], status["ohif"]["url"], status["orthanc"]["url"]):
        assert text in printed
    assert (
        status["orthanc"]["password"] in printed.replace("\n", "").replace(" ", "")
        or status["orthanc"]["password"] in printed
    )
    assert "CPU" in printed and "deepgrow_2d (untrained)" in printed


def test_status_tells_programs_all_that_design_promises(status):
    server = status["label_server"]
    assert server["ready"] is True and server["device"] == "CPU"
    assert {model["name"]: model["trained"] for model in server["models"]}["deepgrow_2d"] is False
    nothing = {"total": 0, "labelled": 0, "unread_labels": [], "left_out": {}}
    assert status["orthanc"]["username"] and status["studies"] == nothing
    assert status["labels"] == ["nodule1", "nodule2", "nodule3"]


def test_the_settings_file_holds_a_password_and_is_for_its_owner_alone(user, printed):
    path = user.root / ".env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(dotenv_values(path)["LABELPOD_ORTHANC_PASSWORD"]) > 20


def test_a_second_up_takes_seconds(user, printed):
    started = time.monotonic()
    user.done("up", "--yes", "--cpu")
    assert time.monotonic() - started < 20


def test_a_pushed_ct_is_listed_and_offered(user, ct):
    assert "LungFCP-mini" in user.done("studies", "list")


def test_a_push_again_sends_nothing(user, ct, data):
    outcome = json.loads(user.done("studies", "push", "--json", str(data / "chest-ct-mini")))
    assert outcome["sent"] == 0 and outcome["already"] == 48


def test_the_label_is_a_dicom_seg_with_the_right_names_and_voxels(annotator, pacs, ct, labelled):
    (seg,) = pacs.segmentations(ct)
    found = masks(seg, annotator.image(ct))
    assert set(found) == {"nodule1", "nodule2", "nodule3"}
    for value, name in enumerate(("nodule1", "nodule2", "nodule3"), start=1):
        assert np.array_equal(found[name], labelled == value), name


def test_a_labelled_study_is_not_offered_again(annotator, ct, labelled):
    assert annotator.next_sample() is None


def test_labels_and_studies_survive_down_and_up(user, annotator, ct, labelled):
    user.done("down")
    assert user.status()["label_server"]["ready"] is False
    user.done("up", "--yes", "--cpu")
    studies = user.status()["studies"]
    assert (studies["total"], studies["labelled"]) == (1, 1)
    assert np.array_equal(sitk.GetArrayFromImage(annotator.stored_label(ct)), labelled)


def test_a_file_that_is_gone_is_not_made_as_a_folder_and_status_says_dockers_reason(user, printed):
    mounted, away = user.root / "build" / "access.lua", user.root / "build" / "away"
    user.compose("stop", "orthanc")
    mounted.rename(away)
    container = user.compose("ps", "-aq", "orthanc").stdout.strip()
    assert subprocess.run(["docker", "start", container], capture_output=True, check=False).returncode != 0
    try:
        assert not mounted.exists()
        assert "access.lua" in user.status()["orthanc"]["problem"]
    finally:
        away.rename(mounted)
        user.done("up", "--yes", "--cpu")
    assert user.status()["orthanc"]["state"] == "running"


def test_a_followed_log_goes_on_after_a_restart(user, printed):
    command = [sys.executable, "deploy.py", "logs", "orthanc", "--follow"]
    following = subprocess.Popen(command, cwd=user.root, env=user.variables(), stdout=subprocess.PIPE, text=True)
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.extend(following.stdout), daemon=True)
    reading.start()
    eventually(lambda: sum("HTTP server listening" in line for line in lines) >= 1, 20, "the log is shown")
    before = sum("HTTP server listening" in line for line in lines)
    user.compose("restart", "orthanc")
    eventually(lambda: sum("HTTP server listening" in line for line in lines) > before, 30, "the log goes on")
    following.send_signal(signal.SIGINT)
    assert following.wait(10) == 130


@pytest.fixture(scope="module")
def second(tmp_path_factory, user, printed) -> Iterator[Clone]:
    """Another clone, of another version."""
    clone = Clone.make(tmp_path_factory.mktemp("second"), "labelpod-test-second")
    with (clone.root / "images" / "label-server" / "label_server" / "errors.py").open("a") as file:
        file.write("# another version\n")
    yield clone
    clone.cli("down", "--volumes", "--yes")


@pytest.mark.parametrize("verb", ["up --yes --cpu", "down --volumes --yes", "logs", "models list"])
def test_a_second_clone_is_refused_the_first_ones_stack(second, user, verb):
    refused = second.cli(*verb.split(), COMPOSE_PROJECT_NAME=user.project)
    assert refused.returncode == 1 and str(user.root) in refused.stderr
    assert user.status()["label_server"]["ready"] is True


def test_a_second_clones_build_changes_nothing_of_the_first_ones(second, user):
    before = user.compose("ps", "-q").stdout
    second.done("build", "--yes")
    user.compose("up", "--detach", "--wait")
    assert user.compose("ps", "-q").stdout == before
    assert user.run_in("label-server", "tail", "-n1", "/opt/labelpod/label_server/errors.py") != "# another version\n"


def test_down_with_volumes_asks_first(user, printed):
    refused = user.cli("down", "--volumes")
    assert refused.returncode == 1 and "nothing was deleted" in refused.stderr
    assert user.status()["label_server"]["ready"] is True

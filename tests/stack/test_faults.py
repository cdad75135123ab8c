"""Faults of monailabel 0.8.5 that break the labelling loop, each repaired by the app.

Every test here has been seen failing on plain upstream, and can be again:
`.venv/bin/python -m pytest tests/stack/test_faults.py --plain-upstream`.
"""

import http.client
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import requests
import SimpleITK as sitk

from labelpod.dicom import phantom
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs, masks
from tests.support.waiting import eventually

SERVER = "label-server"

KILL_AT_FIRST_SLICE = Path(__file__).with_name("programs") / "kill_at_first_slice"


def paint(annotator: Annotator, ct: str, **boxes: int) -> tuple[sitk.Image, np.ndarray]:
    """A label map with one small box for each value given."""
    image = annotator.image(ct)
    voxels = np.zeros(image.GetSize()[::-1], np.uint8)
    for number, value in enumerate(boxes.values(), start=1):
        voxels[4 * number : 4 * number + 3, 100:110, 50 * number : 50 * number + 10] = value
    return image, voxels


def test_a_new_study_is_seen_within_5_seconds(pacs: Pacs, annotator: Annotator, data):
    """Upstream keeps its lists for two hours (dicom.py:129)."""
    eventually(lambda: annotator.total() == 0, 5, "what was there before is gone")
    pacs.store(data / "chest-ct-mini")
    eventually(lambda: annotator.total() == 1, 5, "the new study is counted")


def test_a_saved_label_is_counted_within_5_seconds(annotator: Annotator, ct: str):
    """Upstream shows the case as unlabelled for up to two hours (dicom.py:156)."""
    image, voxels = paint(annotator, ct, first=1)
    before = annotator.completed()
    annotator.submit(ct, image, voxels)
    eventually(lambda: annotator.completed() == before + 1, 5, "the label is counted")
    assert annotator.next_sample() is None


def test_segments_are_named_by_value_where_the_first_label_is_not_painted(annotator: Annotator, pacs: Pacs, ct: str):
    """Upstream names by rank: nodule2 and nodule3 came out as nodule1 and nodule2 (convert.py:94)."""
    image, voxels = paint(annotator, ct, second=2, third=3)
    annotator.submit(ct, image, voxels)
    (seg,) = pacs.segmentations(ct)
    found = masks(seg, image)
    assert set(found) == {"nodule2", "nodule3"}
    assert np.array_equal(found["nodule2"], voxels == 2) and np.array_equal(found["nodule3"], voxels == 3)


def test_segments_are_coded_as_nodules(annotator: Annotator, pacs: Pacs, ct: str):
    """Upstream codes whatever is painted as SCT 78961009, a spleen (convert.py:110)."""
    image, voxels = paint(annotator, ct, first=1)
    annotator.submit(ct, image, voxels)
    (seg,) = pacs.segmentations(ct)
    (segment,) = seg.SegmentSequence
    code = segment.SegmentedPropertyTypeCodeSequence[0]
    assert (code.CodingSchemeDesignator, code.CodeValue) == ("SCT", "27925004")


def test_an_empty_label_completes_a_study(annotator: Annotator, pacs: Pacs, ct: str):
    """Upstream answers 500: a scan without a nodule can never be finished (dicom.py:200)."""
    image, voxels = paint(annotator, ct)
    annotator.submit(ct, image, voxels)
    assert annotator.next_sample() is None
    assert not any(mask.any() for mask in masks(pacs.segmentations(ct)[0], image).values())


def test_the_final_label_can_be_read_back(annotator: Annotator, ct: str):
    """Upstream answers 500, so that MONAI Review cannot show a label (dicom.py:101)."""
    image, voxels = paint(annotator, ct, second=2, third=3)
    annotator.submit(ct, image, voxels)
    assert np.array_equal(sitk.GetArrayFromImage(annotator.stored_label(ct)), voxels)


def test_labels_come_back_from_orthanc_alone_with_values_and_geometry(stack: Clone, annotator: Annotator, ct: str):
    """Upstream rebuilds values 2, 3 as 1, 2 on the segmented slices alone (convert.py:140)."""
    image, voxels = paint(annotator, ct, second=2, third=3)
    annotator.submit(ct, image, voxels)
    stack.compose("stop", SERVER)
    stack.compose("run", "--rm", "--no-deps", "--entrypoint", "rm", SERVER, "-rf", "/workspace/cache")
    stack.compose("up", "--detach", "--wait", SERVER)
    label = annotator.stored_label(ct)
    assert label.GetSize() == image.GetSize() and np.allclose(label.GetOrigin(), image.GetOrigin())
    assert np.array_equal(sitk.GetArrayFromImage(label), voxels)


def test_a_killed_download_is_not_taken_for_a_whole_series(
    stack: Clone, annotator: Annotator, pacs: Pacs, noticed: Callable[[], None], tmp_path: Path
):
    """Upstream takes any folder that is not empty for a whole series (utils/dicom.py:82)."""
    phantom.write(tmp_path, slices=300, size=256)
    pacs.store(tmp_path)
    noticed()
    killer = threading.Thread(
        target=stack.compose, args=("exec", "-T", SERVER, "bash", "-c", KILL_AT_FIRST_SLICE.read_text())
    )
    killer.start()
    time.sleep(2)
    with suppress(OSError, http.client.HTTPException):  # its connection ends with the server
        annotator.image(eventually(annotator.next_sample, 10, "the phantom is offered"))
    killer.join()
    stack.compose("up", "--detach", "--wait", SERVER)
    assert annotator.image(eventually(annotator.next_sample, 10, "it is offered again")).GetDepth() == 300


def test_no_temporary_file_is_left_by_a_fetch(stack: Clone, annotator: Annotator, ct: str):
    """Upstream leaves one NIfTI file in /tmp for each image (convert.py:56)."""
    annotator.image(ct)
    assert stack.run_in(SERVER, "find", "/tmp", "-name", "*.nii.gz") == ""


def test_an_idle_server_does_not_walk_its_cache(stack: Clone, annotator: Annotator, ct: str):
    """Upstream polls every file of a cache on a volume each second (local.py:173, 699)."""
    annotator.image(ct)
    many = "cd /workspace/cache/*/ && for i in {1..300}; do mkdir many$i && touch many$i/{1..200}.dcm; done"
    stack.run_in(SERVER, "bash", "-c", many)
    stack.compose("restart", SERVER)
    stack.compose("up", "--detach", "--wait", SERVER)
    time.sleep(3)
    before = _cpu_seconds(stack)
    time.sleep(5)
    spent = _cpu_seconds(stack) - before
    stack.run_in(SERVER, "bash", "-c", "rm -rf /workspace/cache/*/many*")
    assert spent < 0.4, f"{spent:.2f} s of CPU in 5 idle seconds"


def test_a_hanging_orthanc_does_not_hang_the_server_for_ever(stack: Clone, annotator: Annotator, ct: str):
    """Upstream waits without a time limit (dicom.py: no timeout on the session)."""
    stack.compose("pause", "orthanc")
    time.sleep(3)  # older than the lists may be
    try:
        answer = requests.get(f"{annotator.url}/info/", timeout=40)
        assert answer.status_code == 503 and "DICOMweb" in answer.json()["detail"]
    finally:
        stack.compose("unpause", "orthanc")
    eventually(lambda: annotator.total() == 1, 10, "the server sees Orthanc again")


def test_an_orthanc_that_was_away_is_found_again(stack: Clone, annotator: Annotator, ct: str):
    """Upstream answers with lists two hours old, or a bare 500 (dicom.py:129)."""
    stack.compose("stop", "orthanc")
    time.sleep(3)
    assert requests.get(f"{annotator.url}/info/", timeout=40).status_code == 503
    stack.compose("start", "orthanc")
    eventually(lambda: _ok(f"{annotator.url}/info/") and annotator.total() == 1, 20, "the server sees Orthanc again")


def test_training_runs_to_the_end_and_publishes(stack: Clone, annotator: Annotator, ct: str):
    """Upstream's MLflow file store is refused by MLflow 3.17 and ends every training (config.py:99)."""
    image, voxels = paint(annotator, ct, first=1)
    annotator.submit(ct, image, voxels)
    annotator.client.train_start("deepgrow_2d", {"max_epochs": 1, "train_batch_size": 1, "val_split": 0.0})
    last = eventually(lambda: _ended_training(annotator), 240, "the training ends")
    assert last["status"] == "DONE", last["details"][-20:]
    assert annotator.client.info()["models"]["deepgrow_2d"]["trained"] is True
    assert "mlflow.db" in stack.run_in(SERVER, "ls", "/workspace")


def test_the_pipeline_runs_without_a_gpu(annotator: Annotator, ct: str):
    """Upstream runs its 2D half on "cuda" whatever is there (deepgrow_pipeline.py:124)."""
    mask = annotator.click("deepgrow_pipeline", ct, [181, 285, 25])
    assert mask.shape == (48, 512, 512) and mask.any()


def test_the_viewers_query_reaches_orthanc(annotator: Annotator, ct: str):
    """Upstream drops the query string, and with it filters and paging (proxy.py:60)."""
    found = requests.get(f"{annotator.url}/proxy/dicom/qido/studies?PatientID=nobody", timeout=10)
    assert found.status_code in (200, 204) and not (found.content and found.json())


@pytest.mark.parametrize("path", ["assets/favicon.ico", "assets/android-chrome-36x36.png"])
def test_the_viewers_files_have_their_own_types(annotator: Annotator, path: str):
    """Upstream sends index.html for every file in a sub-folder (ohif.py:35)."""
    answer = requests.get(f"{annotator.url}/ohif/{path}", timeout=10)
    assert answer.ok and "text/html" not in answer.headers["content-type"]


def _ended_training(annotator: Annotator) -> dict | None:
    """The last training, once it has ended."""
    last = annotator.client.train_status(check_if_running=False)
    return last if last.get("status") in ("DONE", "ERROR") else None


def _ok(url: str) -> bool:
    return requests.get(url, timeout=40).ok


def _cpu_seconds(stack: Clone) -> float:
    """CPU time of all processes of the label server so far."""
    container = stack.compose("ps", "-q", SERVER).stdout.strip()
    pids = subprocess.run(["docker", "top", container, "-eo", "pid"], capture_output=True, text=True, check=True)
    ticks = 0
    for pid in pids.stdout.split()[1:]:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100

"""Labels over time: replaced, deleted, lost with the cache, of two people, of another program, under another list."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
NAMES = ("nodule1", "nodule2", "nodule3")


@pytest.fixture
def people(stack: Clone, annotator: Annotator) -> Iterator[list[Annotator]]:
    """Two annotators, each with a token of their own."""
    base = annotator.url.rpartition("/")[0]
    tokens = [json.loads(stack.done("users", "add", name, "--json"))["token"] for name in ("anna", "berta")]
    time.sleep(1.5)
    yield [Annotator(f"{base}/{token}") for token in tokens]
    for name in ("anna", "berta"):
        stack.done("users", "revoke", name)


def painted(annotator: Annotator, ct: str, first: int = 10) -> np.ndarray:
    """nodule1 stays empty, nodule2 and nodule3 are painted."""
    voxels = np.zeros(annotator.image(ct).GetSize()[::-1], np.uint8)
    voxels[first : first + 4, 100:120, 200:220] = 2
    voxels[first + 6 : first + 8, 300:310, 200:220] = 3
    return voxels


def stored(annotator: Annotator, ct: str) -> np.ndarray:
    return sitk.GetArrayFromImage(annotator.stored_label(ct))


def test_submitting_again_replaces(annotator: Annotator, pacs: Pacs, ct: str):
    for first in (10, 20):
        annotator.submit(ct, annotator.image(ct), painted(annotator, ct, first))
    (seg,) = pacs.segmentations(ct)
    found = masks(seg, annotator.image(ct))
    assert set(found) == {"nodule2", "nodule3"}
    assert np.array_equal(found["nodule2"], painted(annotator, ct, 20) == 2)
    assert (annotator.completed(), annotator.total()) == (1, 1)


def test_the_label_of_another_is_kept_and_the_newest_counts(people: list[Annotator], pacs: Pacs, ct: str):
    anna, berta = people
    anna.submit(ct, anna.image(ct), painted(anna, ct, 10))
    berta.submit(ct, berta.image(ct), painted(berta, ct, 20))
    assert len(pacs.segmentations(ct)) == 2
    assert np.array_equal(stored(anna, ct), painted(anna, ct, 20))
    assert anna.completed() == 1


def test_deleting_a_label_deletes_its_seg(annotator: Annotator, pacs: Pacs, ct: str):
    annotator.submit(ct, annotator.image(ct), painted(annotator, ct))
    requests.delete(f"{annotator.url}/datastore/label?id={ct}&tag=final", timeout=30).raise_for_status()
    assert pacs.segmentations(ct) == []
    assert annotator.completed() == 0
    assert eventually(annotator.next_sample, 5, "the image is offered again") == ct


def test_a_lost_cache_is_rebuilt_with_the_same_values_on_the_same_grid(
    stack: Clone, annotator: Annotator, pacs: Pacs, ct: str
):
    annotator.submit(ct, annotator.image(ct), painted(annotator, ct))
    before = annotator.stored_label(ct)
    stack.compose("stop", SERVER)
    stack.compose("run", "--rm", "--no-deps", SERVER, "bash", "-c", "rm -rf /workspace/cache")
    stack.compose("up", "--detach", "--wait")
    after = annotator.stored_label(ct)
    assert np.array_equal(sitk.GetArrayFromImage(after), sitk.GetArrayFromImage(before))
    for property_ in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert np.allclose(getattr(after, property_)(), getattr(before, property_)()), property_


def test_another_label_list_does_not_renumber_silently(stack: Clone, annotator: Annotator, ct: str):
    """Values follow the names: what was nodule2 is nodule2, whatever its place in the list."""
    voxels = painted(annotator, ct)
    annotator.submit(ct, annotator.image(ct), voxels)
    stack.environment["LABELS"] = "nodule3:1,nodule2:1,mass:2"
    try:
        stack.compose("up", "--detach", "--wait")
        again = stored(annotator, ct)
    finally:
        del stack.environment["LABELS"]
        stack.compose("up", "--detach", "--wait")
    assert np.array_equal(again == 2, voxels == 2) and np.array_equal(again == 1, voxels == 3)
    assert np.array_equal(stored(annotator, ct), voxels)


def test_a_seg_that_a_viewer_stored_through_the_gate_counts(annotator: Annotator, pacs: Pacs, ct: str):
    """So that OHIF's own export is a label like any other; here a stored one is sent again under new numbers."""
    from pydicom.uid import generate_uid

    annotator.submit(ct, annotator.image(ct), painted(annotator, ct))
    (seg,) = pacs.segmentations(ct)
    requests.delete(f"{annotator.url}/datastore/label?id={ct}&tag=final", timeout=30).raise_for_status()
    seg.SeriesInstanceUID, seg.SOPInstanceUID, seg.Manufacturer = generate_uid(), generate_uid(), "another program"
    seg.file_meta.MediaStorageSOPInstanceUID = seg.SOPInstanceUID
    viewer = pacs.dicomweb.__class__(f"{annotator.url}/proxy/dicom", stow_url_prefix="stow")
    viewer.store_instances([seg])
    assert eventually(lambda: annotator.completed() == 1, 5, "it is found")
    assert np.array_equal(stored(annotator, ct), painted(annotator, ct))
    assert annotator.next_sample() is None


def test_a_label_that_was_deleted_in_orthanc_is_gone(annotator: Annotator, pacs: Pacs, ct: str, data: Path):
    annotator.submit(ct, annotator.image(ct), painted(annotator, ct))
    pacs.delete_everything()
    pacs.store(data / "chest-ct-mini")
    eventually(lambda: annotator.next_sample() == ct, 10, "the CT is offered again")
    assert requests.get(f"{annotator.url}/datastore/label?label={ct}&tag=final", timeout=30).status_code == 404


def test_two_annotators_never_get_the_same_sample(
    people: list[Annotator], annotator: Annotator, pacs: Pacs, ct: str, tmp_path: Path
):
    phantom.write(tmp_path)
    pacs.store(tmp_path)
    anna, berta = people
    eventually(lambda: anna.total() == 2, 10, "both images are known")
    for _ in range(5):
        with ThreadPoolExecutor() as pool:
            both = list(pool.map(lambda each: each.next_sample(), (anna, annotator)))
        assert None not in both and both[0] != both[1]
    assert berta.next_sample() is None
    anna.submit(both[0], anna.image(both[0]), np.zeros(anna.image(both[0]).GetSize()[::-1]))
    assert anna.next_sample() is None and annotator.next_sample() == both[1]


def test_the_server_answers_eight_clients_at_once_and_loses_nothing(annotator: Annotator, pacs: Pacs, ct: str):
    """Inferences, downloads, uploads and questions at the same time; /info stays quick."""
    image, voxels = annotator.image(ct), painted(annotator, ct)
    deadline, errors, seconds = time.monotonic() + 40, [], []

    def work(task) -> None:
        try:
            while time.monotonic() < deadline:
                task()
        except Exception as error:
            errors.append(repr(error)[:300])

    def ask() -> None:
        started = time.monotonic()
        annotator.client.info()
        seconds.append(time.monotonic() - started)
        time.sleep(0.02)

    def infer() -> None:
        assert annotator.click("deepgrow_2d", ct, [181, 285, 25]).shape == voxels.shape

    def submit() -> None:
        annotator.submit(ct, image, voxels)

    def download() -> None:
        assert annotator.image(ct).GetSize() == image.GetSize()

    tasks = [ask, ask, infer, infer, submit, submit, download, annotator.next_sample]
    threads = [threading.Thread(target=work, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds.sort()
    print(f"/info among eight clients: 95 % within {seconds[int(len(seconds) * 0.95)] * 1000:.0f} ms, n={len(seconds)}")
    assert errors == []
    assert seconds[int(len(seconds) * 0.95)] < 0.5
    assert np.array_equal(stored(annotator, ct), voxels)
    assert annotator.completed() == 1

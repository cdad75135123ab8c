"""Images of public bug reports in a real Orthanc: offered or left out with the reason, and labels that stay right."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests

from tests.support.annotator import Annotator
from tests.support.pacs import Pacs, masks
from tests.support.waiting import eventually

LEFT_OUT = {
    "localizer": "localizer",
    "two-kernels-interleaved": "mixed-reconstructions",
    "uid-with-letters": "bad-uid",
    "twice-new-sop-uids": "duplicate-slices",
}


@pytest.fixture
def reports(data: Path) -> dict[str, Path]:
    if not (data / "reports").is_dir():
        pytest.skip("needs ../shared/data/reports")
    return {folder.name: folder for folder in sorted((data / "reports").iterdir()) if folder.is_dir()}


def uid_of(folder: Path) -> str:
    return str(pydicom.dcmread(next(folder.rglob("*.dcm"))).SeriesInstanceUID)


def left_out(annotator: Annotator) -> dict[str, str]:
    answer = requests.get(f"{annotator.url}/info/", timeout=30)
    return dict(answer.json()["datastore"]["left_out"])


def test_reported_images_are_labelled_right_or_left_out_with_the_reason(
    pacs: Pacs, annotator: Annotator, reports: dict[str, Path]
):
    for folder in reports.values():
        pacs.store(folder)
    eventually(lambda: len(left_out(annotator)) == len(LEFT_OUT), 60, "every image was looked at")
    told = left_out(annotator)
    assert {name: told[uid_of(reports[name])].partition(":")[0] for name in LEFT_OUT} == LEFT_OUT
    assert annotator.total() == len(reports) - len(LEFT_OUT)
    for name in sorted(set(reports) - set(LEFT_OUT)):
        uid = uid_of(reports[name])
        image = annotator.image(uid)
        voxels = np.zeros(image.GetSize()[::-1], np.uint8)
        voxels[1:3, 2:7, 3:9] = 1
        annotator.submit(uid, image, voxels)
        (seg,) = pacs.segmentations(uid)
        assert np.array_equal(masks(seg, image)["nodule1"], voxels == 1), name
        assert seg.PatientID == pydicom.dcmread(next(reports[name].rglob("*.dcm"))).PatientID, name
    assert annotator.completed() == annotator.total() and annotator.next_sample() is None


@pytest.mark.parametrize(
    ("name", "model"), [("sagittal", "deepgrow_3d"), ("coronal", "deepgrow_2d"), ("iop-coronal-dot002", "deepgrow_2d")]
)
def test_a_click_on_a_turned_image_gives_a_mask_in_its_place(
    pacs: Pacs, annotator: Annotator, reports: dict[str, Path], name: str, model: str
):
    """Which voxels it has, tests/image/test_clicks.py says of both models in every direction."""
    pacs.store(reports[name])
    uid = uid_of(reports[name])
    image = annotator.image(uid)
    assert annotator.click(model, uid, [10, 12, 2]).shape == image.GetSize()[::-1]


@pytest.mark.parametrize(
    "name",
    ["deflated", "explicit-be", "explicit-le", "implicit-le", "j2k-lossless", "jpeg-lossless-sv1", "jpegls-lossless"],
)
def test_every_transfer_syntax_that_the_check_lets_pass_is_read(
    pacs: Pacs, annotator: Annotator, data: Path, name: str
):
    """All are of the same slice, and lossless."""
    pacs.store(data / "transfer-syntaxes" / f"{name}.dcm")
    slice_ = pydicom.dcmread(data / "transfer-syntaxes" / "explicit-le.dcm")
    expected = slice_.pixel_array * float(slice_.RescaleSlope) + float(slice_.RescaleIntercept)
    uid = str(pydicom.dcmread(data / "transfer-syntaxes" / f"{name}.dcm").SeriesInstanceUID)
    image = annotator.image(uid)
    assert image.GetSize()[:2] == expected.shape[::-1]
    found = np.array([image[index] for index in ((0, 0, 0), (100, 200, 0), (300, 50, 0))])
    assert np.array_equal(found, [expected[0, 0], expected[200, 100], expected[50, 300]])


def test_slices_that_arrive_while_samples_are_asked_for_are_all_there(pacs: Pacs, annotator: Annotator, data: Path):
    """One after the other, as a slow scanner sends them; nobody gets the first ten of them."""
    files = sorted((data / "chest-ct-mini").glob("*.dcm"))
    for number, file in enumerate(files):
        pacs.store(file)
        if number % 5 == 0:
            answer = annotator.client.next_sample("random", {})
            assert not answer.get("id"), f"it was offered after {number + 1} of {len(files)} slices"
    uid = eventually(annotator.next_sample, 20, "the series is offered")
    assert annotator.image(uid).GetDepth() == len(files)

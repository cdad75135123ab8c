"""From the address to a label in the archive: models, saving, and what is not saved; with the mouse and the keys."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
import SimpleITK as sitk
from numpy.typing import NDArray
from playwright.sync_api import Browser
from pydicom.uid import generate_uid

from labelpod.dicom import phantom
from tests.clients.session import image_of
from tests.support.annotator import LABELS, Annotator
from tests.support.cases import SEEDS, Case, same
from tests.support.clone import Clone
from tests.support.pacs import Pacs, masks
from tests.support.viewer import MIDDLE, Viewer, viewer
from tests.support.waiting import eventually


def seconds_to_the_first_label(page: Viewer, pacs: Pacs, annotator: Annotator, folder: Path) -> float:
    """From the address, in five clicks; the CT is new."""
    phantom.write(folder, seed=next(SEEDS))
    pacs.store(folder)
    uid, image = image_of(folder)
    eventually(lambda: annotator.next_sample() == uid, 20, "the CT is offered")
    start = time.monotonic()
    page.page.goto(page.address)
    page.page.get_by_role("button", name="Next CT").click()
    page.said("Nothing is stored yet")
    page.button("Brush, sphere").click()
    page.click(page.place(*MIDDLE))
    page.button("Save *").click()
    page.said("Saved in the archive")
    took = time.monotonic() - start
    (seg,) = pacs.segmentations(uid)
    assert same(masks(seg, image), page.masks(LABELS))
    return took


def test_from_the_address_to_the_first_label_in_five_clicks_and_ten_seconds(
    browser: Browser, address: str, pacs: Pacs, annotator: Annotator, tmp_path: Path
):
    """Twice at most, with nothing cached: two cores run browser, servers and archive, and may be busy once."""
    times: list[float] = []
    while len(times) < 2 and min(times, default=10.0) >= 10:
        with viewer(browser, address) as page:
            times.append(seconds_to_the_first_label(page, pacs, annotator, tmp_path / str(len(times))))
    assert min(times) < 10, times


# --- models ---


def free(page: Viewer, image: sitk.Image, painted: NDArray[np.bool_]) -> tuple[float, float]:
    """A place in the axial view around which nothing is painted: nobody knows what a model says."""
    for right, down in itertools.product(np.arange(0.15, 0.9, 0.1), repeat=2):
        place = page.place(float(right), float(down))
        x, y, z = image.TransformPhysicalPointToIndex(page.world(place))
        inside = 8 < x < image.GetWidth() - 8 and 8 < y < image.GetHeight() - 8
        if inside and not painted[z, y - 8 : y + 9, x - 8 : x + 9].any():
            return place
    raise AssertionError("the model has painted everywhere")


def test_a_click_paints_what_the_model_says_and_the_next_one_replaces_it(
    page: Viewer, ct: str, annotator: Annotator, pacs: Pacs, data: Path
):
    _, image = image_of(data / "chest-ct-mini")
    page.open(str(pacs.series("CT")[0].StudyInstanceUID), ct)
    page.press("2")
    page.press("f")
    place = page.place(0.4, 0.52)
    lies = image.TransformPhysicalPointToIndex(page.world(place))
    asked = page.infer(place)
    assert asked["foreground"] == [list(lies)] and asked["label"] == "nodule2"
    first = annotator.click("deepgrow_2d", ct, asked["foreground"][0]) > 0
    assert same(page.masks(LABELS), {"nodule2": first})
    page.said("deepgrow_2d")  # another test may have trained it

    page.press("c")
    page.paints(free(page, image, first))
    own = page.masks(LABELS)["nodule2"] & ~first
    assert own.any()
    page.press("g")
    asked = page.infer(page.place(0.6, 0.5))
    assert len(asked["foreground"]) == len(asked["background"]) == 1
    assert not (own & ~page.masks(LABELS)["nodule2"]).any(), "what a person painted stays"
    page.press("Control+z")
    eventually(lambda: np.array_equal(page.masks(LABELS)["nodule2"], first | own), 5, "undo brings the answer back")

    page.save("Saved in the archive")
    (seg,) = pacs.segmentations(ct)
    assert same(masks(seg, image), page.masks(LABELS))
    assert seg.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue == "27925004"
    assert annotator.completed() == 1


def test_a_model_without_a_point_says_what_to_do(page: Viewer, case: Case):
    page.open(case.study, case.uid)
    page.button("Run").click()
    page.said("Click a point in the nodule first")


def test_a_model_that_waits_says_its_place_and_can_be_cancelled(
    page: Viewer, ct: str, annotator: Annotator, pacs: Pacs
):
    page.open(str(pacs.series("CT")[0].StudyInstanceUID), ct)
    page.press("f")
    with ThreadPoolExecutor() as others:
        others.submit(annotator.click, "deepgrow_3d", ct, [100, 100, 4])
        eventually(lambda: requests.get(f"{annotator.url}/infer/queue", timeout=5).json()["working"], 20, "it works")
        page.click(page.place(*MIDDLE))
        page.panel.get_by_text("place 1 of the queue").wait_for(timeout=20_000)
        page.button("Cancel").click()
        page.said("Cancelled")
    assert page.masks(LABELS) == {}


# --- saving ---


def test_a_label_that_cannot_be_saved_is_not_lost(stack: Clone, page: Viewer, pacs: Pacs, case: Case):
    page.expected = {502, 503, 504}
    page.open(case.study, case.uid)
    page.paint()
    painted = page.masks(LABELS)
    stack.compose("stop", "orthanc")
    page.save("Not saved: The DICOMweb server does not answer")
    assert same(page.masks(LABELS), painted)
    stack.compose("up", "--detach", "--wait")
    page.save("Saved in the archive")
    (seg,) = pacs.segmentations(case.uid)
    assert same(masks(seg, case.image), painted)


def test_no_nodule_is_saved_after_asking(page: Viewer, annotator: Annotator, case: Case):
    page.open(case.study, case.uid)
    page.press("Control+s")
    page.question.get_by_text("Nothing is painted. Save that this CT has no nodule?").wait_for()
    page.question.get_by_role("button", name="Cancel").click()
    assert annotator.completed() == 0
    page.press("Control+s")
    page.question.get_by_role("button", name="Save: no nodule").click()
    page.said("no nodule")
    assert annotator.completed() == 1


def test_unsaved_work_is_offered_again_after_a_crash(browser: Browser, page: Viewer, case: Case):
    page.open(case.study, case.uid)
    page.paint()
    painted = page.masks(LABELS)
    page.page.wait_for_timeout(2500)  # a second without a stroke, and the time to write
    page.reload()
    page.said("Nothing is stored yet")
    assert page.masks(LABELS) == {}
    page.question.get_by_role("button", name="Take it back").click()
    page.said("is back. It is not saved yet.")
    assert same(page.masks(LABELS), painted)
    page.save("Saved in the archive")
    page.reload()
    page.said("Stored: nodule1")
    assert not page.question.is_visible()


@pytest.mark.parametrize("choice", ["Show theirs", "Replace it with mine"])
def test_a_label_that_somebody_else_changed_is_not_overwritten_unseen(
    page: Viewer, pacs: Pacs, annotator: Annotator, case: Case, choice: str
):
    page.expected = {409}
    page.open(case.study, case.uid)
    page.paint()
    mine = page.masks(LABELS)
    theirs = case.empty()
    theirs[3, 20:24, 20:24] = 2
    annotator.submit(case.uid, case.image, theirs)
    page.save("Not saved")
    page.question.get_by_role("button", name=choice).click()
    if choice == "Show theirs":
        page.said("This is the label that somebody else stored. Undo brings yours back.")
        assert same(page.masks(LABELS), {"nodule2": theirs == 2})
        page.press("Control+z")
        eventually(lambda: same(page.masks(LABELS), mine), 5, "undo brings mine back")
    else:
        page.said("Saved in the archive")
    (seg,) = pacs.segmentations(case.uid)
    assert same(masks(seg, case.image), {"nodule2": theirs == 2} if choice == "Show theirs" else mine)


def test_a_label_that_cannot_be_shown_is_not_replaced_unseen(
    page: Viewer, pacs: Pacs, annotator: Annotator, case: Case
):
    annotator.submit(case.uid, case.image, np.ones_like(case.empty()), labels=["mass"])
    page.open(case.study, case.uid, "The stored label cannot be shown:")
    assert page.button("Save").is_disabled()
    page.button("Start anew").click()
    page.said("Start anew: what you save replaces the label that cannot be shown. Nothing else is lost.")
    page.paint()
    page.save("Saved in the archive")
    (seg,) = pacs.segmentations(case.uid)
    assert same(masks(seg, case.image), page.masks(LABELS))


def test_beside_another_programs_label_that_cannot_be_shown_one_can_save(
    page: Viewer, pacs: Pacs, annotator: Annotator, case: Case
):
    """It stays in the archive; what is saved counts."""
    annotator.submit(case.uid, case.image, np.ones_like(case.empty()))
    (seg,) = pacs.segmentations(case.uid)
    requests.delete(f"{annotator.url}/datastore/label?id={case.uid}&tag=final", timeout=30).raise_for_status()
    seg.SeriesInstanceUID, seg.SOPInstanceUID, seg.Manufacturer = generate_uid(), generate_uid(), "another program"
    seg.file_meta.MediaStorageSOPInstanceUID = seg.SOPInstanceUID
    seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [9.5, 9.5]
    pacs.dicomweb.store_instances([seg])
    info = f"{annotator.url}/info/"
    unread = lambda: requests.get(info, timeout=30).json()["datastore"].get("unread_labels")  # noqa: E731
    eventually(unread, 15, "it is found to be unreadable")
    page.open(case.study, case.uid, "another program's label cannot be read")
    page.said("What you save is stored beside it.")
    page.paint()
    page.save("Saved in the archive")
    assert len(pacs.segmentations(case.uid)) == 2 and annotator.completed() == 1

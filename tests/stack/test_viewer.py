"""The viewer in a browser, through the gateway, as a person labels in it: every test uses the mouse and the keys."""

import itertools
import json
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
import SimpleITK as sitk
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from playwright.sync_api import Browser, sync_playwright
from pydicom.uid import generate_uid

from docs.tools.screenshot import CHROMIUM, FLAGS
from labelpod.dicom import phantom
from tests.clients.session import image_of
from tests.support import npm
from tests.support.annotator import LABELS, Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs, masks
from tests.support.viewer import Viewer, viewer
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed: apt-get install it")

# Another CT for each test: the label server may know for some seconds what it had of one that is gone.
SEEDS = itertools.count(100)
MIDDLE, BESIDE = (0.5, 0.5), (0.56, 0.5)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def address(stack: Clone) -> str:
    environment = stack.environment
    return f"http://127.0.0.1:{environment['LABEL_SERVER_PORT']}/{environment['LABEL_SERVER_TOKEN']}/"


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Viewer]:
    with viewer(browser, address) as shown:
        yield shown


def stored(pacs: Pacs, folder: Path, slices: int = 24, **headers: object) -> tuple[str, sitk.Image]:
    """A small synthetic CT in Orthanc, with some headers changed; its series UID and its image."""
    phantom.write(folder, slices=slices, size=64, seed=next(SEEDS))
    for number, file in enumerate(sorted(folder.glob("*.dcm"))):
        header = pydicom.dcmread(file)
        for keyword, value in headers.items():
            setattr(header, keyword, value)
        if "ImageOrientationPatient" in headers:
            header.InstanceNumber = slices - number
        header.save_as(file)
    pacs.store(folder)
    return image_of(folder)


class Case:
    """A small CT in the archive: its study, its series and its image."""

    def __init__(self, pacs: Pacs, folder: Path, **headers: object) -> None:
        self.uid, self.image = stored(pacs, folder, **headers)  # type: ignore[arg-type]
        self.study = str(pydicom.dcmread(next(folder.glob("*.dcm"))).StudyInstanceUID)

    def empty(self) -> NDArray[np.uint8]:
        return np.zeros(self.image.GetSize()[::-1], dtype=np.uint8)


@pytest.fixture
def case(pacs: Pacs, annotator: Annotator, tmp_path: Path) -> Case:
    return Case(pacs, tmp_path)


def same(ours: dict[str, NDArray[np.bool_]], theirs: dict[str, NDArray[np.bool_]]) -> bool:
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)


def paint(page: Viewer, key: str = "b", segment: str = "1") -> None:
    """A stroke in the middle of the axial view."""
    page.press(segment)
    page.press(key)
    page.paints(page.place(*MIDDLE), page.place(*BESIDE))


# --- to the first label ---


def test_from_the_address_to_the_first_label_in_five_clicks_and_ten_seconds(
    page: Viewer, pacs: Pacs, annotator: Annotator, tmp_path: Path
):
    phantom.write(tmp_path, seed=next(SEEDS))
    pacs.store(tmp_path)
    uid, image = image_of(tmp_path)
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
    assert same(masks(seg, image), page.masks(LABELS)) and took < 10, took


def test_the_study_list_says_what_the_studies_are(page: Viewer, case: Case):
    page.page.goto(f"{page.address}ohif/")
    page.page.get_by_text("SYNTHETIC chest, not a patient").first.wait_for(timeout=60_000)
    assert page.page.url.endswith("/ohif/") and page.address.split("/")[3] not in page.page.url
    page.page.get_by_text("SYNTHETIC chest, not a patient").first.click()
    workflows = page.page.get_by_role("button", name="Label")
    workflows.first.click()
    page.said("Nothing is stored yet")


def test_a_ct_opens_in_the_lung_window_that_was_chosen_last(page: Viewer, case: Case):
    page.open(case.study, case.uid)
    page.page.get_by_text("1400").first.wait_for()
    page.press("k")
    eventually(lambda: page.page.get_by_text("400", exact=True).count() == 3, 5, "all views are in soft tissue")
    page.page.reload()
    page.said("Nothing is stored yet")
    eventually(lambda: page.page.get_by_text("400", exact=True).count() == 3, 5, "the window is remembered")
    page.press("j")
    eventually(lambda: page.page.get_by_text("2000", exact=True).count() == 3, 5, "all views are in the bone window")


# --- models ---


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
    page.said("not trained")

    page.press("c")  # by hand, where the model has painted nothing
    page.paints(page.place(0.2, 0.3))
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
        for _ in range(2):
            others.submit(annotator.click, "deepgrow_3d", ct, [100, 100, 4])
        eventually(lambda: requests.get(f"{annotator.url}/infer/queue", timeout=5).json()["waiting"], 20, "they wait")
        page.click(page.place(*MIDDLE))
        page.panel.get_by_text("place 1 of the queue").wait_for(timeout=20_000)
        page.button("Cancel").click()
        page.said("Cancelled")
    assert page.masks(LABELS) == {}


# --- what is painted is what is stored ---

WAYS = {
    "as it lies": {},
    "feet first": {"ImageOrientationPatient": [-1, 0, 0, 0, 1, 0]},
    "prone": {"ImageOrientationPatient": [-1, 0, 0, 0, -1, 0]},
    "anisotropic": {"PixelSpacing": [1.5, 0.6]},
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_painted_is_what_highdicom_reads(
    page: Viewer, pacs: Pacs, annotator: Annotator, tmp_path: Path, way: str
):
    """Also from the far end: with a slice that is not in the middle, and a label that is as wide as it is high."""
    case = Case(pacs, tmp_path, **WAYS[way])
    page.open(case.study, case.uid)
    for _ in range(3):
        page.press("ArrowDown")
    page.press("3")
    page.press("b")
    place = page.place(0.4, 0.55)
    lies = case.image.TransformPhysicalPointToIndex(page.world(place))
    page.paints(place)
    painted = page.masks(LABELS)
    assert painted["nodule3"][lies[::-1]] and not painted["nodule3"][len(painted["nodule3"]) - 1 - lies[2]].any()
    page.save("Saved in the archive")
    (seg,) = pacs.segmentations(case.uid)
    assert same(masks(seg, case.image), painted)
    page.page.reload()
    page.said("Stored: nodule3")
    assert same(page.masks(LABELS), painted)


def test_every_tool_by_its_key_with_undo_and_redo(page: Viewer, case: Case):
    page.open(case.study, case.uid)
    seen = [page.voxels()]

    def changes(what: str) -> None:
        eventually(lambda: not np.array_equal(page.voxels(), seen[-1]), 5, what)
        seen.append(page.voxels())

    paint(page, "b")
    changes("the sphere paints")
    assert np.count_nonzero(seen[-1].any(axis=(1, 2))) >= 1
    page.press("]")
    paint(page, "c", "2")
    changes("the circle paints")
    page.press("x")
    page.stroke(page.place(0.3, 0.3), page.place(0.33, 0.33))
    changes("the scissors fill")
    page.press("e")
    page.click(page.place(*MIDDLE))
    changes("the eraser erases")
    page.press("ArrowDown")
    page.press("p")
    changes("the slice is copied")
    page.press("ArrowDown")
    page.press("ArrowDown")
    page.press("c")
    page.stroke(page.place(*MIDDLE), page.place(*BESIDE))
    changes("the circle paints again")
    page.press("m")
    changes("the slices between are filled")
    for voxels in reversed(seen[:-1]):
        page.press("Control+z")
        eventually(lambda voxels=voxels: np.array_equal(page.voxels(), voxels), 5, "undo")
    assert page.button("Save").count() == 1, "nothing is unsaved"
    for voxels in seen[1:]:
        page.press("Control+y")
        eventually(lambda voxels=voxels: np.array_equal(page.voxels(), voxels), 5, "redo")
    assert page.button("Save *").count() == 1


EVENTS = st.one_of(
    st.tuples(st.sampled_from(["b", "c", "e", "x"]), st.sampled_from("123"), *[st.floats(0.3, 0.7)] * 4),
    st.sampled_from(["Control+z", "Control+y"]),
)


@settings(
    max_examples=4, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)
@given(events=st.lists(EVENTS, min_size=25, max_size=25))
def strokes_undo_and_redo_agree(page: Viewer, events: list[Any]) -> None:
    """Every undo shows what was there before the stroke, every redo what was there after it."""
    seen, at = [page.voxels()], 0
    for event in events:
        if isinstance(event, str):
            to = at + (-1 if event == "Control+z" else 1)
            if not 0 <= to < len(seen):
                continue
            at = to
            page.press(event)
            eventually(lambda at=at: np.array_equal(page.voxels(), seen[at]), 5, event)
        else:
            tool, segment, *places = event
            page.press(segment)
            page.press(tool)
            page.stroke(page.place(*places[:2]), page.place(*places[2:]))
            page.page.wait_for_timeout(80)
            if not np.array_equal(page.voxels(), seen[at]):  # a stroke that changes nothing leaves nothing to undo
                seen[at + 1 :] = [page.voxels()]
                at += 1


def test_a_hundred_strokes_with_undo_and_redo_in_between(page: Viewer, pacs: Pacs, case: Case):
    page.open(case.study, case.uid)
    strokes_undo_and_redo_agree(page)
    page.save("Saved in the archive")
    (seg,) = pacs.segmentations(case.uid)
    assert same(masks(seg, case.image), page.masks(LABELS))


def test_the_threshold_brush_paints_what_is_dense_enough(page: Viewer, case: Case):
    page.open(case.study, case.uid)
    page.press("t")
    for _ in range(8):
        page.press("]")
    page.stroke(page.place(0.2, 0.5), page.place(0.8, 0.5))
    painted, voxels = page.masks(LABELS)["nodule1"], sitk.GetArrayFromImage(case.image)
    assert voxels[painted].min() >= -300 and (voxels < -300).any()


def test_sizes_are_those_of_what_is_painted(page: Viewer, case: Case):
    page.open(case.study, case.uid)
    paint(page)
    voxel = float(np.prod(case.image.GetSpacing())) / 1000
    volume = np.count_nonzero(page.voxels()) * voxel
    shown = page.panel.locator(".size").first.text_content() or ""
    diameter, unit, number, _ = shown.split()
    assert unit == "mm," and abs(float(number) - volume) < 0.006 and float(diameter) > 3
    page.button("Empty nodule1").click()
    page.said("nodule1 is empty")
    assert not page.voxels().any() and page.panel.locator(".size").first.text_content() == "empty"


# --- saving ---


def test_a_label_that_cannot_be_saved_is_not_lost(stack: Clone, page: Viewer, pacs: Pacs, case: Case):
    page.expected = {502, 503, 504}
    page.open(case.study, case.uid)
    paint(page)
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
    page.question.get_by_role("button", name="Cancel").click()
    assert annotator.completed() == 0
    page.press("Control+s")
    page.question.get_by_role("button", name="Save: no nodule").click()
    page.said("no nodule")
    assert annotator.completed() == 1


def test_unsaved_work_is_offered_again_after_a_crash(browser: Browser, page: Viewer, case: Case):
    page.open(case.study, case.uid)
    paint(page)
    painted = page.masks(LABELS)
    page.page.wait_for_timeout(2500)  # a second without a stroke, and the time to write
    page.page.reload()
    page.said("Nothing is stored yet")
    assert page.masks(LABELS) == {}
    page.question.get_by_role("button", name="Take it back").click()
    page.said("It is not saved yet")
    assert same(page.masks(LABELS), painted)
    page.save("Saved in the archive")
    page.page.reload()
    page.said("Stored: nodule1")
    assert not page.question.is_visible()


@pytest.mark.parametrize("choice", ["Show theirs", "Replace it with mine"])
def test_a_label_that_somebody_else_changed_is_not_overwritten_unseen(
    page: Viewer, pacs: Pacs, annotator: Annotator, case: Case, choice: str
):
    page.expected = {409}
    page.open(case.study, case.uid)
    paint(page)
    mine = page.masks(LABELS)
    theirs = case.empty()
    theirs[3, 20:24, 20:24] = 2
    annotator.submit(case.uid, case.image, theirs)
    page.save("Not saved")
    page.question.get_by_role("button", name=choice).click()
    if choice == "Show theirs":
        page.said("somebody else stored")
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
    page.open(case.study, case.uid, "The stored label cannot be shown")
    assert page.button("Save").is_disabled()
    page.button("Start anew").click()
    page.said("Start anew")
    paint(page)
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
    paint(page)
    page.save("Saved in the archive")
    assert len(pacs.segmentations(case.uid)) == 2 and annotator.completed() == 1


# --- from one CT to another ---


def test_each_series_has_its_own_label(page: Viewer, pacs: Pacs, annotator: Annotator, case: Case, tmp_path: Path):
    annotator.submit(case.uid, case.image, np.ones_like(case.empty()))
    other, _ = stored(
        pacs, tmp_path / "other", 48, StudyInstanceUID=case.study, SeriesNumber=2, SeriesDescription="other"
    )
    eventually(lambda: annotator.total() == 2, 10, "the other series is known")
    page.open(case.study, case.uid, "Stored: nodule1")
    assert page.voxels().all()
    page.open(case.study, other)
    assert not page.voxels().any()


def test_next_previous_and_skip_without_loading_anew(
    page: Viewer, pacs: Pacs, annotator: Annotator, case: Case, tmp_path: Path
):
    other = Case(pacs, tmp_path / "other")
    eventually(lambda: annotator.total() == 2 and annotator.next_sample(), 20, "both are offered")
    page.open(case.study, case.uid)
    page.page.evaluate("() => { window.sameDocument = true }")
    paint(page)
    page.save("Saved in the archive")
    page.press("n")
    page.page.wait_for_url(f"**{other.uid}")
    page.said("Nothing is stored yet")
    paint(page)
    page.button("Previous").click()
    page.question.get_by_role("button", name="Go on, keep it in this browser").click()
    page.said("Stored: nodule1")
    page.press("n")
    page.page.wait_for_url(f"**{other.uid}")
    page.question.get_by_role("button", name="Take it back").click()
    page.said("It is not saved yet")
    page.press("Control+z")
    page.button("Skip …").click()
    page.question.get_by_label("Reason").fill("The patient has moved")
    page.question.get_by_role("button", name="Skip").click()
    page.said("Nothing is left for you: 1 CT is labelled, 1 was skipped by you")
    skipped = requests.get(f"{annotator.url}/activelearning/skipped", timeout=30).json()
    assert [each["reason"] for each in skipped] == ["The patient has moved"]
    assert page.page.evaluate("() => window.sameDocument"), "the page was not loaded anew"


# --- review ---


@pytest.fixture
def reviewer(stack: Clone) -> Iterator[str]:
    """The address of a reviewer."""
    token = json.loads(stack.done("users", "add", "rita", "--role", "reviewer", "--json"))["token"]
    yield f"http://127.0.0.1:{stack.environment['LABEL_SERVER_PORT']}/{token}/"
    stack.done("users", "revoke", "rita")


def test_a_reviewer_judges_labels_one_after_the_other(
    browser: Browser, reviewer: str, pacs: Pacs, annotator: Annotator, case: Case, tmp_path: Path
):
    other = Case(pacs, tmp_path / "other")
    eventually(lambda: annotator.total() == 2, 20, "both are known")
    for each in (case, other):
        annotator.submit(each.uid, each.image, np.ones_like(each.empty()))
    with viewer(browser, reviewer) as page:
        page.open(case.study, case.uid, "Stored: nodule1")
        assert not page.panel.get_by_role("heading", name="Training").is_visible()
        page.panel.get_by_label("State").select_option("flagged")
        page.panel.get_by_label("Difficulty").select_option("hard")
        page.panel.get_by_label("Comment").fill("The vessel does not belong to it")
        page.button("Save review").click()
        page.said("Review saved: flagged")
        page.button("Next to review").click()
        page.page.wait_for_url(f"**{other.uid}")
        page.said("Stored: nodule1")
    info = f"{annotator.url}/datastore/label/info?label={case.uid}&tag=final"
    told = requests.get(info, timeout=30).json()["segmentationMeta"]
    assert (told["status"], told["level"], told["approvedBy"]) == ("flagged", "hard", "rita")


def test_training_is_for_admins(page: Viewer, case: Case):
    page.open(case.study, case.uid)
    assert page.panel.get_by_role("heading", name="Training").is_visible()
    assert page.panel.get_by_role("heading", name="Review").is_visible()


AXE = "axe-core@4.14.1"
AXE_INTEGRITY = "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
# Of the page, or of our panel in it: what stops people with a screen reader, or who see or reach less.
SERIOUS = """async within => (await axe.run(within)).violations
  .filter(({ impact }) => ["serious", "critical"].includes(impact))
  .map(({ id, nodes }) => [id, nodes.map(({ target }) => String(target))])"""


def test_axe_finds_nothing_serious(page: Viewer, case: Case, tmp_path_factory: pytest.TempPathFactory):
    source = npm.file(AXE, AXE_INTEGRITY, "axe.min.js", tmp_path_factory.mktemp("npm"))
    page.page.goto(page.address)
    page.page.evaluate(source)
    assert page.page.evaluate(SERIOUS, "html") == []
    page.open(case.study, case.uid)
    paint(page)
    page.button("Skip …").click()
    page.page.evaluate(source)
    assert page.page.evaluate(SERIOUS, "labelpod-panel") == []


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (3840, 2160)])
def test_the_panel_fits_the_screen(browser: Browser, address: str, case: Case, width: int, height: int):
    with viewer(browser, address, viewport={"width": width, "height": height}) as page:
        page.open(case.study, case.uid)
        panel, store = page.panel.bounding_box(), page.button("Save").bounding_box()
        assert panel and store and panel["x"] + panel["width"] <= width and panel["y"] + panel["height"] <= height
        assert store["x"] + store["width"] <= width and store["y"] + store["height"] <= height


def test_numbers_are_written_as_the_browsers_language_writes_them(browser: Browser, address: str, case: Case):
    with viewer(browser, address, locale="de-DE") as page:
        page.open(case.study, case.uid)
        paint(page)
        assert re.fullmatch(r"\d+,\d mm, \d+,\d\d ml", page.panel.locator(".size").first.text_content() or "")


def test_the_keys_are_listed(page: Viewer, case: Case):
    page.open(case.study, case.uid)
    page.press("?")
    keys = page.panel.get_by_role("dialog", name="Keys")
    assert keys.is_visible() and "Threshold brush" in keys.inner_text()
    keys.get_by_role("button", name="Close").click()


def test_what_is_typed_into_the_panel_is_no_key(page: Viewer, case: Case):
    page.open(case.study, case.uid)
    page.panel.get_by_label("Comment").fill("")
    page.panel.get_by_label("Comment").press_sequentially("be next")
    assert page.page.url.endswith(case.uid) and page.button("Brush, sphere").get_attribute("aria-pressed") == "false"

"""OHIF in a headless Chromium, through the gateway, as a user opens it: with the URL that `status` prints."""

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
import SimpleITK as sitk
from numpy.typing import NDArray
from playwright.sync_api import Locator, Page, Response, sync_playwright
from pydicom.uid import generate_uid

from docs.tools.screenshot import CHROMIUM, FLAGS
from labelpod.dicom import phantom
from tests.clients.session import image_of
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs, masks
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed: apt-get install it")

# Another CT for each test: the label server may know for some seconds what it had of one that is gone.
SEEDS = itertools.count(100)
RUN = 'button[title="Run PointPrompts"]'
# Segment -> places of its voxels, as OHIF holds them.
PAINTED = """() => {
  const segments = Object.values(services.segmentationService.getSegmentation("1").segments);
  const found = Object.fromEntries(segments.map(({ label }) => [label, []]));
  const listed = segments.map(each => [each.segmentIndex, found[each.label]]);
  const lists = { 0: { push: () => 0 }, ...Object.fromEntries(listed) };
  const voxels = services.segmentationService.getLabelmapVolume("1").voxelManager.getCompleteScalarDataArray();
  voxels.forEach((value, place) => lists[value].push(place));
  return found;
}"""
# Paints where OHIF's own copy of the CT is denser than some value.
PAINT = """([segment, above]) => {
  const view = services.cornerstoneViewportService.getViewportInfo("mpr-axial").viewportData.data[0];
  const map = services.segmentationService.getLabelmapVolume("1").voxelManager;
  const voxels = map.getCompleteScalarDataArray();
  view.volume.voxelManager.getCompleteScalarDataArray().forEach((value, place) => {
    if (value > above) voxels[place] = segment;
  });
  map.setCompleteScalarDataArray(voxels);
  const event = cornerstoneTools.Enums.Events.SEGMENTATION_DATA_MODIFIED;
  cornerstone.triggerEvent(cornerstone.eventTarget, event, { segmentationId: "1" });
}"""
# Where the last point was clicked, in millimetres.
POINT = """() => {
  const points = cornerstoneTools.annotation.state.getAllAnnotations();
  return points.filter(each => each.metadata.toolName === "ProbeMONAILabel").at(-1)?.data.handles.points[0];
}"""


@pytest.fixture
def errors() -> list[str]:
    return []


@pytest.fixture
def page(errors: list[str]) -> Iterator[Page]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("response", lambda answer: errors.extend(_failure(answer)))
        yield page
        browser.close()


def _failure(answer: Response) -> list[str]:
    # Answers for no: does a training run, is a label stored?
    expected = answer.status == 404 and any(each in answer.url for each in ("check_if_running", "/datastore/label?"))
    return [f"{answer.status} {answer.url}"] if answer.status >= 400 and not expected else []


@pytest.fixture
def url(stack: Clone) -> str:
    environment = stack.environment
    return f"http://127.0.0.1:{environment['LABEL_SERVER_PORT']}/{environment['LABEL_SERVER_TOKEN']}/ohif/"


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


@pytest.fixture
def small(pacs: Pacs, annotator: Annotator, tmp_path: Path) -> tuple[str, sitk.Image]:
    """A small CT that the label server knows."""
    return stored(pacs, tmp_path)


def opened(page: Page, url: str, pacs: Pacs, says: str = "Nothing stored") -> Locator:
    """The panel for MONAI Label with the first CT; what it says of the label."""
    page.goto(f"{url}monai-label?StudyInstanceUIDs={pacs.series('CT')[0].StudyInstanceUID}")
    return said(page, says)


def said(page: Page, text: str) -> Locator:
    message = page.locator("#labelpod-save + p", has_text=text)
    message.wait_for(timeout=60_000)  # twice what a panel takes that has to be told again to connect
    return message


def save(page: Page, says: str) -> None:
    page.locator("#labelpod-save").click()
    said(page, says)


def click(page: Page, label: str, right: float, down: float) -> list[float]:
    """Choose a label and click a point, in parts of the axial view; where that is in millimetres."""
    page.get_by_role("cell", name=label).click()
    before, box = page.evaluate(POINT), page.locator("canvas").first.bounding_box()
    page.mouse.click(box["x"] + right * box["width"], box["y"] + down * box["height"])
    return eventually(lambda: (now := page.evaluate(POINT)) != before and now, 5, "the point is there")


def run(page: Page) -> dict:
    """Run the model; what it was asked."""
    with page.expect_response(lambda answer: "/infer/" in answer.url) as answer:
        page.locator(RUN).click()
    assert answer.value.status == 200
    said(page, "Not saved yet")
    return json.loads(answer.value.request.post_data.split("\r\n\r\n")[1].split("\r\n")[0])


def painted(page: Page, image: sitk.Image) -> dict[str, NDArray[np.bool_]]:
    """Segment name -> mask on the image's grid, without empty ones."""
    result = {}
    for name, places in page.evaluate(PAINTED).items():
        if places:
            result[name] = np.zeros(image.GetSize()[::-1], dtype=bool)
            result[name].flat[places] = True
    return result


def same(ours: dict[str, NDArray[np.bool_]], theirs: dict[str, NDArray[np.bool_]]) -> bool:
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)


# --- OHIF is there ---


def test_the_token_url_opens_the_study_list_without_page_errors(page: Page, url: str, ct: str, errors: list[str]):
    page.goto(url)
    page.get_by_text("LungFCP").first.wait_for(timeout=60_000)
    assert page.url.endswith("/ohif/") and url.split("/")[3] not in page.url
    assert errors == []


def test_without_the_token_there_is_no_page(page: Page, url: str):
    answer = page.goto("/".join(url.split("/")[:3]) + "/ohif/")
    assert answer is not None and answer.status == 401 and "script" not in answer.text()


# --- labelling ---


def test_from_a_click_to_a_label_that_counts(
    page: Page, url: str, ct: str, annotator: Annotator, pacs: Pacs, data: Path, errors: list[str]
):
    """Upstream takes port 8000 and plain HTTP for granted, connects when told to, and cannot save."""
    _, image = image_of(data / "chest-ct-mini")
    opened(page, url, pacs)
    assert page.locator("#monailabelServerURL").input_value() == "/".join(url.split("/")[:3]) + "/"
    page.get_by_text("Point Prompts").click()
    place = click(page, "nodule2", 0.4, 0.52)
    asked = run(page)
    assert asked["foreground"] == [list(image.TransformPhysicalPointToIndex(place))]
    segment = painted(page, image)
    assert same(segment, {"nodule2": annotator.click("deepgrow_2d", ct, asked["foreground"][0]) > 0})

    save(page, "Saved: nodule2")
    (seg,) = pacs.segmentations(ct)
    assert same(masks(seg, image), segment)
    assert seg.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue == "27925004"
    assert annotator.completed() == 1 and annotator.next_sample() is None
    trained_on = requests.get(f"{annotator.url}/datastore/?output=train", timeout=30).json()
    assert [ct in each["label"] for each in trained_on] == [True]
    assert np.array_equal(sitk.GetArrayFromImage(annotator.stored_label(ct)), 2 * segment["nodule2"])

    page.evaluate(PAINT, [1, 300])
    save(page, "Saved: nodule1, nodule2")
    page.reload()
    said(page, "Stored: nodule1, nodule2")
    (seg,) = pacs.segmentations(ct)
    assert same(masks(seg, image), painted(page, image))
    assert errors == []


def test_voxels_keep_their_place_whichever_way_the_patient_lies(page: Page, url: str, pacs: Pacs, tmp_path: Path):
    """Feet first, and numbered from the far end; the chest is the same neither way round nor up."""
    uid, image = stored(pacs, tmp_path, ImageOrientationPatient=[-1, 0, 0, 0, 1, 0])
    opened(page, url, pacs)
    page.evaluate(PAINT, [3, -300])
    save(page, "Saved: nodule3")
    (seg,) = pacs.segmentations(uid)
    assert same(masks(seg, image), {"nodule3": sitk.GetArrayFromImage(image) > -300})


def test_background_points_go_with_the_nodule(
    page: Page, url: str, pacs: Pacs, small: tuple[str, sitk.Image], errors: list[str]
):
    """Upstream's button fails for good without a point, and takes background for the nodule while it is chosen."""
    opened(page, url, pacs)
    page.get_by_text("Point Prompts").click()
    page.locator(RUN).click()
    page.get_by_text("click a point in it first").first.wait_for(timeout=5_000)
    click(page, "nodule3", 0.4, 0.52)
    click(page, "background", 0.6, 0.5)
    asked = run(page)
    assert len(asked["foreground"]) == len(asked["background"]) == 1
    assert asked["foreground"] != asked["background"]
    assert errors == []


def test_a_label_that_cannot_be_saved_is_not_lost(
    stack: Clone, page: Page, url: str, pacs: Pacs, small: tuple[str, sitk.Image]
):
    opened(page, url, pacs)
    page.evaluate(PAINT, [1, 300])
    stack.compose("stop", "orthanc")
    save(page, "Not saved")
    page.get_by_text("The DICOMweb server does not answer").first.wait_for(timeout=5_000)
    stack.compose("up", "--detach", "--wait")
    save(page, "Saved: nodule1")


def test_no_nodule_is_saved_after_asking(
    page: Page, url: str, pacs: Pacs, annotator: Annotator, small: tuple[str, sitk.Image]
):
    opened(page, url, pacs)
    page.locator("#labelpod-save").click()  # playwright answers no
    assert annotator.completed() == 0
    page.once("dialog", lambda question: question.accept())
    save(page, "Saved: no nodule")
    assert annotator.completed() == 1


def test_what_the_panel_cannot_show_it_does_not_replace(
    page: Page, url: str, pacs: Pacs, annotator: Annotator, small: tuple[str, sitk.Image]
):
    uid, image = small
    annotator.submit(uid, image, np.ones(image.GetSize()[::-1]), labels=["mass"])
    opened(page, url, pacs, "The stored label cannot be shown")
    assert page.locator("#labelpod-save").is_disabled()


def test_beside_another_programs_label_that_cannot_be_shown_one_can_save(
    page: Page, url: str, pacs: Pacs, annotator: Annotator, small: tuple[str, sitk.Image]
):
    """It stays in the archive; what is saved counts."""
    uid, image = small
    annotator.submit(uid, image, np.ones(image.GetSize()[::-1]))
    (seg,) = pacs.segmentations(uid)
    requests.delete(f"{annotator.url}/datastore/label?id={uid}&tag=final", timeout=30).raise_for_status()
    seg.SeriesInstanceUID, seg.SOPInstanceUID, seg.Manufacturer = generate_uid(), generate_uid(), "another program"
    seg.file_meta.MediaStorageSOPInstanceUID = seg.SOPInstanceUID
    seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [9.5, 9.5]
    pacs.dicomweb.store_instances([seg])
    info = f"{annotator.url}/info/"
    eventually(
        lambda: requests.get(info, timeout=30).json()["datastore"].get("unread_labels"),
        15,
        "it is found to be unreadable",
    )
    opened(page, url, pacs, "Another program's label cannot be read")
    page.evaluate(PAINT, [1, 300])
    save(page, "Saved: nodule1")
    assert len(pacs.segmentations(uid)) == 2 and annotator.completed() == 1


def test_each_series_shows_its_own_label(
    page: Page, url: str, pacs: Pacs, annotator: Annotator, small: tuple[str, sitk.Image], tmp_path: Path
):
    """Upstream paints what a model says of one series into the label of another, and opens a study's first series."""
    first, image = small
    annotator.submit(first, image, np.ones(image.GetSize()[::-1]))
    study = pacs.series("CT")[0].StudyInstanceUID
    other, _ = stored(pacs, tmp_path / "other", 48, StudyInstanceUID=study, SeriesNumber=2, SeriesDescription="other")
    eventually(lambda: annotator.total() == 2, 10, "the other series is known")
    opened(page, url, pacs, "Stored: nodule1")
    page.locator('[data-cy="study-browser-thumbnail"]', has_text="other").dblclick()
    said(page, "Nothing stored")
    page.get_by_text("Active Learning").click()
    page.get_by_text("Next Sample").click()
    page.locator(".nextSampleForm button").click()
    page.wait_for_url(f"**/monai-label?StudyInstanceUIDs={study}&SeriesInstanceUIDs={other}")

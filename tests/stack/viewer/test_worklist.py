"""From one CT to another in the viewer, and the review of labels; with the mouse and the keys."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from playwright.sync_api import Browser

from tests.support.annotator import Annotator
from tests.support.cases import Case
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.viewer import Viewer, viewer
from tests.support.waiting import eventually


def test_each_series_has_its_own_label(page: Viewer, pacs: Pacs, annotator: Annotator, case: Case, tmp_path: Path):
    annotator.submit(case.uid, case.image, np.ones_like(case.empty()))
    other = Case(pacs, tmp_path / "other", 48, StudyInstanceUID=case.study, SeriesNumber=2)
    eventually(lambda: annotator.total() == 2, 10, "the other series is known")
    page.open(case.study, case.uid, "Stored: nodule1")
    assert page.voxels().all()
    page.open(case.study, other.uid)
    assert not page.voxels().any()


def test_next_previous_and_skip_without_loading_anew(
    page: Viewer, pacs: Pacs, annotator: Annotator, case: Case, tmp_path: Path
):
    other = Case(pacs, tmp_path / "other")
    eventually(lambda: annotator.total() == 2 and annotator.next_sample(), 20, "both are offered")
    page.open(case.study, case.uid)
    page.page.evaluate("() => { window.sameDocument = true }")
    page.paint()
    page.save("Saved in the archive")
    page.press("n")
    page.page.wait_for_url(f"**{other.uid}")
    page.said("Nothing is stored yet")
    page.paint()
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


def test_one_ct_after_the_other_takes_no_more_of_the_browsers_graphics(
    page: Viewer, pacs: Pacs, annotator: Annotator, case: Case, tmp_path: Path
):
    """A browser that has to take a context away says so; there are sixteen."""
    warnings = []
    page.page.on("console", lambda said: warnings.append(said.text) if "WebGL contexts" in said.text else None)
    other = Case(pacs, tmp_path / "other")
    eventually(lambda: annotator.total() == 2, 20, "both are known")
    annotator.submit(case.uid, case.image, np.ones_like(case.empty()))
    page.open(case.study, case.uid, "Stored: nodule1")
    for _ in range(3):
        page.press("n")
        page.page.wait_for_url(f"**{other.uid}")
        page.said("Nothing is stored yet")
        page.button("Previous").click()
        page.page.wait_for_url(f"**{case.uid}")
        page.said("Stored: nodule1")
    assert warnings == []


# --- review ---


@pytest.fixture
def reviewer(stack: Clone) -> Iterator[str]:
    """The address of a reviewer."""
    token = json.loads(stack.done("users", "add", "rita", "--role", "reviewer", "--json"))["token"]
    yield f"http://127.0.0.1:{stack.environment['LABEL_SERVER_PORT']}/{token}/"
    stack.done("users", "revoke", "rita")


def test_a_reviewer_judges_labels_one_after_the_other(
    browser: Browser, reviewer: str, address: str, pacs: Pacs, annotator: Annotator, case: Case, tmp_path: Path
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
    with viewer(browser, address) as page:
        page.open(other.study, other.uid, "Stored: nodule1")
        page.button("Next flagged").click()
        page.page.wait_for_url(f"**{case.uid}")
        comment = page.panel.get_by_label("Comment")
        eventually(lambda: comment.input_value() == "The vessel does not belong to it", 20, "the comment is shown")
    info = f"{annotator.url}/datastore/label/info?label={case.uid}&tag=final"
    told = requests.get(info, timeout=30).json()["segmentationMeta"]
    assert (told["status"], told["level"], told["approvedBy"]) == ("flagged", "hard", "rita")

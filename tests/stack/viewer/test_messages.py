"""What the panel says when something cannot be done; with the mouse and the keys, and refusals made on the way.

What it says when all goes well, of a save and of another CT is in the tests of those; docs/labelling.md has all of it.
"""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route

from tests.support.cases import Case
from tests.support.pacs import Pacs
from tests.support.viewer import BESIDE, MIDDLE, Viewer

AWAY = "The archive is away"


def refused(page: Viewer, path: str, status: int = 503, detail: str = AWAY) -> None:
    """Let a path be answered so from now on."""
    page.expected.add(status)
    page.page.route(path, lambda route: route.fulfill(status=status, body=json.dumps({"detail": detail})))


def unanswered(page: Viewer, path: str) -> None:
    """Let a path not be answered at all."""

    def hold(route: Route) -> None:
        """Neither an answer nor a failure."""

    page.page.route(path, hold)


def test_what_the_server_refuses_is_said_with_its_reason(page: Viewer, case: Case):
    page.open(case.study, case.uid)
    page.button("Next to review").click()
    page.said("No label waits for a review.")
    page.button("Next flagged").click()
    page.said("None of your labels is flagged.")
    refused(page, "**/datastore/review")
    page.button("Next to review").click()
    page.said(f"The labels to review are not known: {AWAY}")
    page.page.route("**/train/*", lambda route: route.fulfill(json={}))
    page.button("Train this model").click()
    page.said("is trained on all labels. You can label meanwhile.")
    refused(page, "**/train/*")
    page.button("Train this model").click()
    page.said(f"The training does not start: {AWAY}")
    refused(page, "**/activelearning/**")
    page.press("n")
    page.said(f"There is no next CT: {AWAY}.")
    page.button("Skip …").click()
    page.question.get_by_text("Others will get this CT. Why not you?").wait_for()
    page.question.get_by_role("button", name="Skip").click()
    page.said("Say why, in a word.")
    page.button("Skip …").click()
    page.question.get_by_label("Reason").fill("motion")
    page.question.get_by_role("button", name="Skip").click()
    page.said(f"Not skipped: {AWAY}.")
    refused(page, "**/infer/*?*")
    page.press("f")
    page.click(page.place(*MIDDLE))
    page.said(f"gave no answer: {AWAY}")


def test_while_the_server_takes_long_the_panel_says_what_it_waits_for(page: Viewer, case: Case):
    unanswered(page, "**/viewer/label?*")
    unanswered(page, "**/activelearning/*")
    page.open(case.study, case.uid, "Loading the label …")
    page.press("n")
    page.said("Looking for the next CT …")


def test_what_a_save_meets_is_said_and_the_label_is_still_here(page: Viewer, case: Case):
    page.open(case.study, case.uid)
    page.paint()
    refused(page, "**/datastore/label?*", 401, "Not authorised")
    page.save("Not saved: Not authorised. Your label is still here.")
    page.said("Open your address in another tab, then save again here.")
    page.page.unroute("**/datastore/label?*")
    page.page.route("**/datastore/label?*", lambda route: route.abort("aborted"))
    page.save("Not saved: the label server does not answer. Your label is still here.")
    page.press("n")
    page.question.get_by_text("The label is not saved.").wait_for()
    page.question.get_by_role("button", name="Save and go on").click()
    page.said("the label server does not answer")
    page.page.unroute("**/datastore/label?*")
    page.save("Saved in the archive at")
    refused(page, "**/datastore/updatelabelinfo?*")
    page.button("Save review").click()
    page.said(f"The review is not saved: {AWAY}")


def test_a_model_that_is_at_work_says_so_and_can_be_cancelled(page: Viewer, case: Case):
    page.open(case.study, case.uid)
    page.button("Run").click()
    page.said("Click a point in the nodule first: press F, then click in its middle.")
    unanswered(page, "**/infer/*?*")
    page.press("f")
    page.click(page.place(*MIDDLE))
    page.panel.get_by_text("is asked …").wait_for()
    page.panel.get_by_text("is at work …").wait_for(timeout=20_000)
    page.button("Cancel").click()
    page.said("Cancelled.")


def test_what_cannot_be_done_with_slices_is_said(page: Viewer, case: Case):
    page.open(case.study, case.uid)
    page.press("p")
    page.said("Neither slice beside this one has the chosen label.")
    page.press("m")
    page.said("No slice is missing between those that have the chosen label.")
    page.press("c")
    page.paints(page.place(*MIDDLE), page.place(*BESIDE))
    page.press("ArrowDown")
    page.press("p")
    page.said("nodule1 is copied from the slice beside.")
    for _ in range(3):
        page.press("ArrowDown")
    page.paints(page.place(*MIDDLE), page.place(*BESIDE))
    page.press("m")
    page.said("nodule1: the slices between are filled.")
    page.button("Empty nodule1").click()
    page.said("nodule1 is empty. Undo brings it back.")


def test_unsaved_work_can_be_let_go_of(page: Viewer, case: Case):
    page.open(case.study, case.uid)
    page.paint()
    page.page.wait_for_timeout(2500)  # a second without a stroke, and the time to write
    page.reload()
    page.question.get_by_text("This browser has unsaved work on this CT, of").wait_for(timeout=60_000)
    page.question.get_by_role("button", name="Delete it").click()
    page.paint()
    page.press("Control+z")
    page.reload()
    page.said("Nothing is stored yet")
    assert not page.question.is_visible()


def test_a_viewer_of_which_a_part_does_not_come_says_so(browser: Browser, address: str, case: Case):
    context = browser.new_context()
    page = context.new_page()
    page.route(re.compile(r"/ohif/\d+\.bundle"), lambda route: route.abort())
    page.goto(f"{address}ohif/label?StudyInstanceUIDs={case.study}")
    page.get_by_text("A part of the viewer did not come: load the page again.").first.wait_for(timeout=60_000)
    context.close()


# --- what is no CT to label ---


def gap(folder: Path) -> None:
    """Take a slice away."""
    sorted(folder.glob("*.dcm"))[9].unlink()


def unevenly(folder: Path) -> None:
    """Take every other slice of the upper half away."""
    for file in sorted(folder.glob("*.dcm"))[13::2]:
        file.unlink()


def not_looked_at(route: Route) -> None:
    told = route.fetch().json()
    told["datastore"].pop("left_out", None)
    route.fulfill(json=told)


OBSTACLES = {
    "a gap": ({"remove": gap}, "Slices of this CT are missing: a label would not lie where you see it."),
    "uneven": (
        {"remove": unevenly},
        "The slices of this CT are not evenly apart: a label would not lie where you see it.",
    ),
    "not a CT": ({"Modality": "PT"}, "This series is not a CT."),
    "one slice": ({"slices": 1}, "This series cannot be shown as a volume."),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_what_cannot_be_labelled_says_why(page: Viewer, pacs: Pacs, tmp_path: Path, obstacle: str):
    """To the viewer itself: the server has not looked at the series yet."""
    how, says = OBSTACLES[obstacle]
    case = Case(pacs, tmp_path, **how)
    page.page.route("**/info/", not_looked_at)
    page.open(case.study, case.uid, says)
    assert page.button("Save").is_disabled() and page.button("Brush, sphere").is_disabled()

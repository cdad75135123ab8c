"""A CT whose slices come late, not at all, or are others by now; with the mouse and the keys."""

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Route

from tests.support.annotator import LABELS, Annotator
from tests.support.cases import Case, same
from tests.support.pacs import Pacs, masks
from tests.support.viewer import Viewer
from tests.support.waiting import eventually

_WHOLE = "() => cornerstone.cache.getVolumes()[0].imageIds.every(id => cornerstone.cache.getImage(id))"


def failing(page: Viewer, fails: Callable[[str], bool]) -> None:
    """Let a proxy on the way answer for the server where an address `fails`."""
    page.expected = {503}

    def answer(route: Route) -> None:
        if fails(route.request.url):
            route.fulfill(status=503)
        else:
            route.continue_()

    page.page.route("**/frames/1", answer)


def test_slices_that_did_not_come_are_asked_for_again(page: Viewer, case: Case):
    left = iter(range(5))
    failing(page, lambda url: next(left, None) is not None)
    page.open(case.study, case.uid)
    eventually(lambda: page.page.evaluate(_WHOLE), 20, "all slices are there")
    assert next(left, None) is None and not page.panel.get_by_role("alert", name="Missing slices").is_visible()


def test_slices_that_never_come_are_said_and_can_be_loaded(page: Viewer, case: Case):
    away = {""}  # parts of addresses
    failing(page, lambda url: any(part in url for part in away))
    page.open(case.study, case.uid)
    missing = page.panel.get_by_role("alert", name="Missing slices")
    missing.get_by_text("24 slices of the CT did not come: what you see there is not the patient.").wait_for()
    away.clear()
    away.add(case.instances[5])
    missing.get_by_role("button", name="Load them").click()
    missing.get_by_text("A slice of the CT did not come: what you see there is not the patient.").wait_for()
    away.clear()
    missing.get_by_role("button", name="Load them").click()
    eventually(lambda: page.page.evaluate(_WHOLE), 20, "all slices are there")
    assert not missing.is_visible()


def sent_again(pacs: Pacs, folder: Path) -> None:
    """It may be another CT: nothing in its UIDs would tell."""
    pacs.delete_everything()
    pacs.store(folder)


def test_what_was_got_in_slicer_long_ago_stops_nobody_here(
    page: Viewer, case: Case, pacs: Pacs, annotator: Annotator, tmp_path: Path
):
    annotator.image(case.uid)
    sent_again(pacs, tmp_path)
    page.open(case.study, case.uid)
    page.paint()
    page.save("Saved in the archive")
    (seg,) = pacs.segmentations(case.uid)
    assert same(masks(seg, case.image), page.masks(LABELS))


def test_on_a_ct_that_was_sent_again_meanwhile_nothing_is_stored_unseen(
    page: Viewer, case: Case, pacs: Pacs, tmp_path: Path
):
    page.expected = {409}
    page.open(case.study, case.uid)
    page.paint()
    painted = page.masks(LABELS)
    sent_again(pacs, tmp_path)
    page.save("came, went or were replaced")
    assert pacs.segmentations(case.uid) == []
    page.reload()
    page.question.get_by_role("button", name="Take it back").click(timeout=60_000)
    page.said("It is not saved yet")
    page.save("Saved in the archive")
    (seg,) = pacs.segmentations(case.uid)
    assert same(masks(seg, case.image), painted)

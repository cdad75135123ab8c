"""What the viewer and the start page show, on which screens and to whom; with the mouse and the keys."""

import re

import pytest
from playwright.sync_api import Browser

from tests.stack.viewer.conftest import HOST
from tests.support import npm
from tests.support.annotator import LABELS, Annotator
from tests.support.cases import Case, same
from tests.support.pacs import Pacs, masks
from tests.support.viewer import MIDDLE, Viewer, viewer
from tests.support.waiting import eventually


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
    page.reload()
    page.said("Nothing is stored yet")
    eventually(lambda: page.page.get_by_text("400", exact=True).count() == 3, 5, "the window is remembered")
    page.press("j")
    eventually(lambda: page.page.get_by_text("2000", exact=True).count() == 3, 5, "all views are in the bone window")


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
    page.paint()
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
        page.paint()
        assert re.fullmatch(r"\d+,\d mm, \d+,\d\d ml", page.panel.locator(".size").first.text_content() or "")


def test_a_server_in_the_network_without_tls_is_labelled_at(
    browser: Browser, address: str, case: Case, annotator: Annotator, pacs: Pacs
):
    """There a browser has no secure context: no `crypto.subtle`, no clipboard, no `randomUUID`."""
    eventually(annotator.next_sample, 20, "it is offered")
    with viewer(browser, address.replace("127.0.0.1", HOST)) as page:
        page.page.goto(page.address)
        page.page.get_by_role("button", name="Next CT").click()
        page.said("Nothing is stored yet")
        assert not page.page.evaluate("() => isSecureContext")
        page.press("f")
        page.infer(page.place(*MIDDLE))
        page.press("Control+z")
        page.paint()
        page.page.wait_for_timeout(2500)  # a second without a stroke, and the time to write
        page.reload()
        page.said("Nothing is stored yet")
        page.question.get_by_role("button", name="Take it back").click()
        page.said("It is not saved yet")
        page.save("Saved in the archive")
        (seg,) = pacs.segmentations(case.uid)
        assert same(masks(seg, case.image), page.masks(LABELS))


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

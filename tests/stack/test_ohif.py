"""OHIF in a headless Chromium, through the gate, as a user opens it: with the URL that `status` prints."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Response, sync_playwright

from docs.screenshot import CHROMIUM, FLAGS
from tests.conftest import Clone
from tests.stack.pacs import Pacs

pytestmark = pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed: apt-get install it")


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
    # Upstream's answer to "does a training run?" is 404 for no.
    return [f"{answer.status} {answer.url}"] if answer.status >= 400 and "check_if_running" not in answer.url else []


@pytest.fixture
def url(stack: Clone) -> str:
    environment = stack.environment
    return f"http://127.0.0.1:{environment['LABEL_SERVER_PORT']}/{environment['LABEL_SERVER_TOKEN']}/ohif/"


def test_the_token_url_opens_the_study_list_without_page_errors(page: Page, url: str, ct: str, errors: list[str]):
    page.goto(url)
    page.get_by_text("LungFCP").first.wait_for(timeout=60_000)
    assert page.url.endswith("/ohif/") and url.split("/")[3] not in page.url
    assert errors == []


def test_the_panel_for_monai_label_finds_the_server(page: Page, url: str, ct: str, pacs: Pacs, errors: list[str]):
    """Upstream's takes port 8000 and plain HTTP for granted."""
    (series,) = pacs.series("CT")
    page.goto(f"{url}monai-label?StudyInstanceUIDs={series.StudyInstanceUID}")
    server = page.locator("#monailabelServerURL")
    server.wait_for(timeout=60_000)
    assert server.input_value() == url.split("/")[0] + "//" + url.split("/")[2] + "/"
    with page.expect_response(lambda answer: answer.url.endswith("/info/")) as answer:
        server.locator("xpath=following::button[1]").click()
    assert answer.value.status == 200
    page.get_by_text("nodule2").first.wait_for(state="attached", timeout=30_000)
    assert errors == []


def test_without_the_token_there_is_no_page(page: Page, url: str):
    answer = page.goto("/".join(url.split("/")[:3]) + "/ohif/")
    assert answer is not None and answer.status == 401 and "script" not in answer.text()

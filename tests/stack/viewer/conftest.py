"""A browser, and a page of it with the viewer of the running stack."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from docs.tools.screenshot import CHROMIUM, FLAGS
from tests.support.annotator import Annotator
from tests.support.cases import Case
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.viewer import Viewer, viewer

# A name that is not this machine's: browsers keep some of their means from plain HTTP there.
HOST = "label-server.example"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not shutil.which("chromium"):
        pytest.skip("chromium is not installed: apt-get install it")
    with sync_playwright() as driver:
        flags = [*FLAGS, f"--host-resolver-rules=MAP {HOST} 127.0.0.1"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
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


@pytest.fixture
def case(pacs: Pacs, annotator: Annotator, tmp_path: Path) -> Case:
    return Case(pacs, tmp_path)

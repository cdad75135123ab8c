"""The viewer in Firefox; with the mouse and the keys."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.annotator import LABELS
from tests.support.cases import Case, same
from tests.support.firefox import Firefox, firefox
from tests.support.pacs import Pacs, masks
from tests.support.viewer import BESIDE, MIDDLE, VOXELS, painted
from tests.support.waiting import eventually

MESSAGE = (
    """() => document.querySelector("labelpod-panel")?.shadowRoot.querySelector(".message")?.textContent ?? \"\""""
)
AXIAL = """() => {
  const { left, top, width, height } = document.querySelector("canvas").getBoundingClientRect();
  return [left, top, width, height];
}"""


class Viewer:
    """The viewer in a window of Firefox."""

    def __init__(self, window: Firefox, address: str) -> None:
        self.window = window
        self.address = address

    def open(self, case: Case, says: str) -> None:
        self.window.goto(f"{self.address}ohif/label?StudyInstanceUIDs={case.study}&SeriesInstanceUIDs={case.uid}")
        self.said(says)

    def said(self, text: str) -> None:
        eventually(lambda: text in self.window.evaluate(MESSAGE), 60, text)

    def voxels(self) -> NDArray[np.uint8]:
        return painted(self.window.evaluate(VOXELS))

    def paint(self, tool: str, segment: str) -> NDArray[np.uint8]:
        """A stroke in the middle of the axial view; what is painted after it."""
        self.window.press(segment)
        self.window.press(tool)
        left, top, width, height = self.window.evaluate(AXIAL)
        start, end = ((left + right * width, top + down * height) for right, down in (MIDDLE, BESIDE))
        self.window.stroke(start, end)
        eventually(lambda: self.voxels().any(), 10, "the stroke is painted")
        return self.settled()

    def settled(self) -> NDArray[np.uint8]:
        """What is painted once that does not change any more: a stroke is drawn frame by frame."""
        before = self.voxels()
        while True:
            time.sleep(0.2)
            now = self.voxels()
            if np.array_equal(now, before):
                return now
            before = now


@pytest.fixture
def page(address: str, tmp_path: Path) -> Iterator[Viewer]:
    for program, package in {"firefox-esr": "firefox-esr", "Xvfb": "xvfb"}.items():
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed: apt-get install {package}")
    with firefox(tmp_path / "profile") as window:
        yield Viewer(window, address)
        # A page that is left drops what it has asked for.
        assert [error for error in window.errors("http") if "NS_BINDING_ABORTED" not in error] == []


def test_in_firefox_a_label_is_painted_undone_and_stored(page: Viewer, case: Case, pacs: Pacs):
    page.open(case, "Nothing is stored yet")
    first = page.paint("b", "1")
    page.window.press("Control+z")
    eventually(lambda: not page.voxels().any(), 10, "undone")
    page.window.press("Control+y")
    eventually(lambda: np.array_equal(page.voxels(), first), 10, "done again")
    page.window.press("Control+z")
    eventually(lambda: not page.voxels().any(), 10, "undone once more")
    second = page.paint("c", "2")
    page.window.press("Control+s")
    page.said("Saved in the archive")
    (seg,) = pacs.segmentations(case.uid)
    assert same(masks(seg, case.image), {LABELS[1]: second == 2})
    page.open(case, "Stored: nodule2")
    assert np.array_equal(page.voxels(), second)

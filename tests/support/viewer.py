"""The viewer in a browser, as a person uses it: with the mouse and the keys. Only reading looks into the page."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Response

from tests.support.waiting import eventually

# The label map's slices, each with the place of the slice that it lies on.
VOXELS = """() => {
  const map = cornerstoneTools.segmentation.state.getSegmentations()[0].representationData.Labelmap;
  const view = cornerstone.getEnabledElements()[0].viewport;
  const volume = cornerstone.cache.getVolume(view.getVolumeId());
  const found = {};
  for (const id of map.imageIds) {
    const image = cornerstone.cache.getImage(id);
    const places = [];
    image.voxelManager.getScalarData().forEach((value, at) => value && places.push([at, value]));
    if (places.length) found[volume.imageIds.indexOf(image.referencedImageId)] = places;
  }
  return { found, size: volume.dimensions };
}"""
# Where a place of the axial view lies, in millimetres.
_WORLD = """([x, y]) => {
  const element = document.querySelector("canvas");
  const { left, top } = element.getBoundingClientRect();
  return [...cornerstone.getEnabledElements()[0].viewport.canvasToWorld([x - left, y - top])];
}"""
# Where a place in millimetres is seen in the axial view.
_SEEN = """point => {
  const { left, top } = document.querySelector("canvas").getBoundingClientRect();
  const [x, y] = cornerstone.getEnabledElements()[0].viewport.worldToCanvas(point);
  return [x + left, y + top];
}"""


# What a browser says of an answer that is none, which _note is for; and of a header that means nothing without TLS.
_NO_FAULT = ("Failed to load resource", "Cross-Origin-Opener-Policy header has been ignored")


# In parts of the axial view: a nodule's place, and where a stroke ends.
MIDDLE, BESIDE = (0.5, 0.5), (0.56, 0.5)


def painted(told: dict[str, Any]) -> NDArray[np.uint8]:
    """What VOXELS has read: (slices, rows, columns)."""
    columns, rows, slices = told["size"]
    result = np.zeros((slices, rows * columns), dtype=np.uint8)
    for place, voxels in told["found"].items():
        for at, value in voxels:
            result[int(place), at] = value
    return result.reshape(slices, rows, columns)


class Viewer:
    """A page of the viewer.

    Args:
        page: of a browser.
        address: the user's, with the token and without `ohif/`.

    """

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.errors: list[str] = []
        self.expected: set[int] = set()  # answers that a test has asked for
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._said)
        page.on("response", self._note)
        page.on("requestfailed", self._failed)
        page.on("dialog", lambda dialog: dialog.accept())  # leaving with unsaved work

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(text in message.text for text in _NO_FAULT):
            self.errors.append(message.text)

    def _note(self, answer: Response) -> None:
        if answer.status >= 400 and answer.status not in self.expected:
            self.errors.append(f"{answer.status} {answer.url}")

    def _failed(self, request: Any) -> None:
        # A page that is left drops what it has asked for; containers that come and go change this machine's network.
        if not any(why in str(request.failure) for why in ("ERR_ABORTED", "ERR_NETWORK_CHANGED")):
            self.errors.append(f"{request.failure} {request.url}")

    @property
    def panel(self) -> Locator:
        return self.page.locator("labelpod-panel")

    @property
    def message(self) -> str:
        return self.panel.locator(".message").text_content() or ""

    @property
    def question(self) -> Locator:
        return self.panel.get_by_role("alertdialog")

    def open(self, study: str, series: str, says: str = "Nothing is stored yet") -> None:
        """Open a CT, and wait for what the panel says of its label."""
        with self._leaving():
            self.page.goto(f"{self.address}ohif/label?StudyInstanceUIDs={study}&SeriesInstanceUIDs={series}")
        self.said(says)

    def reload(self) -> None:
        with self._leaving():
            self.page.reload()

    @contextmanager
    def _leaving(self) -> Iterator[None]:
        """Take no notice of what a page that is left says of the answers that it gets no more."""
        before = list(self.errors)
        yield
        self.errors[:] = before

    def said(self, text: str, seconds: float = 60) -> None:
        self.panel.locator(".message", has_text=text).wait_for(timeout=1000 * seconds)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def button(self, name: str) -> Locator:
        return self.panel.get_by_role("button", name=name, exact=True)

    def place(self, right: float, down: float) -> tuple[float, float]:
        """A place of the axial view on the screen, in parts of its canvas."""
        box = self.page.locator("canvas").first.bounding_box()
        assert box is not None
        return box["x"] + right * box["width"], box["y"] + down * box["height"]

    def seen(self, millimetres: list[float]) -> tuple[float, float]:
        """Where a point is seen in the axial view."""
        x, y = self.page.evaluate(_SEEN, millimetres)
        return x, y

    def world(self, place: tuple[float, float]) -> list[float]:
        """Where a place on the screen lies, in millimetres."""
        found: list[float] = self.page.evaluate(_WORLD, list(place))
        return found

    def stroke(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(*end, steps=4)
        self.page.mouse.up()

    def click(self, place: tuple[float, float]) -> None:
        self.page.mouse.click(*place)

    def paints(self, start: tuple[float, float], end: tuple[float, float] | None = None) -> NDArray[np.uint8]:
        """A stroke, or a click, after which something else is painted than before: that."""
        before = self.voxels()
        self.stroke(start, end or start)
        eventually(lambda: not np.array_equal(self.voxels(), before), 5, "the stroke is painted")
        return self.settled()

    def paint(self, key: str = "b", segment: str = "1") -> None:
        """Paint a label in the middle of the axial view, with the tool of a key."""
        self.press(segment)
        self.press(key)
        self.paints(self.place(*MIDDLE), self.place(*BESIDE))

    def infer(self, place: tuple[float, float]) -> dict[str, Any]:
        """Click a point, and wait for the model's answer; what it was asked."""
        with self.page.expect_response(lambda answer: "/infer/" in answer.url and "queue" not in answer.url) as answer:
            self.click(place)
        assert answer.value.status == 200, answer.value.text()
        asked: dict[str, Any] = json.loads(str(answer.value.request.post_data).split("\r\n\r\n")[1].split("\r\n")[0])
        eventually(lambda: "asked" not in self.panel.inner_text(), 10, "the answer is shown")
        return asked

    def save(self, says: str) -> None:
        self.press("Control+s")
        self.said(says)

    def voxels(self) -> NDArray[np.uint8]:
        """What is painted: (slices, rows, columns), as the CT's volume has them; read, not written."""
        return painted(self.page.evaluate(VOXELS))

    def settled(self) -> NDArray[np.uint8]:
        """What is painted once that does not change any more: a stroke is drawn frame by frame."""
        before = self.voxels()
        while True:
            self.page.wait_for_timeout(120)
            now = self.voxels()
            if np.array_equal(now, before):
                return now
            before = now

    def masks(self, names: tuple[str, ...]) -> dict[str, NDArray[np.bool_]]:
        """Label -> mask, without empty ones."""
        voxels = self.voxels()
        return {name: voxels == value for value, name in enumerate(names, start=1) if (voxels == value).any()}


@contextmanager
def viewer(browser: Browser, address: str, **more: Any) -> Iterator[Viewer]:
    """A page of its own, with cookies and a store of its own; nothing may have failed in it."""
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 720}} | more))
    try:
        shown = Viewer(context.new_page(), address)
        yield shown
        assert not shown.errors, shown.errors
    finally:
        context.close()

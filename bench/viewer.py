"""The viewer in the browser: study list, a whole CT, a click and the next CT, on this machine and on a slow line."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pydicom
from playwright.sync_api import Browser, Page, Request, TimeoutError, sync_playwright

from bench import data
from bench.line import slow
from bench.report import Row, row
from bench.sizes import Sizes
from bench.stand import Stand, timed
from docs.tools.screenshot import CHROMIUM, FLAGS
from tests.support.viewer import MIDDLE, Viewer, viewer

_LONG = 60_000  # milliseconds
_TRIES = 3
_Times = tuple[float, float, float]
# Whether every slice of the CT in the address is there.
_WHOLE = """() => {
  const uid = new URL(location).searchParams.get("SeriesInstanceUIDs");
  const volume = cornerstone.cache.getVolumes().find(({ imageIds }) => imageIds[0].includes(uid));
  return volume?.imageIds.every(id => cornerstone.cache.getImage(id));
}"""
_SLOW = ", 10 Mbit/s and 30 ms"
_Line = Callable[[str], AbstractContextManager[str]]
_AHEAD = "it came while the one before it was labelled"


def measure(stand: Stand, sizes: Sizes, folder: Path) -> Iterator[Row]:
    """Beside upstream's viewer; and the next CT beside the same CT in a page that is loaded anew."""
    stand.empty()
    stand.restart()
    lines: dict[str, _Line] = {"": nullcontext} | ({_SLOW: slow} if sizes.slow_line else {})
    number = len(lines) * (sizes.runs + 2)
    cts = [_stored(stand, sizes, folder / f"viewer{seed}", seed) for seed in range(number)]
    while stand.ours.annotator.total() < number:
        time.sleep(0.1)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for words, line in lines.items():
            with line(stand.ours.annotator.url) as ours, line(stand.theirs.annotator.url) as theirs:
                yield from _beside(browser, (ours, theirs), cts[0], words, sizes)
                data.submit(stand.ours, cts[0][1])
                yield _next(browser, ours, cts[0], words, sizes)
        browser.close()


def _stored(stand: Stand, sizes: Sizes, folder: Path, seed: int) -> tuple[str, str]:
    """A CT's study and series."""
    uid = data.ct(folder, sizes.viewer_slices, sizes.viewer_size, 500 + seed)
    stand.pacs.store(folder)
    return str(pydicom.dcmread(next(folder.glob("*.dcm"))).StudyInstanceUID), uid


def _beside(
    browser: Browser, addresses: tuple[str, str], ct: tuple[str, str], words: str, sizes: Sizes
) -> Iterator[Row]:
    (study, uid), (ours, theirs) = ct, addresses
    sides = (
        (ours, f"label?StudyInstanceUIDs={study}&SeriesInstanceUIDs={uid}", _our_click),
        (theirs, f"monai-label?StudyInstanceUIDs={study}", _their_click),
    )
    rounds = [
        [_tried(partial(_round, browser, *side, uid, sizes.viewer_slices)) for side in sides] for _ in range(sizes.runs)
    ]
    whats = ("study list, cold", 0.35 if words else 1.1), ("a whole CT, cold", 1.1), ("click to mask", 1.1)
    for number, (what, target) in enumerate(whats):
        times = ([each[side][number] for each in rounds] for side in (0, 1))
        yield row(f"viewer: {what}{words}", *times, "s", target)


def _tried(measured: Callable[[], _Times]) -> _Times:
    """Measure again if a slice has not come: containers that come and go change this machine's network."""
    for _ in range(_TRIES - 1):
        with suppress(RuntimeError, TimeoutError):
            return measured()
    return measured()


def _round(browser: Browser, address: str, path: str, click: Callable[[Page], float], uid: str, slices: int) -> _Times:
    """Seconds until the study list is there, a CT, and a model's answer to a click in it."""
    with _opened(browser, address) as page:
        listing = timed(lambda: _list(page, address))
    with _opened(browser, address) as page:
        come = _slices(page, uid)
        opening = timed(lambda: _whole(page, f"{address}/ohif/{path}", come, slices))
        return listing, opening, click(page)


@contextmanager
def _opened(browser: Browser, address: str) -> Iterator[Page]:
    """A page with an empty cache; upstream's panel takes its server from a cookie."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    server = "/".join(address.split("/")[:3]) + "/"
    context.add_cookies([{"name": "MONAILABEL_SERVER_URL", "value": quote(server, safe=""), "url": server}])
    try:
        yield context.new_page()
    finally:
        context.close()


def _list(page: Page, address: str) -> None:
    page.goto(f"{address}/ohif/", timeout=_LONG)
    page.get_by_text("SYNTHETIC").first.wait_for(timeout=_LONG)


def _slices(page: Page, uid: str) -> set[str]:
    """The slices that have come, as they come."""
    come: set[str] = set()

    def note(request: Request) -> None:
        if uid in request.url and "/frames/" in request.url:
            come.add(request.url)

    page.on("requestfinished", note)
    return come


def _whole(page: Page, address: str, come: set[str], slices: int) -> None:
    deadline = time.monotonic() + _LONG / 1000
    page.goto(address, timeout=_LONG)
    while len(come) < slices:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{slices - len(come)} of {slices} slices do not come")
        page.wait_for_timeout(20)


def _our_click(page: Page) -> float:
    shown = Viewer(page, "")
    shown.said("stored", _LONG / 1000)  # nothing yet, or what
    shown.press("f")
    return timed(lambda: shown.infer(shown.place(*MIDDLE)))


def _their_click(page: Page) -> float:
    """Its panel is told to connect, and after the point to run."""
    page.locator(".settingsTable button").first.click(timeout=_LONG)
    page.get_by_text("Point Prompts").click(timeout=_LONG)
    page.get_by_role("cell", name="spleen").click()
    box = page.locator("canvas").first.bounding_box()
    assert box is not None
    page.wait_for_timeout(1000)  # a click that comes sooner places no point
    page.mouse.click(box["x"] + MIDDLE[0] * box["width"], box["y"] + MIDDLE[1] * box["height"])
    page.wait_for_timeout(500)

    def run() -> None:
        with page.expect_response(lambda answer: "/infer/" in answer.url, timeout=_LONG):
            page.locator('button[title="Run PointPrompts"]').click()

    return timed(run)


def _next(browser: Browser, address: str, ct: tuple[str, str], words: str, sizes: Sizes) -> Row:
    following, anew = [], []
    with viewer(browser, f"{address}/") as shown:
        shown.open(*ct, "Stored: nodule1")
        shown.press("n")
        _come(shown)
        for _ in range(sizes.runs):
            shown.paint()
            shown.save("Saved in the archive")
            shown.page.wait_for_timeout(1000 * sizes.viewer_labelling)
            following.append(timed(lambda: (shown.press("n"), _come(shown))))
            anew.append(timed(lambda: (shown.reload(), _come(shown))))
    return row(f"viewer: next CT, by a page loaded anew{words}", following, anew, "s", 0.8, _AHEAD)


def _come(shown: Viewer) -> None:
    """Another CT is there, whole, and the panel says so."""
    shown.said("Nothing is stored yet", _LONG / 1000)
    while not shown.page.evaluate(_WHOLE):
        shown.page.wait_for_timeout(20)

"""The next CT, which has come before it is asked for; with the mouse and the keys."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from playwright.sync_api import Request

from tests.support.annotator import LABELS, Annotator
from tests.support.cases import Case, same
from tests.support.pacs import Pacs, masks
from tests.support.viewer import Viewer
from tests.support.waiting import eventually

# The CT's values, by its slices' places.
_VALUES = """() => cornerstone.cache.getVolumes()[0].imageIds.map(
  id => [...(cornerstone.cache.getImage(id)?.voxelManager.getScalarData() ?? [])])"""
SLICES = 24


def values(page: Viewer, case: Case) -> NDArray[np.int16]:
    """What the viewer has of a CT once it is whole: (slices, rows, columns)."""
    eventually(lambda: case.uid in page.page.url and all(page.page.evaluate(_VALUES)), 20, "all slices are there")
    return np.array(page.page.evaluate(_VALUES)).reshape(case.image.GetSize()[::-1])


@contextmanager
def asked(page: Viewer, case: Case) -> Iterator[list[str]]:
    """The slices of a CT that the page asks the server for meanwhile."""
    urls: list[str] = []

    def note(request: Request) -> None:
        if f"/series/{case.uid}/" in request.url and request.url.endswith("/frames/1"):
            urls.append(request.url)

    page.page.on("request", note)
    yield urls
    page.page.remove_listener("request", note)


@pytest.fixture
def onward(
    page: Viewer, pacs: Pacs, annotator: Annotator, case: Case, tmp_path: Path
) -> tuple[Callable[[], None], Case]:
    """A step to the next CT from one that has been labelled, and that CT, which has come already."""
    others = [Case(pacs, tmp_path / name) for name in ("a", "b")]
    annotator.submit(case.uid, case.image, np.ones_like(case.empty()))
    eventually(lambda: annotator.total() == 3 and annotator.next_sample(), 20, "all are offered")
    page.open(case.study, case.uid, "Stored: nodule1")
    with asked(page, others[0]) as first, asked(page, others[1]) as second:
        page.press("n")
        eventually(lambda: page.message and len(first) == len(second) == SLICES, 30, "both CTs have come")
    here, following = others if others[0].uid in page.page.url else reversed(others)
    page.said("Nothing is stored yet")
    page.paint()
    page.save("Saved in the archive")

    def go() -> None:
        page.press("n")
        page.page.wait_for_url(f"**{following.uid}")
        page.said("Nothing is stored yet")

    assert here.uid != following.uid
    return go, following


def test_the_next_ct_has_come_before_it_is_asked_for(page: Viewer, onward: tuple[Callable[[], None], Case], pacs: Pacs):
    go, following = onward
    with asked(page, following) as urls:
        go()
        assert np.array_equal(values(page, following), sitk.GetArrayFromImage(following.image))
    assert urls == []
    page.paint()
    page.save("Saved in the archive")
    (seg,) = pacs.segmentations(following.uid)
    assert same(masks(seg, following.image), page.masks(LABELS))


def test_a_ct_that_came_anew_since_it_was_got_is_asked_for_again(
    page: Viewer, onward: tuple[Callable[[], None], Case], pacs: Pacs, annotator: Annotator, tmp_path: Path
):
    go, following = onward
    folder = next(file.parent for file in tmp_path.rglob("*.dcm") if following.uid == _series(file))
    pacs.delete_everything()
    for file in folder.glob("*.dcm"):
        header = pydicom.dcmread(file)
        header.PixelData = (header.pixel_array + 100).tobytes()
        header.save_as(file)
    pacs.store(folder)
    eventually(lambda: annotator.total() == 1 and annotator.next_sample(), 20, "it is offered again")
    with asked(page, following) as urls:
        go()
        assert np.array_equal(values(page, following), sitk.GetArrayFromImage(following.image) + 100)
    assert len(urls) == SLICES


def _series(file: Path) -> str:
    return str(pydicom.dcmread(file, stop_before_pixels=True).SeriesInstanceUID)

"""What is painted in the viewer is what is stored; with the mouse and the keys."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.annotator import LABELS, Annotator
from tests.support.cases import Case, same
from tests.support.pacs import Pacs, masks
from tests.support.viewer import BESIDE, MIDDLE, Viewer
from tests.support.waiting import eventually

WAYS = {
    "as it lies": {},
    "feet first": {"ImageOrientationPatient": [-1, 0, 0, 0, 1, 0]},
    "prone": {"ImageOrientationPatient": [-1, 0, 0, 0, -1, 0]},
    "sagittal": {"turned": (0, 1, 0, 0, 0, -1)},
    "coronal": {"turned": (1, 0, 0, 0, 0, -1)},
    "oblique": {"turned": (1, 0, 0, 0, 0.9396926, 0.3420201)},
    "anisotropic": {"PixelSpacing": [1.5, 0.6]},
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_painted_is_what_highdicom_reads(
    page: Viewer, pacs: Pacs, annotator: Annotator, tmp_path: Path, way: str
):
    """Also from the far end: with a slice that is not in the middle, and a label that is as wide as it is high."""
    case = Case(pacs, tmp_path, **WAYS[way])
    page.open(case.study, case.uid)
    for _ in range(3):
        page.press("ArrowDown")
    page.press("3")
    page.press("b")
    place = page.place(0.4, 0.55)
    lies = case.image.TransformPhysicalPointToIndex(page.world(place))
    page.paints(place)
    painted = page.masks(LABELS)
    assert painted["nodule3"][lies[::-1]] and not painted["nodule3"][len(painted["nodule3"]) - 1 - lies[2]].any()
    page.save("Saved in the archive")
    (seg,) = pacs.segmentations(case.uid)
    assert same(masks(seg, case.image), painted)
    page.reload()
    page.said("Stored: nodule3")
    assert same(page.masks(LABELS), painted)


def test_a_sagittal_ct_is_copied_and_filled_slice_by_slice_of_the_axial_view(
    page: Viewer, pacs: Pacs, annotator: Annotator, tmp_path: Path
):
    case = Case(pacs, tmp_path, **WAYS["sagittal"])
    page.open(case.study, case.uid)

    def heights() -> list[int]:
        return np.flatnonzero(page.voxels().any(axis=(0, 2))).tolist()  # its rows are one above the other

    page.paint("c")
    (first,) = heights()
    page.press("ArrowDown")
    page.press("p")
    eventually(lambda: len(heights()) == 2, 5, "it is copied into the slice below")
    for _ in range(3):
        page.press("ArrowDown")
    page.paints(page.place(*MIDDLE), page.place(*BESIDE))
    eventually(lambda: len(heights()) == 3, 5, "it is painted further down")
    page.press("m")
    eventually(lambda: heights() == list(range(first, first + 5)), 5, "the slices between are filled")


def test_every_tool_by_its_key_with_undo_and_redo(page: Viewer, case: Case):
    page.open(case.study, case.uid)
    seen = [page.voxels()]

    def changes(what: str) -> None:
        eventually(lambda: not np.array_equal(page.voxels(), seen[-1]), 5, what)
        seen.append(page.settled())

    page.paint("b")
    changes("the sphere paints")
    assert np.count_nonzero(seen[-1].any(axis=(1, 2))) >= 1
    page.press("]")
    page.paint("c", "2")
    changes("the circle paints")
    page.press("x")
    page.stroke(page.place(0.3, 0.3), page.place(0.33, 0.33))
    changes("the scissors fill")
    page.press("e")
    page.click(page.place(*MIDDLE))
    changes("the eraser erases")
    page.press("ArrowDown")
    page.press("p")
    changes("the slice is copied")
    page.press("ArrowDown")
    page.press("ArrowDown")
    page.press("c")
    page.stroke(page.place(*MIDDLE), page.place(*BESIDE))
    changes("the circle paints again")
    page.press("m")
    changes("the slices between are filled")
    for voxels in reversed(seen[:-1]):
        page.press("Control+z")
        eventually(lambda voxels=voxels: np.array_equal(page.voxels(), voxels), 5, "undo")
    assert page.button("Save").count() == 1, "nothing is unsaved"
    for voxels in seen[1:]:
        page.press("Control+y")
        eventually(lambda voxels=voxels: np.array_equal(page.voxels(), voxels), 5, "redo")
    assert page.button("Save *").count() == 1


EVENTS = st.one_of(
    st.tuples(st.sampled_from(["b", "c", "e", "x"]), st.sampled_from("123"), *[st.floats(0.3, 0.7)] * 4),
    st.sampled_from(["Control+z", "Control+y"]),
)


@settings(
    max_examples=4,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
@given(events=st.lists(EVENTS, min_size=25, max_size=25))
def strokes_undo_and_redo_agree(page: Viewer, events: list[Any]) -> None:
    """Every undo shows what was there before the stroke, every redo what was there after it."""
    seen, at = [page.voxels()], 0
    for event in events:
        if isinstance(event, str):
            to = at + (-1 if event == "Control+z" else 1)
            if not 0 <= to < len(seen):
                continue
            at = to
            page.press(event)
            eventually(lambda at=at: np.array_equal(page.voxels(), seen[at]), 5, event)
        else:
            tool, segment, *places = event
            page.press(segment)
            page.press(tool)
            page.stroke(page.place(*places[:2]), page.place(*places[2:]))
            painted = page.settled()
            if not np.array_equal(painted, seen[at]):  # a stroke that changes nothing leaves nothing to undo
                seen[at + 1 :] = [painted]
                at += 1


def test_a_hundred_strokes_with_undo_and_redo_in_between(page: Viewer, pacs: Pacs, case: Case):
    page.open(case.study, case.uid)
    strokes_undo_and_redo_agree(page)
    page.save("Saved in the archive")
    (seg,) = pacs.segmentations(case.uid)
    assert same(masks(seg, case.image), page.masks(LABELS))


def test_the_threshold_brush_paints_what_is_dense_enough(page: Viewer, case: Case):
    page.open(case.study, case.uid)
    page.press("t")
    for _ in range(8):
        page.press("]")
    page.stroke(page.place(0.2, 0.5), page.place(0.8, 0.5))
    painted, voxels = page.masks(LABELS)["nodule1"], sitk.GetArrayFromImage(case.image)
    assert voxels[painted].min() >= -300 and (voxels < -300).any()


def test_sizes_are_those_of_what_is_painted(page: Viewer, case: Case):
    page.open(case.study, case.uid)
    page.paint()
    voxel = float(np.prod(case.image.GetSpacing())) / 1000
    volume = np.count_nonzero(page.voxels()) * voxel
    shown = page.panel.locator(".size").first.text_content() or ""
    diameter, unit, number, _ = shown.split()
    assert unit == "mm," and abs(float(number) - volume) < 0.006 and float(diameter) > 3
    page.button("Empty nodule1").click()
    page.said("nodule1 is empty")
    assert not page.voxels().any() and page.panel.locator(".size").first.text_content() == "empty"

"""Filling a segment between slices: what comes out lies between the shapes, and nothing else changes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support import node

Volume = NDArray[np.uint8]


def fill(*cases: tuple[Volume, int]) -> list[Volume]:
    """The label maps (slices, rows, columns) with a segment filled; those slices only that the module names."""
    given = [
        {"slices": [each.ravel().tolist() for each in volume], "columns": volume.shape[2], "segment": segment}
        for volume, segment in cases
    ]
    written = node.run(
        "const { between } = await use('between.js');"
        "return values[0].map(({ slices, columns, segment }) =>"
        "  [...between(slices.map(each => Uint8Array.from(each)), columns, segment)]"
        "    .map(([place, slice]) => [place, [...slice]]));",
        given,
    )
    filled = []
    for (volume, _), slices in zip(cases, written, strict=True):
        volume = volume.copy()
        for place, slice_ in slices:
            volume[place] = np.reshape(slice_, volume.shape[1:])
        filled.append(volume)
    return filled


def disc(center: tuple[float, float], radius: float, shape: tuple[int, int] = (60, 70)) -> NDArray[np.bool_]:
    rows, columns = np.indices(shape)
    return np.hypot(columns - center[0], rows - center[1]) <= radius


def volume(places: dict[int, Any], count: int = 7, shape: tuple[int, int] = (60, 70)) -> Volume:
    made = np.zeros((count, *shape), np.uint8)
    for place, where in places.items():
        made[place][where] = 1
    return made


def overlap(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Dice."""
    one, other = one.astype(bool), other.astype(bool)
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_between_equal_discs_is_the_same_disc():
    same = disc((30, 25), 8)
    (filled,) = fill((volume({1: same, 5: same}), 1))
    assert all((filled[place] == same).all() for place in range(1, 6)) and not filled[[0, 6]].any()


@pytest.mark.parametrize(
    ("first", "step"),
    [
        pytest.param(6, 1, id="grows"),
        pytest.param(12, -1, id="shrinks"),
        pytest.param(4, 2, id="to four times"),
    ],
)
def test_a_disc_changes_its_size_step_by_step(first: int, step: int):
    (filled,) = fill((volume({0: disc((30, 25), first), 6: disc((30, 25), first + 6 * step)}), 1))
    for place in range(7):
        assert overlap(filled[place], disc((30, 25), first + step * place)) > 0.95, place


def test_a_disc_that_moves_is_moved_on_the_line_between():
    """Without that, discs that do not overlap would have nothing between them."""
    (filled,) = fill((volume({0: disc((12, 12), 6), 6: disc((48, 42), 6)}), 1))
    for place in range(7):
        assert overlap(filled[place], disc((12 + 6 * place, 12 + 5 * place), 6)) > 0.95, place


def test_a_hole_stays_a_hole():
    ring = disc((30, 25), 14) & ~disc((30, 25), 6)
    (filled,) = fill((volume({0: ring, 4: ring}), 1))
    assert all((filled[place] == ring).all() for place in range(5))


def test_an_l_keeps_its_corner():
    shape = np.zeros((60, 70), bool)
    shape[10:40, 20:28] = shape[32:40, 20:50] = True
    (filled,) = fill((volume({0: shape, 3: shape}), 1))
    assert (filled[1] == shape).all() and (filled[2] == shape).all()


def test_at_the_borders_of_the_image_it_is_cut_off_there():
    corners = [disc(center, 9) for center in ((0, 0), (69, 0), (0, 59), (69, 59))]
    for where, filled in zip(corners, fill(*((volume({0: each, 4: each}), 1) for each in corners)), strict=True):
        assert all((filled[place] == where).all() for place in range(5))


def test_a_pixel_is_filled_with_pixels():
    (filled,) = fill((volume({0: (5, 5), 4: (9, 13)}), 1))
    assert [np.argwhere(each).tolist() for each in filled[:5]] == [[[5 + place, 5 + 2 * place]] for place in range(5)]


def test_other_segments_stay():
    given = volume({0: disc((30, 25), 10), 4: disc((30, 25), 10)})
    given[2, 20:30, 30:60] = 2
    (filled,) = fill((given, 1))
    assert (filled[2] == 2).sum() == (given[2] == 2).sum() and (filled[[1, 2, 3]] == 1).any(axis=(1, 2)).all()
    assert ((filled == 1) == (volume({place: disc((30, 25), 10) for place in range(5)}) == 1) & (given != 2)).all()


def test_only_the_segment_that_is_asked_for_is_filled():
    given = volume({0: disc((20, 20), 6), 4: disc((20, 20), 6)})
    given[0][disc((50, 40), 6)] = given[4][disc((50, 40), 6)] = 2
    (filled,) = fill((given, 2))
    assert not (filled[1:4] == 1).any() and (filled[2] == 2).sum() == disc((50, 40), 6).sum()


@pytest.mark.parametrize(
    "places", [(), (3,), (2, 3), (0, 1, 2)], ids=["in no slice", "in one", "in two neighbours", "in three neighbours"]
)
def test_where_nothing_lies_between_nothing_changes(places: tuple[int, ...]):
    given = volume(dict.fromkeys(places, disc((30, 25), 8)))
    (filled,) = fill((given, 1))
    assert (filled == given).all()


def test_each_gap_is_filled_from_the_slices_beside_it():
    given = volume({0: disc((30, 25), 5), 2: disc((30, 25), 9), 6: disc((30, 25), 17)})
    (filled,) = fill((given, 1))
    for place, radius in enumerate((5, 7, 9, 11, 13, 15, 17)):
        assert overlap(filled[place], disc((30, 25), radius)) > 0.95, place


PLACES = st.tuples(st.integers(2, 17), st.integers(2, 15), st.integers(1, 5), st.integers(1, 4))


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(PLACES, PLACES, st.integers(2, 5)), min_size=10, max_size=10))
def test_of_any_two_boxes_what_was_painted_stays_and_the_rest_is_within_reach(pairs: Any):
    """All of a list in one run of Node, which takes longer to start than to fill."""
    cases = []
    for one, other, gap in pairs:
        made = np.zeros((gap + 1, 20, 24), np.uint8)
        for place, (x, y, width, height) in ((0, one), (gap, other)):
            made[place, y : y + height, x : x + width] = 1
        cases.append((made, 1))
    for (before, _), after in zip(cases, fill(*cases), strict=True):
        assert (after[[0, -1]] == before[[0, -1]]).all() and after.any(axis=(1, 2)).all()
        shown = np.argwhere(before)[:, 1:]
        low, high = shown.min(axis=0), shown.max(axis=0)
        for slice_ in after:
            found = np.argwhere(slice_)
            assert (found >= low - 1).all() and (found <= high + 1).all()

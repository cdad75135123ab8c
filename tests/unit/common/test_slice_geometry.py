"""What is said of stacks of slices of any kind; test_preflight.py has the same in files."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from labelpod_common.dicom import slice_geometry


@st.composite
def stacks(draw):
    """Positions, orientations and spacings of a regular stack, in any direction and order."""
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    axes = np.linalg.qr(random.normal(size=(3, 3)))[0]
    axes[2] = np.cross(axes[0], axes[1])
    # With one of five slices missing the others lie a third of the distance out of place: 0.1 mm, which rounding
    # does as well, where that is 0.3 mm.
    count, distance = draw(st.integers(5, 400)), draw(st.floats(0.31, 10))
    positions = random.normal(scale=200, size=3) + distance * np.arange(count)[:, None] * axes[2]
    orientations, spacings = np.tile(axes[:2].reshape(6), (count, 1)), np.full((count, 2), draw(st.floats(0.2, 3)))
    return random.permutation(positions), orientations, spacings


@given(stacks())
def test_a_regular_stack_is_accepted_in_any_direction_and_order(stack):
    assert {each.code for each in slice_geometry.problems(*stack)} <= {"oblique"}


@given(stacks(), st.data())
def test_a_slice_missing_inside_is_noticed_in_any_direction_and_order(stack, data):
    positions, orientations, spacings = stack
    along = np.argsort(positions @ np.cross(orientations[0, :3], orientations[0, 3:]))
    kept = np.delete(along, data.draw(st.integers(1, len(along) - 2)))
    found = {each.code for each in slice_geometry.problems(positions[kept], orientations[kept], spacings[kept])}
    assert "missing-slices" in found

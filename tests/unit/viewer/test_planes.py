"""Planes of a label map across each of its axes, and what is written in them."""

import numpy as np
from numpy.typing import NDArray

from tests.support import node

VOLUME = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)  # slices, rows, columns


def planes(axis: int) -> tuple[list[NDArray[np.uint8]], dict[int, NDArray[np.uint8]]]:
    """The planes across an axis, and the slices that change when 99 is written at the end of the second."""
    told = node.run(
        "const { across, slicesOf } = await use('planes.js');"
        "const [list, columns, axis] = values;"
        "const slices = list.map(each => Uint8Array.from(each));"
        "const { planes, width } = across(slices, columns, axis);"
        "const plane = planes[1].slice(); plane[plane.length - 1] = 99;"
        "const written = slicesOf(new Map([[1, plane]]), slices, columns, axis);"
        "return [planes.map(each => [...each]), width, [...written].map(([place, each]) => [place, [...each]])];",
        VOLUME.reshape(3, -1).tolist(),
        VOLUME.shape[2],
        axis,
    )
    found, width, changed = told
    return [np.reshape(each, (-1, width)) for each in found], {
        place: np.reshape(each, (4, 5)) for place, each in changed
    }


def test_the_planes_across_each_axis_lie_slice_by_slice():
    for axis, right in enumerate((VOLUME.transpose(2, 0, 1), VOLUME.transpose(1, 0, 2), VOLUME)):
        assert np.array_equal(planes(axis)[0], right)


def test_what_is_written_in_a_plane_changes_only_its_own_voxels():
    for axis, last in enumerate(((2, 3, 1), (2, 1, 4), (1, 3, 4))):
        ((place, slice_),) = planes(axis)[1].items()
        right = VOLUME.copy()
        right[last] = 99
        assert place == last[0] and np.array_equal(slice_, right[place])

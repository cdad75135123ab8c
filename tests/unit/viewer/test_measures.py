"""How large the segments of a label map are, against NumPy."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support import node


def measured(voxels: NDArray[np.uint8], spacing: tuple[float, float, float], steps: str = "") -> dict[str, Any]:
    """What the viewer says of a label map (slices, rows, columns); `spacing` is (x, y, z) in millimetres."""
    return node.run(
        "const { Measures } = await use('measures.js');"
        "const [slices, dimensions, spacing] = values;"
        "const it = new Measures({ dimensions, spacing });"
        f"slices.forEach((slice, place) => it.update(place, Uint8Array.from(slice)));{steps}"
        "return { present: it.present(), of: Object.fromEntries([1, 2, 3, 9].map(each => [each, it.of(each)])) };",
        [each.ravel().tolist() for each in voxels],
        voxels.shape[::-1],
        spacing,
    )


def ellipsoid(radii: tuple[float, float, float], center: tuple[float, float, float], spacing: Any) -> NDArray[np.bool_]:
    """Voxels (z, y, x) in an ellipsoid; radii and centre (x, y, z) are in millimetres."""
    grid = np.indices((20, 50, 60)).astype(float)
    z, y, x = (index * spacing[2 - axis] for axis, index in enumerate(grid))
    return sum(((at - middle) / radius) ** 2 for at, middle, radius in zip((x, y, z), center, radii, strict=True)) <= 1


def longest(voxels: NDArray[np.bool_], spacing: Any) -> float:
    """The longest distance (mm) between two voxels' centres of the same slice, and a voxel's mean width."""
    most = 0.0
    for slice_ in voxels:
        places = np.argwhere(slice_)[:, ::-1] * spacing[:2]
        if len(places):
            apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
            most = max(most, float(apart.max()))
    return most + sum(spacing[:2]) / 2


SPACINGS = [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5), (0.5, 0.9, 3.0)]


@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
@pytest.mark.parametrize("radii", [(6.0, 6.0, 6.0), (9.0, 4.0, 6.0), (3.0, 8.0, 5.0)], ids=str)
def test_volume_diameter_and_place_are_those_that_numpy_finds(spacing, radii):
    center = (15.0, 17.0, 9.0)
    found = ellipsoid(radii, center, spacing)
    said = measured(found.astype(np.uint8), spacing)["of"]["1"]
    assert said["voxels"] == found.sum()
    assert said["volume"] == pytest.approx(found.sum() * np.prod(spacing) / 1000)
    assert said["diameter"] == pytest.approx(longest(found, spacing))
    assert said["diameter"] == pytest.approx(2 * max(radii[:2]), abs=2 * max(spacing[:2]))
    assert said["volume"] == pytest.approx(4 / 3 * np.pi * np.prod(radii) / 1000, rel=0.15)
    assert np.abs(np.multiply(said["center"], spacing) - center).max() < max(spacing)


def test_a_slanted_one_is_measured_along_itself():
    line = np.zeros((1, 40, 40), np.uint8)
    for step in range(21):
        line[0, 5 + step, 5 + step] = 1
    assert measured(line, (0.5, 0.5, 1.0))["of"]["1"]["diameter"] == pytest.approx(20 * 0.5 * 2**0.5 + 0.5)


def test_two_parts_of_a_slice_are_measured_from_end_to_end():
    parts = np.zeros((1, 10, 40), np.uint8)
    parts[0, 5, [3, 33]] = 1
    assert measured(parts, (1.0, 1.0, 1.0))["of"]["1"]["diameter"] == 31


def test_segments_are_measured_each_for_itself():
    voxels = np.zeros((3, 10, 10), np.uint8)
    voxels[0, 2:4, 2:4], voxels[1, 5:8, 5], voxels[2, 0, 0] = 3, 1, 3
    said = measured(voxels, (1.0, 1.0, 1.0))
    assert said["present"] == [1, 3] and said["of"]["3"]["voxels"] == 5
    assert said["of"]["3"]["center"] == [2.5, 2.5, 0] and said["of"]["1"]["diameter"] == 3


def test_what_is_empty_has_no_size():
    said = measured(np.zeros((3, 10, 10), np.uint8), (1.0, 1.0, 1.0))
    assert said == {"present": [], "of": {}}


def test_a_slice_that_changes_is_measured_anew():
    voxels = np.zeros((2, 10, 10), np.uint8)
    voxels[0, 2:4, 2:4] = voxels[1, 2, 2] = 1
    steps = "const other = new Uint8Array(100); other[0] = 2; it.update(0, other); it.update(1, new Uint8Array(100));"
    said = measured(voxels, (1.0, 1.0, 1.0), steps)
    assert said["present"] == [2] and list(said["of"]) == ["2"] and said["of"]["2"]["voxels"] == 1

"""Whether slices make the volume that the label server takes them for, and which.

The label server sorts the slices along their normal, takes orientation and pixel spacing from the first one, stacks
all along its normal, and makes the mean distance the distance of all. Where slices lie otherwise whatever is painted
would land in the wrong place.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelpod_common.dicom.problem import Problem

Array = NDArray[np.floating[Any]]

_EXACT = 1e-4
_SAME_PLANE = 0.01  # mm
_SAME_DIRECTION = 0.1  # degrees
_OBLIQUE = 2.0  # degrees
# Positions are often rounded to 0.1 mm, and a tenth of a slice is beyond anyone's painting.
_ROUNDING, _ROUNDING_SHARE = 0.1, 0.1
# Of the axes, how far their length may be from 1, and how far they may be from a right angle: they are rounded, too.
_ROUNDED_AXES = 0.01


def axes(orientation: Sequence[float] | Array) -> Array:
    """The directions of rows, columns and slices, unit vectors at right angles that are nearest to the header's.

    Args:
        orientation: ImageOrientationPatient, six numbers.

    Returns:
        (3, 3), a direction in each row.

    Raises:
        ValueError: they are too far from it to be meant so.

    """
    said = np.array(orientation, float).reshape(2, 3)
    if np.abs(np.linalg.norm(said, axis=1) - 1).max() >= _ROUNDED_AXES or abs(said[0] @ said[1]) >= _ROUNDED_AXES:
        raise ValueError("ImageOrientationPatient is not two unit vectors at right angles")
    if np.abs(said @ said.T - np.eye(2)).max() < _EXACT:
        return np.array([*said, np.cross(*said)])
    left, _, right = np.linalg.svd(said, full_matrices=False)
    row, column = left @ right
    return np.array([row, column, np.cross(row, column)])


def problems(positions: Array, orientations: Array, spacings: Array) -> list[Problem]:
    """What would be read in the wrong place, silently.

    Args:
        positions: ImagePositionPatient of each slice, (n, 3), mm.
        orientations: ImageOrientationPatient of each slice, (n, 6).
        spacings: PixelSpacing of each slice, (n, 2), mm.

    """
    return _spacing_in_plane(spacings) + (
        _bad_orientation(orientations)
        or _mixed_orientations(orientations)
        or _stack(positions, orientations[0], float(spacings[0].min()))
    )


def _spacing_in_plane(spacings: Array) -> list[Problem]:
    low, high = spacings.min(axis=0), spacings.max(axis=0)
    if np.allclose(low, high, rtol=1e-3):
        return []
    return [
        Problem(
            "refuse",
            "mixed-spacing",
            f"pixel spacing varies from {low[0]:.3f} x {low[1]:.3f} to {high[0]:.3f} x {high[1]:.3f} mm",
        )
    ]


def _bad_orientation(orientations: Array) -> list[Problem]:
    try:
        for orientation in np.unique(orientations, axis=0):
            axes(orientation)
    except ValueError as problem:
        return [Problem("refuse", "bad-orientation", str(problem))]
    return []


def _mixed_orientations(orientations: Array) -> list[Problem]:
    # By the length of the chord: near zero, the cosine of rounded directions would say next to nothing.
    chords = np.linalg.norm((orientations - orientations[0]).reshape(-1, 2, 3), axis=2)
    widest = np.degrees(2 * np.arcsin(np.clip(chords.max() / 2, 0, 1)))
    if widest < _SAME_DIRECTION:
        return []
    return [
        Problem("refuse", "mixed-orientations", f"slices are turned against each other by up to {widest:.1f} degrees")
    ]


def _stack(positions: Array, orientation: Array, pixel: float) -> list[Problem]:
    """Problems of slices that are parallel."""
    directions = axes(orientation)
    normal = directions[2]
    positions = positions[np.argsort(positions @ normal)]
    tilt = _tilt(positions, normal, pixel)
    return tilt + _distances(positions, normal) + ([] if tilt else _oblique(directions))


def _tilt(positions: Array, normal: Array, pixel: float) -> list[Problem]:
    way = positions - positions[0]
    along = way @ normal
    aside = np.linalg.norm(way - np.outer(along, normal), axis=1)
    if aside.max() < pixel / 2:
        return []
    angle = np.degrees(np.arctan2(aside[-1], along[-1]))
    return [
        Problem(
            "refuse",
            "gantry-tilt",
            f"slices are not stacked along their normal but {angle:.1f} degrees off it (gantry tilt): "
            f"up to {aside.max():.1f} mm aside",
        )
    ]


def _distances(positions: Array, normal: Array) -> list[Problem]:
    """Problems with the distances from slice to slice."""
    gaps = np.diff(positions @ normal)
    doubled = gaps < _SAME_PLANE
    found = []
    if doubled.any():
        at = _place(positions[:-1][doubled][0])
        message = f"{doubled.sum()} of {len(positions)} slices lie in the plane of another one, the first at {at} mm"
        found.append(Problem("refuse", "duplicate-slices", message))
    starts, gaps = positions[:-1][~doubled], gaps[~doubled]
    if len(gaps) < 2 or _misplaced(gaps) <= _tolerance(gaps.mean()):
        return found
    step = float(np.median(gaps[gaps < 1.5 * gaps.min()]))
    times = np.rint(gaps / step)
    whole = np.abs(gaps - times * step).max() <= _tolerance(step)
    if whole and times.max() > 1 and (times == 1).mean() > 0.5:
        message = (
            f"{times.sum() - len(times):.0f} of {times.sum() + 1:.0f} slices are missing: {step:.2f} mm apart, "
            f"but {gaps.max():.2f} mm in the widest gap, the first after {_place(starts[times > 1][0])} mm"
        )
        return [*found, Problem("refuse", "missing-slices", message)]
    message = (
        f"slice distances vary from {gaps.min():.2f} to {gaps.max():.2f} mm: "
        f"slices would be up to {_misplaced(gaps):.1f} mm out of place"
    )
    return [*found, Problem("refuse", "irregular-spacing", message)]


def _misplaced(gaps: Array) -> float:
    """How far the worst slice lies from where the mean distance would put it, mm."""
    return float(np.abs(np.cumsum(gaps - gaps.mean())).max())


def _tolerance(distance: float) -> float:
    return max(_ROUNDING, _ROUNDING_SHARE * distance)


def _oblique(directions: Array) -> list[Problem]:
    """Oblique volumes are read in the right place; only the models have seen few of them."""
    cosines = np.abs(directions).max(axis=1)
    angle = np.degrees(np.arccos(np.clip(cosines.min(), 0, 1)))
    if angle < _OBLIQUE:
        return []
    return [
        Problem(
            "warn", "oblique", f"slices are turned {angle:.1f} degrees from the body's axes; models know straight ones"
        )
    ]


def _place(position: Array) -> str:
    return "({:.1f}, {:.1f}, {:.1f})".format(*position)

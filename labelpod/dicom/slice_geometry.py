"""Whether slices make the volume that the label server takes them for.

The label server reads a series with GDCM's series reader: it sorts the slices along their normal, takes
orientation and pixel spacing from the first one, stacks all along its normal, and makes the mean distance the
distance of all. Where slices lie otherwise it says nothing, and whatever is painted lands in the wrong place.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelpod.dicom.problem import Problem

Array = NDArray[np.floating[Any]]

_SAME_PLANE = 0.01  # mm
_SAME_DIRECTION = 0.1  # degrees
_OBLIQUE = 2.0  # degrees
# Positions are often rounded to 0.1 mm, and a tenth of a slice is beyond anyone's painting.
_ROUNDING, _ROUNDING_SHARE = 0.1, 0.1


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
    rows, columns = orientations[:, :3], orientations[:, 3:]
    lengths = np.linalg.norm([rows, columns], axis=2)
    if np.abs(lengths - 1).max() < 0.01 and np.abs((rows * columns).sum(axis=1)).max() < 0.01:
        return []
    return [
        Problem("refuse", "bad-orientation", "ImageOrientationPatient is not two unit vectors at right angles"),
    ]


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
    row, column = orientation[:3], orientation[3:]
    normal = np.cross(row, column)
    positions = positions[np.argsort(positions @ normal)]
    tilt = _tilt(positions, normal, pixel)
    return tilt + _distances(positions, normal) + ([] if tilt else _oblique(np.array([row, column, normal])))


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


def _oblique(axes: Array) -> list[Problem]:
    """Oblique volumes are read in the right place; only the models have seen few of them."""
    cosines = np.abs(axes).max(axis=1)
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

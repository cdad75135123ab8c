"""Where the frames of a DICOM SEG lie on an image's grid: by position and orientation, never by their order.

A frame may lie in any plane of the image, with its rows and columns either way round: which voxel a pixel is, is found
by counting, and nothing is resampled. What lies on another grid is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import Dataset

from label_server.datastore.label_values import LabelError
from label_server.datastore.slice_places import TOLERANCE

Voxels = NDArray[np.bool_]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Piece:
    """Voxels of a segment in one slice: a box of the volume (slices, rows, columns), and which of it they are."""

    box: Box
    voxels: Voxels


@dataclass(frozen=True)
class Place:
    """Where a frame lies: the voxel of its first pixel, and the axis and the step of its columns and of its rows.

    Voxels and axes are those of the volume's array: 0 counts slices, 1 rows, 2 columns.
    """

    first: tuple[int, int, int]
    across: tuple[int, int]
    down: tuple[int, int]
    position: tuple[float, ...]

    @property
    def plane(self) -> tuple[int, int]:
        """The axis that the frame stands across, and where on it."""
        axis = 3 - self.across[0] - self.down[0]
        return axis, self.first[axis]


class Grid:
    """An image's grid, that frames are placed on.

    Args:
        image: the CT volume.
        tolerance: how far, in voxels, a frame may lie from its place.
        slices: where the slices of the series begin (mm), which may be beside the even grid that was made of them.

    """

    def __init__(self, image: sitk.Image, tolerance: float, slices: Sequence[Sequence[float]] = ()) -> None:
        self.shape: tuple[int, ...] = image.GetSize()[::-1]
        self._image = image
        self._tolerance = tolerance
        # ITK's own inverse is none where a cosine is almost 0.
        self._to_index = np.linalg.inv(np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing())
        self._beside = dict(self._slice_beside(position) for position in slices)

    def place(self, seg: Dataset, frame: Dataset) -> Place:
        """Where a frame lies.

        Args:
            seg: that it is of.
            frame: its item of the per-frame functional groups.

        Raises:
            LabelError: on another grid, or the SEG does not say.

        """
        position = _numbers(macro(seg, frame, "PlanePositionSequence", "ImagePositionPatient"), 3)
        orientation = _numbers(macro(seg, frame, "PlaneOrientationSequence", "ImageOrientationPatient"), 6)
        # Some write unit vectors that are not quite as long.
        right, below = (each / np.linalg.norm(each) for each in np.split(orientation, 2))
        rows, columns = _numbers(macro(seg, frame, "PixelMeasuresSequence", "PixelSpacing"), 2)
        size = int(seg.Rows), int(seg.Columns)
        first = self._index(position)
        steps = self._step(right * columns), self._step(below * rows)
        across, down = (_nearest(step) for step in steps)
        # The farthest pixel says how far the frame is off: spacings are rounded, too.
        off = [
            abs(first + row * steps[1] + column * steps[0] - (np.round(first) + _way(across, column) + _way(down, row)))
            for row in (0, size[0] - 1)
            for column in (0, size[1] - 1)
        ]
        if across[0] == down[0] or np.max(np.abs([steps[0] - _way(across, 1), steps[1] - _way(down, 1)])) > 0.05:
            raise LabelError(self._other_grid(size, (rows, columns)))
        if np.max(off) > TOLERANCE or not self._is_near(first):
            raise LabelError(f"the slice at {[float(each) for each in position]} does not lie on the image's grid")
        start = tuple(int(each) for each in np.round(first)[::-1])
        return Place((start[0], start[1], start[2]), _of_array(across), _of_array(down), tuple(map(float, position)))

    def _slice_beside(self, position: Sequence[float]) -> tuple[int, NDArray[np.float64]]:
        """The slice that begins at a position, and how far beside it that is, in voxels."""
        index = self._index(np.array(position))
        at = round(float(index[2]))
        return at, index - (0, 0, at)

    def _is_near(self, first: NDArray[np.float64]) -> bool:
        """Whether a frame begins at a voxel, of the even grid or of the slice that it was made of."""
        beside = self._beside.get(round(float(first[2])), np.zeros(3))
        return bool(min(np.abs(each - np.round(each)).max() for each in (first, first - beside)) <= self._tolerance)

    def _index(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self._to_index @ (position - self._image.GetOrigin()))

    def _step(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self._to_index @ vector)

    def _other_grid(self, size: tuple[int, int], spacing: tuple[float, float]) -> str:
        columns, rows, _ = self._image.GetSize()
        across, down, _ = self._image.GetSpacing()
        return (
            f"the SEG's frames are {size[0]} x {size[1]} voxels of {spacing[0]:.4g} x {spacing[1]:.4g} mm, "
            f"the image's slices {rows} x {columns} of {down:.4g} x {across:.4g} mm, or turned against them"
        )

    def put(self, pixels: Voxels, place: Place) -> Piece | None:
        """The voxels that the pixels of a frame are; None if there are none.

        Raises:
            LabelError: some lie outside the image.

        """
        rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
        if not rows.size:
            return None
        cut = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        axis, at = place.plane
        box: list[slice] = [slice(at, at + 1)] * 3
        for (along, step), low, high in (
            (place.down, rows[0], rows[-1]),
            (place.across, columns[0], columns[-1]),
        ):
            ends = sorted(place.first[along] + step * int(end) for end in (low, high))
            box[along] = slice(ends[0], ends[1] + 1)
        cut = cut[:: place.down[1], :: place.across[1]]
        if place.down[0] > place.across[0]:
            cut = cut.T
        if any(each.start < 0 or each.stop > size for each, size in zip(box, self.shape, strict=True)):
            raise LabelError(
                f"the slice at {list(place.position)} lies outside the image, with some or all of its "
                f"{int(cut.sum())} voxels of a segment"
            )
        return Piece((box[0], box[1], box[2]), np.ascontiguousarray(np.expand_dims(cut, axis)))

    def check_distances(self, seg: Dataset, frame: Dataset, places: Sequence[Place]) -> None:
        """Refuse a SEG of thicker slices, all of which happen to meet slices of the image.

        Raises:
            LabelError: it is one.

        """
        said = macro(seg, frame, "PixelMeasuresSequence", "SpacingBetweenSlices", optional=True)
        own = self._image.GetSpacing()[2 - places[0].plane[0]]
        ratio = round(abs(float(said)) / own) if said else 1
        met = sorted({place.plane[1] for place in places})
        if ratio > 1 and len(met) > 1 and all((each - met[0]) % ratio == 0 for each in met):
            raise LabelError(f"the SEG's slices are {float(said):.4g} mm apart, the image's {own:.4g} mm")


def _of_array(step: tuple[int, int]) -> tuple[int, int]:
    """An axis of ITK's as one of the volume's array, with its step."""
    return 2 - step[0], step[1]


def _nearest(step: NDArray[np.float64]) -> tuple[int, int]:
    axis = int(np.argmax(np.abs(step)))
    return axis, 1 if step[axis] > 0 else -1


def _way(step: tuple[int, int], many: int) -> NDArray[np.float64]:
    way = np.zeros(3)
    way[step[0]] = step[1] * many
    return way


def _numbers(values: Any, many: int) -> NDArray[np.float64]:
    """Numbers of a DICOM attribute; raises ValueError if they are not so many, or none."""
    made = np.array([float(each) for each in values])
    if made.shape != (many,) or not np.isfinite(made).all():
        raise ValueError
    return made


def macro(seg: Dataset, frame: Dataset, sequence: str, keyword: str, optional: bool = False) -> Any:
    """An attribute of a frame: from its own functional groups, from the shared ones, or from the SEG itself.

    Raises:
        LabelError: it is nowhere, and not optional.

    """
    shared = seg.get("SharedFunctionalGroupsSequence") or [Dataset()]
    for group in (frame, shared[0]):
        items = group.get(sequence)
        if items and items[0].get(keyword) is not None:
            return items[0].get(keyword)
    found = seg.get(keyword)
    if found is None and not optional:
        raise LabelError(f"the SEG has no {keyword}")
    return found

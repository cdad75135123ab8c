"""A label map brought onto the grid of its image so that every painted voxel stays where it is, or refused.

Positions are rounded differently by every program, so that grids that are meant to be the same never are. Two voxels
are the same if the centre of one lies within the other, with a little room to spare.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from label_server.errors import Refused

_TOLERANCE = 0.45  # of a voxel
_NOTHING = 1e-3  # mm
_MOST_TOLD = 5
Voxels = NDArray[np.generic]


def put_on(image: sitk.Image, label: sitk.Image, cropped: bool = False) -> sitk.Image:
    """The label map on the image's grid.

    If its voxels are the image's, in whatever order or only a part of them, their values are put in place one by one.
    Otherwise each voxel of the image gets the value at its centre (nearest neighbour).

    Args:
        image: of three dimensions.
        label: the same.
        cropped: whether it may be a part of the image in slices only, as 3D Slicer saves segmentations.

    Raises:
        Refused: with the numbers of the voxels that would be lost, or with where it lies if that is not on the image.

    """
    moves = _Moves.between(image, label)
    if moves and moves.same(image):
        values = sitk.GetArrayFromImage(label)
    else:
        _lies_there(image, label, moves, cropped)
        values = moves.applied(image, label) if moves else _resampled(image, label)
        _nothing_lost(image, label, values)
    made = sitk.GetImageFromArray(values)
    made.CopyInformation(image)
    return made


@dataclass(frozen=True)
class _Moves:
    """How a label's voxels become the image's: for each of the image's axes (x, y, z) the label's, and its direction.

    `start` is the first voxel's index in the image, once the axes are the image's, and `size` how many there are.
    """

    axes: tuple[int, ...]
    flipped: tuple[bool, ...]
    start: tuple[int, ...]
    size: tuple[int, ...]

    @classmethod
    def between(cls, image: sitk.Image, label: sitk.Image) -> "_Moves | None":
        """The moves; None if its voxels are not the image's."""
        matrix, offset = _indices(image, label)
        whole = np.rint(matrix).astype(int)
        if not (np.abs(whole).sum(0) == 1).all() or not (np.abs(whole).sum(1) == 1).all():
            return None
        last = np.array(label.GetSize()) - 1
        corners = np.array([(x, y, z) for x in (0, last[0]) for y in (0, last[1]) for z in (0, last[2])])
        exact, rounded = corners @ matrix.T + offset, corners @ whole.T + np.rint(offset)
        if np.abs(exact - rounded).max() > _TOLERANCE:
            return None
        axes = tuple(int(each) for each in np.abs(whole).argmax(1))
        start = tuple(int(each) for each in rounded.min(0))
        flipped = tuple(bool(whole[axis, axes[axis]] < 0) for axis in range(3))
        return cls(axes, flipped, start, tuple(label.GetSize()[axis] for axis in axes))

    def same(self, image: sitk.Image) -> bool:
        """Whether they change nothing."""
        return self.axes == (0, 1, 2) and not any(self.flipped) and self.covers(image)

    def covers(self, image: sitk.Image) -> bool:
        """Whether the voxels are all of the image's."""
        return self.start == (0, 0, 0) and self.size == image.GetSize()

    def applied(self, image: sitk.Image, label: sitk.Image) -> Voxels:
        """The values (slices, rows, columns) of the image's grid; what lies outside is left out."""
        turned = np.transpose(sitk.GetArrayViewFromImage(label).T, self.axes)
        turned = turned[tuple(slice(None, None, -1 if each else 1) for each in self.flipped)]
        values = np.zeros(image.GetSize(), turned.dtype)
        into, of = [], []
        for start, length, there in zip(self.start, self.size, image.GetSize(), strict=True):
            first, end = max(0, start), max(0, start, min(there, start + length))
            into.append(slice(first, end))
            of.append(slice(first - start, end - start))
        values[tuple(into)] = turned[tuple(of)]
        return np.ascontiguousarray(values.T)


def _indices(image: sitk.Image, label: sitk.Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """From the label's continuous indices to the image's."""
    (ours, our_origin), (theirs, their_origin) = map(_affine, (image, label))
    inverse = np.linalg.inv(ours)
    return inverse @ theirs, inverse @ (their_origin - our_origin)


def _affine(image: sitk.Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    direction = np.array(image.GetDirection()).reshape(3, 3)
    return direction * np.array(image.GetSpacing()), np.array(image.GetOrigin())


def _resampled(image: sitk.Image, label: sitk.Image) -> Voxels:
    values: Voxels = sitk.GetArrayFromImage(
        sitk.Resample(label, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0, label.GetPixelID())
    )
    return values


def _lies_there(image: sitk.Image, label: sitk.Image, moves: _Moves | None, cropped: bool) -> None:
    """Refuse what says of itself that it was made for another volume, or says nothing."""
    size = moves.size if moves else label.GetSize()
    dimensions = f"it has {_by(label.GetSize())} voxels, the image {_by(image.GetSize())}"
    if _says_nothing(label) and not _says_nothing(image):
        raise Refused(f"it does not say where it lies (identity affine); {dimensions}")
    if sorted(label.GetSize()) == sorted(image.GetSize()) and not (moves and moves.covers(image)):
        raise Refused(f"it does not lie on the image: {_where(label)}, the image {_where(image)}; {dimensions}")
    if size[:2] == image.GetSize()[:2] and size[2] != image.GetSize()[2] and not cropped:
        raise Refused(f"it has {size[2]} slices, the image {image.GetSize()[2]}")


def _says_nothing(image: sitk.Image) -> bool:
    axes = np.abs(np.array(image.GetDirection()).reshape(3, 3))
    return bool(np.allclose(image.GetOrigin(), 0, atol=_NOTHING) and np.allclose(axes, np.eye(3), atol=_NOTHING))


def _nothing_lost(image: sitk.Image, label: sitk.Image, values: Voxels) -> None:
    """Refuse if a painted voxel lies outside the image, or in a voxel of it that has got another value."""
    painted: Counter[int] = Counter()
    lost: Counter[int] = Counter()
    for found, there in _painted(image, label, values):
        painted.update(_counted(found))
        lost.update(_counted(found[~there]))
    if not lost:
        return
    told = [f"{number} of {painted[value]} voxels of value {value}" for value, number in sorted(lost.items())]
    more = f" and {len(told) - _MOST_TOLD} other values" if len(told) > _MOST_TOLD else ""
    raise Refused(
        f"it lies on another grid than the image, and would lose {', '.join(told[:_MOST_TOLD])}{more} there;"
        f" {_where(label)}, the image {_where(image)}"
    )


def _painted(image: sitk.Image, label: sitk.Image, values: Voxels) -> Iterator[tuple[Voxels, NDArray[np.bool_]]]:
    """Of each slice of the label, the values that are not 0, and whether the image has them where they lie."""
    matrix, offset = _indices(image, label)
    size = np.array(image.GetSize())
    for number, slice_ in enumerate(sitk.GetArrayViewFromImage(label)):
        rows, columns = np.nonzero(slice_)
        index = np.stack([columns, rows, np.full(len(rows), number)], -1) @ matrix.T + offset
        inside = ((index > -0.5 - _NOTHING) & (index < size - 0.5 + _NOTHING)).all(1)
        x, y, z = np.clip(np.rint(index).astype(int), 0, size - 1).T
        found = slice_[rows, columns]
        yield found, inside & (values[z, y, x] == found)


def _counted(values: Voxels) -> dict[int, int]:
    found, numbers = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), numbers.tolist(), strict=True))


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))


def _where(image: sitk.Image) -> str:
    origin, spacing = (", ".join(f"{each:.4g}" for each in of) for of in (image.GetOrigin(), image.GetSpacing()))
    return f"its first voxel lies at ({origin}) mm, and voxels are ({spacing}) mm apart"

"""The grid of an image: how many voxels it has, and where they lie in the patient."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

_FINEST, _FARTHEST = 1e-3, 1e6  # mm: of two voxels, and of the first from where the scanner has its zero
_MOST_AT_ONE_MM = 2**30


@dataclass(frozen=True)
class Grid:
    """Columns, rows and slices; mm in the patient; the axes as ITK has them."""

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    def image(self) -> sitk.Image:
        """An empty image on it."""
        made = sitk.Image(self.size, sitk.sitkUInt8)
        made.SetSpacing(self.spacing)
        made.SetOrigin(self.origin)
        made.SetDirection(self.direction)
        return made


def possible(grid: Grid) -> bool:
    """Whether a patient could lie there, and the image fits into memory at 1 mm.

    Networks take it so, in its planes or in all directions: a few voxels, each a metre wide, are billions then.
    """
    if not all(map(math.isfinite, (*grid.spacing, *grid.origin, *grid.direction))):
        return False
    if min(grid.spacing) < _FINEST or max(map(abs, grid.origin)) > _FARTHEST:
        return False
    extents = [size * spacing for size, spacing in zip(grid.size, grid.spacing, strict=True)]
    return math.prod(extents) / min(1.0, *grid.spacing) <= _MOST_AT_ONE_MM


def of_file(path: Path) -> Grid:
    """The grid of an image file; only its header is read."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return Grid(reader.GetSize(), reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())


def put_on(image: sitk.Image, label: sitk.Image) -> sitk.Image:
    """The label map on the image's grid; resampled (nearest neighbour) only if it lies on another."""
    if label.GetSize() == image.GetSize() and np.allclose(corners(label), corners(image), atol=1e-2):
        return label
    return sitk.Resample(label, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0, label.GetPixelID())


def corners(image: Any) -> NDArray[np.float64]:
    """Where its first voxel lies, and the last one along each axis; 4 x 3, in mm."""
    last = [size - 1 for size in image.GetSize()]
    indices = [(0, 0, 0), (last[0], 0, 0), (0, last[1], 0), (0, 0, last[2])]
    return np.array([image.TransformIndexToPhysicalPoint(index) for index in indices])

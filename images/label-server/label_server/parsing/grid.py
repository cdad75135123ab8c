"""The grid of an image: how many voxels it has, and where they lie in the patient."""

import math
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

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

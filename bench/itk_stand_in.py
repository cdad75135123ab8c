"""What MONAI Label's `write_itk` asks of ITK, done by SimpleITK: ITK is 110 MB, more than may travel to a GPU."""

from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray


def image_from_array(voxels: NDArray[Any]) -> sitk.Image:
    """An image of these voxels."""
    return sitk.GetImageFromArray(voxels)


def size(image: sitk.Image) -> tuple[int, ...]:
    """Columns, rows, slices."""
    size: tuple[int, ...] = image.GetSize()
    return size


def matrix_from_array(matrix: NDArray[np.float64]) -> list[float]:
    """As SimpleITK takes it."""
    values: list[float] = matrix.ravel().tolist()
    return values


def imwrite(image: sitk.Image, path: str, compress: bool) -> None:
    """Write it in the format that the path ends with."""
    sitk.WriteImage(image, path, useCompression=compress)

"""The phantom's nodules as somebody would paint them."""

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from labelpod.dicom.phantom import Nodule


def balls(image: sitk.Image, nodules: Sequence[Nodule]) -> NDArray[np.uint8]:
    """Label map (slices, rows, columns) with each nodule a ball of a value of its own, 1 and up."""
    depth, height, width = image.GetSize()[::-1]
    k, j, i = np.mgrid[:depth, :height, :width]
    spacing, origin = image.GetSpacing(), image.GetOrigin()
    x, y, z = (axis * step + start for axis, step, start in zip((i, j, k), spacing, origin, strict=True))
    voxels = np.zeros((depth, height, width), np.uint8)
    for value, nodule in enumerate(nodules, start=1):
        centre = nodule.lps
        inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 < nodule.radius**2
        voxels[inside] = value
    return voxels

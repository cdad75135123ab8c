"""Label maps in files."""

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from label_server.datastore.label_values import LabelError


def of_voxels(voxels: Path, image: Path, path: Path) -> Path:
    """Make a label map of voxels without a header, one byte each, as OHIF sends them; the new file's path.

    Args:
        voxels: as many as the image has.
        image: whose grid they are on.
        path: of the file to be.

    """
    read = sitk.ReadImage(str(image))
    return write(np.fromfile(voxels, np.uint8).reshape(read.GetSize()[::-1]), read, path)


def read(path: str) -> sitk.Image:
    """Read a label map.

    Raises:
        LabelError: it is none.

    """
    try:
        return sitk.ReadImage(path)
    except RuntimeError:  # ITK has no other
        raise LabelError("it is no label map that can be read") from None


def write(voxels: Any, image: sitk.Image, path: Path) -> Path:
    """Write a label map on the grid of its image; the file's path.

    Args:
        voxels: (slices, rows, columns) of the image.
        image: see there.
        path: of the file to be.

    """
    label = sitk.GetImageFromArray(voxels)
    label.CopyInformation(image)
    sitk.WriteImage(label, str(path), useCompression=True)
    return path

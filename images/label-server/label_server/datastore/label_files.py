"""Label maps in files."""

from pathlib import Path
from typing import Any

import SimpleITK as sitk
from monailabel.datastore.utils.convert import binary_to_image

from label_server.datastore.label_values import LabelError


def from_voxels(image_file: str, voxels_file: str) -> str:
    """Make a label map of voxels without a header, one byte each, as OHIF sends them.

    Returns:
        The path of a new file on the image's grid.

    Raises:
        LabelError: they are not as many as the image's.

    """
    try:
        return str(binary_to_image(image_file, voxels_file))
    except ValueError:
        raise LabelError("it has more or fewer voxels than the image") from None


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

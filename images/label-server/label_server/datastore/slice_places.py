"""Which slice of a volume a position in the patient means."""

from collections.abc import Sequence
from pathlib import Path

import SimpleITK as sitk
from pydicom import dcmread

from label_server.datastore.label_values import LabelError

# How far, in voxels, a slice may lie from its place on the grid: positions are rounded, tables sag.
TOLERANCE = 0.45


def slice_index(image: sitk.Image, position: Sequence[float], tolerance: float = TOLERANCE) -> int:
    """The slice of the image that begins at a position in the patient (mm).

    Raises:
        LabelError: none does.

    """
    index = image.TransformPhysicalPointToContinuousIndex([float(value) for value in position])
    if any(abs(value - round(value)) > tolerance for value in index) or any(
        abs(value) > tolerance for value in index[:2]
    ):
        raise LabelError(f"the slice at {list(position)} does not lie on the image's grid")
    if not 0 <= round(index[2]) < image.GetDepth():
        raise LabelError(f"the slice at {list(position)} lies outside the image")
    return round(index[2])


def positions(folder: Path) -> list[list[float]]:
    """Where the slices of a series begin in the patient (mm), as its DICOM files say; of those that say it."""
    headers = (dcmread(file, stop_before_pixels=True) for file in folder.glob("*.dcm"))
    found = ([float(value) for value in each.get("ImagePositionPatient") or ()] for each in headers)
    return [each for each in found if len(each) == 3]

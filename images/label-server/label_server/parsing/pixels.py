"""The values of DICOM slices, where ITK reads others than the standard means.

GDCM inverts MONOCHROME1, which says how to display values and not what they are, and takes slope and intercept of the
first slice for all of a series.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from label_server.errors import Refused

_LOOKED_AT = ("PhotometricInterpretation", "RescaleSlope", "RescaleIntercept")


def as_displayed(files: Sequence[Path], folder: Path) -> list[Path]:
    """The slices, none of them MONOCHROME1.

    Args:
        files: DICOM files, which stay as they are.
        folder: gets another folder of those that are.

    """
    displayed = folder / "displayed"
    displayed.mkdir()
    return [_as_displayed(file, displayed) for file in files]


def _as_displayed(file: Path, displayed: Path) -> Path:
    if _header(file).get("PhotometricInterpretation") != "MONOCHROME1":
        return file
    instance = dcmread(file, force=True)
    instance.PhotometricInterpretation = "MONOCHROME2"
    instance.save_as(displayed / file.name)
    return displayed / file.name


def rescaled(files: Sequence[Path], read: Callable[[Path], sitk.Image]) -> NDArray[np.generic] | None:
    """The values of a series whose slices have a slope and an intercept each; None if all have the same.

    Args:
        files: in their order.
        read: one of them, by its own slope and intercept.

    Returns:
        (slices, rows, columns), as whole numbers if they are.

    Raises:
        Refused: one of them is no number.

    """
    if len({_rescale(_header(file)) for file in files}) == 1:
        return None
    # Whole up to 2**24, which no CT exceeds.
    values = np.concatenate([sitk.GetArrayFromImage(read(file)).astype(np.float32) for file in files])
    low, high = float(values.min()), float(values.max())
    whole = low >= -(2**15) and high < 2**15 and bool((values == np.rint(values)).all())
    return values.astype(np.int16) if whole else values


def _rescale(header: Dataset) -> tuple[float, float]:
    try:
        slope, intercept = float(header.get("RescaleSlope") or 1), float(header.get("RescaleIntercept") or 0)
    except (TypeError, ValueError):
        slope = intercept = math.nan
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise Refused("a slice does not say what its values mean")
    return slope, intercept


def _header(file: Path) -> Dataset:
    return dcmread(file, stop_before_pixels=True, specific_tags=list(_LOOKED_AT), force=True)

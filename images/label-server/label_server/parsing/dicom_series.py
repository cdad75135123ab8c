"""The slices of a DICOM series: whether they make one, in which order, and where they lie."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import dcmread

from label_server.errors import Refused
from labelpod_common.dicom import header, series_check, slice_geometry
from labelpod_common.dicom.header import Header


def header_of(file: Path) -> Header:
    """The header of a DICOM file.

    Raises:
        Refused: it has none that can be read.

    """
    try:
        return header.of(dcmread(file, stop_before_pixels=True, specific_tags=list(header.KEYWORDS), force=True))
    except Exception:  # broken bytes make pydicom raise anything
        raise Refused("it is no series that can be read: a header in it is broken") from None


def in_order(slices: Iterable[tuple[Header, Path]]) -> tuple[list[Header], list[Path]]:
    """Several slices, from the first to the last along their normal.

    Raises:
        Refused: they make no volume, or one that would be read wrongly.

    """
    slices = list(slices)
    judge([each for each, _ in slices])
    ordered = sorted(slices, key=lambda each: _along(each[0], slices[0][0]))
    return [each for each, _ in ordered], [file for _, file in ordered]


def judge(slices: Sequence[Header]) -> str:
    """Why nobody is to be given these slices to label though they can be read, "" if somebody may be.

    Raises:
        Refused: they make no volume, or one that would be read wrongly.

    """
    if len({each.series_uid for each in slices}) > 1:
        raise Refused("there is more than one series in it")
    found = series_check.problems(slices)
    if refusal := series_check.refusal(found):
        raise Refused(refusal)
    return series_check.unfit(found)


def place(made: sitk.Image, slices: Sequence[Header]) -> None:
    """Tell an image of several slices where they lie.

    Args:
        made: their voxels.
        slices: in order; `judge` has let them pass.

    """
    first, last = slices[0], slices[-1]
    axes = slice_geometry.axes(first.orientation or ())
    thickness = (_along(last, first) - _along(first, first)) / (len(slices) - 1)
    down, across = first.spacing or ()
    made.SetOrigin(first.position or ())
    made.SetSpacing((across, down, thickness))
    made.SetDirection(axes.T.ravel().tolist())


def _along(each: Header, first: Header) -> float:
    """How far a slice lies along the normal of the first one, mm."""
    return float(slice_geometry.axes(first.orientation or ())[2] @ np.array(each.position or ()))

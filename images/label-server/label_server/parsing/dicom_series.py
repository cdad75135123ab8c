"""The slices of a DICOM series: whether they make one, in which order, and where they lie."""

from collections.abc import Callable, Iterable, Sequence
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
    along = along_normal(slices[0][0])
    ordered = sorted(slices, key=lambda each: along(each[0]))
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
    along = along_normal(first)
    thickness = (along(last) - along(first)) / (len(slices) - 1)
    down, across = first.spacing or ()
    made.SetOrigin(first.position or ())
    made.SetSpacing((across, down, thickness))
    made.SetDirection(axes.T.ravel().tolist())


def along_normal(first: Header) -> Callable[[Header], float]:
    """A function that gives how far a slice lies along the normal of the first one, mm."""
    normal = slice_geometry.axes(first.orientation or ())[2]
    return lambda each: float(normal @ np.array(each.position or ()))

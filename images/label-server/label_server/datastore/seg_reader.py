"""DICOM SEG to label maps on the grid of the CT they belong to, by the names of their segments."""

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import Dataset

from label_server.datastore import label_values
from label_server.datastore.label_values import LabelError
from label_server.datastore.slice_places import TOLERANCE, slice_index
from label_server.dicomweb.series import MANUFACTURER
from label_server.settings import MAX_VOLUME_BYTES
from labelpod_common.labels import Label

# A frame of another program: it may belong to another grid altogether.
_FOREIGN_TOLERANCE = 0.05


def read(seg: Dataset, image: sitk.Image, labels: Sequence[Label]) -> NDArray[np.uint8]:
    """The label map of a DICOM SEG on the image's whole grid, values by segment name.

    Args:
        seg: a binary segmentation, ours or another program's, in the planes of the image.
        image: the CT volume.
        labels: the server's list; segments of other names follow behind it.

    Returns:
        (slices, rows, columns) of the image.

    Raises:
        LabelError: the SEG lies on another grid, or is not as DICOM wants it.

    """
    try:
        return _read(seg, image, labels)
    except LabelError:
        raise
    except Exception as problem:  # whatever is missing or wrong in another program's SEG
        raise LabelError(f"its DICOM SEG cannot be read: {type(problem).__name__}") from problem


def _read(seg: Dataset, image: sitk.Image, labels: Sequence[Label]) -> NDArray[np.uint8]:
    names = {int(item.SegmentNumber): str(item.SegmentLabel) for item in seg.SegmentSequence}
    values = label_values.by_name(labels, names.values())
    result = np.zeros(image.GetSize()[::-1], dtype=np.uint8)
    # Before any of it is decoded: a frame, or many, may be larger than the memory.
    if (seg.Rows, seg.Columns) != result.shape[1:]:
        raise LabelError(f"the SEG's frames are {(seg.Rows, seg.Columns)}, the image's slices {result.shape[1:]}")
    if (int(seg.get("SamplesPerPixel", 1)), int(seg.BitsAllocated)) not in ((1, 1), (1, 8)):
        raise LabelError("the SEG's voxels are no segments")
    if int(seg.NumberOfFrames) * result[0].size > MAX_VOLUME_BYTES:
        raise LabelError(f"the SEG's frames take more than {MAX_VOLUME_BYTES // 2**20} MB")
    tolerance = TOLERANCE if seg.get("Manufacturer") == MANUFACTURER else _FOREIGN_TOLERANCE
    places = [_place(image, group, tolerance) for group in seg.PerFrameFunctionalGroupsSequence]
    if len(set(places)) != len(places) or len(places) != seg.NumberOfFrames:
        raise LabelError("the SEG has several frames of one segment in one slice")
    frames = np.atleast_3d(seg.pixel_array) if seg.NumberOfFrames > 1 else seg.pixel_array[np.newaxis]
    for pixels, (number, index) in zip(frames, places, strict=True):
        result[index][pixels > 0] = values[names[number]]
    return result


def _place(image: sitk.Image, group: Dataset, tolerance: float) -> tuple[int, int]:
    """The segment's number and the slice of a frame."""
    number = int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
    return number, slice_index(image, group.PlanePositionSequence[0].ImagePositionPatient, tolerance)

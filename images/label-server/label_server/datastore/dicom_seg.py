"""Label maps to DICOM SEG and back, by value and by name, in the geometry of the CT they belong to.

Upstream names segments by rank instead of by value and codes every one of them as a spleen
(monailabel 0.8.5, datastore/utils/convert.py:94-124), and cannot write a label without a nodule at all.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import SimpleITK as sitk
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from label_server.datastore import source_header
from label_server.dicomweb.series import MANUFACTURER
from label_server.settings import MAX_VOLUME_BYTES
from labelpod_common import label_codes
from labelpod_common.labels import Label

# How far, in voxels, a slice may lie from its place on the grid: positions are rounded, tables sag.
TOLERANCE = 0.45
# A frame of another program: it may belong to another grid altogether.
_FOREIGN_TOLERANCE = 0.05


class LabelError(ValueError):
    """A label map or a DICOM SEG that does not fit its image; the message says how."""


def names_by_value(label_info: Sequence[Mapping[str, Any]] | None, labels: Sequence[Label]) -> dict[int, str]:
    """What a client means by the values of its label map.

    Args:
        label_info: the client's list of `{"name", "idx"}`, or nothing.
        labels: the server's list, which counts if the client says nothing.

    Slicer numbers the voxels by the position of a segment among those it sends, but counts `idx` over all
    segments, skipped ones too. So `idx` is believed only if it agrees with the server's list.

    """
    listed = {label.name: label.value for label in labels}
    entries = [entry for entry in label_info or [] if entry.get("name")]
    if not entries:
        return {label.value: label.name for label in labels}
    if all("idx" in entry and int(entry["idx"]) == listed.get(entry["name"], -1) for entry in entries):
        return {int(entry["idx"]): str(entry["name"]) for entry in entries}
    return {position: str(entry["name"]) for position, entry in enumerate(entries, start=1)}


def renumber(voxels: NDArray[Any], names: Mapping[int, str], labels: Sequence[Label]) -> NDArray[np.uint8]:
    """Give a label map the values of the server's list; names outside the list follow behind it.

    Args:
        voxels: label map of any shape, whole numbers.
        names: the client's names by value; a value without one is refused.
        labels: the server's list.

    Raises:
        LabelError: a value that has no name, or more than 255 values.

    """
    values = _values(labels, names.values())
    result = np.zeros(voxels.shape, dtype=np.uint8)
    for value in np.unique(voxels):
        if value == 0:
            continue
        name = names.get(int(value))
        if name is None:
            raise LabelError(f"the label map holds the value {value}, which no label has")
        result[voxels == value] = values[name]
    return result


def write(
    voxels: NDArray[np.uint8],
    image: sitk.Image,
    slices: Path,
    labels: Sequence[Label],
    names: Mapping[int, str],
    creator: str = "",
) -> Segmentation:
    """Make the DICOM SEG of a label map.

    Args:
        voxels: (slices, rows, columns), values as given by `renumber`; all zero means "looked, found none".
        image: the CT volume on whose grid the voxels lie.
        slices: folder of the CT's DICOM files.
        labels: the server's list.
        names: the client's names by value, for names outside the list.
        creator: who painted it.

    Raises:
        LabelError: the voxels do not fit the series.

    """
    sources = _sources(slices, image)
    if voxels.shape != (len(sources), image.GetHeight(), image.GetWidth()):
        raise LabelError(f"the label map is {voxels.shape}, the series has {len(sources)} slices")
    by_value = {value: name for name, value in _values(labels, names.values()).items()}
    present = [int(value) for value in np.unique(voxels) if value]
    numbers = np.zeros(256, dtype=np.uint8)
    numbers[present] = range(1, len(present) + 1)
    if not present:
        # An empty label is one slice of nothing: it says that somebody looked, and costs 32 KB.
        sources, voxels = sources[:1], voxels[:1]
    described = [by_value[value] for value in present] or [labels[0].name]
    seg = Segmentation(
        source_images=sources,
        pixel_array=numbers[voxels],
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe(name, number, labels) for number, name in enumerate(described, start=1)],
        series_instance_uid=generate_uid(),
        series_number=300,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name="MONAI Label",
        software_versions=version("monailabel"),
        device_serial_number="0",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_creator_name=creator or None,
        content_description="Nodules" if present else "No nodule found",
        series_description="MONAI Label",
    )
    seg.SpecificCharacterSet = source_header.CHARACTER_SET
    seg.RelatedSeriesSequence = [_related(sources[0])]
    return seg


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
    values = _values(labels, names.values())
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
    return number, _slice_index(image, group.PlanePositionSequence[0].ImagePositionPatient, tolerance)


def _related(source: Dataset) -> Dataset:
    """The image series, in short: lists give it where they would not give the reference to each slice."""
    item = Dataset()
    item.StudyInstanceUID, item.SeriesInstanceUID = source.StudyInstanceUID, source.SeriesInstanceUID
    item.PurposeOfReferenceCodeSequence = []
    return item


def _values(labels: Sequence[Label], names: Any) -> dict[str, int]:
    values = {label.name: label.value for label in labels}
    for name in names:
        values.setdefault(name, len(values) + 1)
    if len(values) > 255:
        raise LabelError(f"{len(values)} labels are more than 255")
    return values


def _describe(name: str, number: int, labels: Sequence[Label]) -> SegmentDescription:
    label = next((each for each in labels if each.name == name), Label(name, 0, 0))
    category, kind = (CodedConcept(each.value, each.scheme, each.meaning) for each in label_codes.of(label, labels))
    algorithm = hd.AlgorithmIdentificationSequence(
        name="MONAI Label", version=version("monailabel"), family=codes.DCM.ArtificialIntelligence
    )
    return SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=algorithm,
        tracking_id=name,
        tracking_uid=generate_uid(),
    )


def _sources(slices: Path, image: sitk.Image) -> list[Dataset]:
    """Headers of the series in the order of the image's slices."""
    try:
        headers = [dcmread(path, stop_before_pixels=True) for path in slices.glob("*.dcm")]
        order = {_slice_index(image, header.ImagePositionPatient): header for header in headers}
    except LabelError:
        raise
    except Exception as problem:  # what ITK reads all the same
        raise LabelError(f"a slice of its series cannot be read: {type(problem).__name__}") from problem
    if len(order) != len(headers) or len(order) != image.GetDepth():
        raise LabelError(f"{len(headers)} DICOM slices do not make the image's {image.GetDepth()} slices")
    sources: list[Dataset] = [order[index] for index in sorted(order)]
    try:
        source_header.prepare(sources, image.GetSpacing()[2])
    except source_header.UnreadablePatient:
        raise LabelError("the patient's ID in the image is not in the character set that it names") from None
    return sources


def _slice_index(image: sitk.Image, position: Sequence[float], tolerance: float = TOLERANCE) -> int:
    index = image.TransformPhysicalPointToContinuousIndex([float(value) for value in position])
    if any(abs(value - round(value)) > tolerance for value in index) or any(
        abs(value) > tolerance for value in index[:2]
    ):
        raise LabelError(f"the slice at {list(position)} does not lie on the image's grid")
    if not 0 <= round(index[2]) < image.GetDepth():
        raise LabelError(f"the slice at {list(position)} lies outside the image")
    return round(index[2])

"""Label maps to DICOM SEG, by value and by name, in the geometry of the CT they belong to.

Upstream codes every segment as a spleen (monailabel 0.8.5, datastore/utils/convert.py:94-124), and cannot write a label
without a nodule at all.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import highdicom as hd
import numpy as np
import SimpleITK as sitk
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from label_server.datastore import label_values, source_header
from label_server.datastore.label_values import LabelError
from label_server.datastore.slice_places import slice_index
from label_server.dicomweb.series import MANUFACTURER
from labelpod_common import label_codes
from labelpod_common.labels import Label


def write(
    voxels: NDArray[np.uint8],
    image: sitk.Image,
    slices: Path,
    labels: Sequence[Label],
    names: Mapping[int, str],
    creator: str = "",
    algorithm: str = "MANUAL",
) -> Segmentation:
    """Make the DICOM SEG of a label map.

    Args:
        voxels: (slices, rows, columns), values as given by `renumber`; all zero means "looked, found none".
        image: the CT volume on whose grid the voxels lie.
        slices: folder of the CT's DICOM files.
        labels: the server's list.
        names: the client's names by value, for names outside the list.
        creator: who painted it.
        algorithm: how it was made: MANUAL, SEMIAUTOMATIC or AUTOMATIC.

    Raises:
        LabelError: the voxels do not fit the series.

    """
    sources = _sources(slices, image)
    if voxels.shape != (len(sources), image.GetHeight(), image.GetWidth()):
        raise LabelError(f"the label map is {voxels.shape}, the series has {len(sources)} slices")
    by_value = {value: name for name, value in label_values.by_name(labels, names.values()).items()}
    present = [int(value) for value in np.unique(voxels) if value]
    numbers = np.zeros(256, dtype=np.uint8)
    numbers[present] = range(1, len(present) + 1)
    if not present:
        # An empty label is one slice of nothing: it says that somebody looked, and costs 32 KB.
        sources, voxels = sources[:1], voxels[:1]
    described = [by_value[value] for value in present] or [labels[0].name]
    made = hd.seg.SegmentAlgorithmTypeValues(algorithm)
    seg = Segmentation(
        source_images=sources,
        pixel_array=numbers[voxels],
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe(name, number, labels, made) for number, name in enumerate(described, start=1)],
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


def _related(source: Dataset) -> Dataset:
    """The image series, in short: lists give it where they would not give the reference to each slice."""
    item = Dataset()
    item.StudyInstanceUID, item.SeriesInstanceUID = source.StudyInstanceUID, source.SeriesInstanceUID
    item.PurposeOfReferenceCodeSequence = []
    return item


def _describe(
    name: str, number: int, labels: Sequence[Label], made: hd.seg.SegmentAlgorithmTypeValues
) -> SegmentDescription:
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
        algorithm_type=made,
        algorithm_identification=None if made == hd.seg.SegmentAlgorithmTypeValues.MANUAL else algorithm,
        tracking_id=name,
        tracking_uid=generate_uid(),
    )


def _sources(slices: Path, image: sitk.Image) -> list[Dataset]:
    """Headers of the series in the order of the image's slices."""
    try:
        headers = [dcmread(path, stop_before_pixels=True) for path in slices.glob("*.dcm")]
        order = {slice_index(image, header.ImagePositionPatient): header for header in headers}
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

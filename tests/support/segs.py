"""DICOM SEGs as other programs write them, made by hand of pydicom's parts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.support.ct import Ct, read

NODULE, LIVER = ("SCT", "27925004", "Nodule"), ("SCT", "10200004", "Liver")
_SOP_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"
_OF_LABEL_MAPS = "1.2.840.10008.5.1.4.1.1.66.7"


@dataclass(frozen=True)
class Painted:
    """A segment: its name, its voxels as (slices, rows, columns) of the image, its code and the object that it is."""

    name: str
    voxels: NDArray[Any]
    code: tuple[str, str, str] | None = NODULE
    tracking: str = ""


@dataclass(frozen=True)
class View:
    """Which axes of the volume (0: slices, 1: rows, 2: columns) a SEG counts its frames, rows and columns by, how."""

    axes: tuple[int, int, int] = (0, 1, 2)
    steps: tuple[int, int, int] = (1, 1, 1)


@dataclass
class Frames:
    """The frames of a SEG before they are written: the segment, the place along the axis, the pixels."""

    numbers: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    pixels: list[NDArray[Any]] = field(default_factory=list)


def volume(of: Ct) -> sitk.Image:
    """The image of a series, without its values."""
    headers = sorted(map(read, of.files), key=lambda header: float(header.ImagePositionPatient[2]))
    first, second = (np.array(header.ImagePositionPatient, float) for header in headers[:2])
    image = sitk.Image(of.shape[::-1], sitk.sitkInt16)
    image.SetOrigin(first.tolist())
    across = [float(value) for value in headers[0].PixelSpacing][::-1]
    image.SetSpacing([*across, float(np.linalg.norm(second - first))])
    return image


def make(
    of: Ct,
    *segments: Painted,
    kind: str = "BINARY",
    view: View = View(),
    all_frames: bool = False,
    image: sitk.Image | None = None,
    change: Callable[[Dataset], None] = lambda _: None,
    **more: Any,
) -> FileDataset:
    """A SEG of an image.

    Args:
        of: the image.
        segments: in their order.
        kind: SegmentationType.
        view: how its frames lie.
        all_frames: whether frames without a voxel are written, too.
        image: on whose grid the voxels lie, if it is not that of the series.
        change: of what is made, before it is returned.
        more: attributes of the SEG.

    """
    header = read(of.files[0])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _OF_LABEL_MAPS if kind == "LABELMAP" else _SOP_CLASS
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = generate_uid(), ExplicitVRLittleEndian
    seg = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "FrameOfReferenceUID"):
        setattr(seg, keyword, header.get(keyword))
    seg.SOPClassUID, seg.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    seg.SeriesInstanceUID, seg.Modality, seg.Manufacturer = generate_uid(), "SEG", "another"
    seg.ContentDate, seg.ContentTime, seg.SegmentationType = "20250101", "120000", kind
    seg.SegmentSequence = [_described(number, each) for number, each in enumerate(segments, start=1)]
    seg.ReferencedSeriesSequence = [Dataset()]
    seg.ReferencedSeriesSequence[0].SeriesInstanceUID = of.uid
    frames = _label_map(segments, view) if kind == "LABELMAP" else _frames(segments, view, all_frames)
    _fill(seg, frames, kind)
    _lay(seg, frames, image or volume(of), view, kind)
    for name, value in more.items():
        setattr(seg, name, value)
    change(seg)
    return seg


def _described(number: int, painted: Painted) -> Dataset:
    item = Dataset()
    item.SegmentNumber, item.SegmentLabel, item.SegmentAlgorithmType = number, painted.name, "MANUAL"
    if painted.tracking:
        item.TrackingID, item.TrackingUID = painted.tracking, generate_uid()
    if painted.code:
        code = Dataset()
        code.CodingSchemeDesignator, code.CodeValue, code.CodeMeaning = painted.code
        item.SegmentedPropertyTypeCodeSequence = [code]
    return item


def _seen(voxels: NDArray[Any], view: View) -> NDArray[Any]:
    turned = np.transpose(voxels, view.axes)
    return turned[:: view.steps[0], :: view.steps[1], :: view.steps[2]]


def _frames(segments: Sequence[Painted], view: View, all_frames: bool) -> Frames:
    frames = Frames()
    for number, each in enumerate(segments, start=1):
        for place, pixels in enumerate(_seen(each.voxels, view)):
            if all_frames or pixels.any():
                frames.numbers.append(number)
                frames.places.append(place)
                frames.pixels.append(pixels)
    return frames


def _label_map(segments: Sequence[Painted], view: View) -> Frames:
    values = np.zeros(segments[0].voxels.shape, np.uint8)
    for number, each in enumerate(segments, start=1):
        values[each.voxels > 0] = number
    seen = list(_seen(values, view))
    return Frames([0] * len(seen), list(range(len(seen))), seen)


def _fill(seg: Dataset, frames: Frames, kind: str) -> None:
    pixels = np.array(frames.pixels)
    seg.NumberOfFrames, seg.Rows, seg.Columns = pixels.shape
    seg.SamplesPerPixel, seg.PhotometricInterpretation, seg.PixelRepresentation = 1, "MONOCHROME2", 0
    bits = 1 if kind == "BINARY" else 8
    seg.BitsAllocated = seg.BitsStored = bits
    seg.HighBit = bits - 1
    if kind == "FRACTIONAL":
        seg.SegmentationFractionalType, seg.MaximumFractionalValue = "PROBABILITY", 200
    packed = np.packbits(pixels.ravel() > 0, bitorder="little") if bits == 1 else pixels.astype(np.uint8)
    content = packed.tobytes()
    seg.PixelData = content + b"\0" * (len(content) % 2)


def _lay(seg: Dataset, frames: Frames, image: sitk.Image, view: View, kind: str) -> None:
    """Say where the frames lie: what is the same of all in the shared functional groups, the rest frame by frame."""
    size, spacing = image.GetSize()[::-1], np.array(image.GetSpacing()[::-1])
    units = np.reshape(image.GetDirection(), (3, 3)).T[::-1]
    steps = dict(zip(view.axes, view.steps, strict=True))
    corner = np.array(image.GetOrigin())
    for axis in range(3):
        if steps[axis] < 0:
            corner = corner + (size[axis] - 1) * spacing[axis] * units[axis]
    along, down, across = view.axes
    shared = Dataset()
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing = [float(spacing[down]), float(spacing[across])]
    measures.SliceThickness = measures.SpacingBetweenSlices = float(spacing[along])
    turned = [steps[across] * units[across], steps[down] * units[down]]
    orientation.ImageOrientationPatient = [float(value) for value in np.ravel(turned)]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    seg.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for number, place in zip(frames.numbers, frames.places, strict=True):
        group, position, segment = Dataset(), Dataset(), Dataset()
        at = corner + place * steps[along] * spacing[along] * units[along]
        position.ImagePositionPatient = [float(value) for value in at]
        group.PlanePositionSequence = [position]
        if kind != "LABELMAP":
            segment.ReferencedSegmentNumber = number
            group.SegmentIdentificationSequence = [segment]
        groups.append(group)
    seg.PerFrameFunctionalGroupsSequence = groups


def reordered(seg: Dataset, order: Sequence[int]) -> None:
    """Put the frames into another order."""
    frames = np.array(
        np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")[
            : seg.NumberOfFrames * seg.Rows * seg.Columns
        ]
    ).reshape(seg.NumberOfFrames, -1)
    seg.PerFrameFunctionalGroupsSequence = [seg.PerFrameFunctionalGroupsSequence[index] for index in order]
    content = np.packbits(frames[list(order)].ravel(), bitorder="little").tobytes()
    seg.PixelData = content + b"\0" * (len(content) % 2)

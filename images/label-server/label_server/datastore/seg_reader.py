"""DICOM SEG to label maps on the grid of the CT they belong to, by the names and codes of their segments.

| in the SEGs | in the label map |
|---|---|
| FRACTIONAL | what is at least half of the most |
| LABELMAP | as its numbers say, without the background |
| segments that overlap | the smaller one has what both have |
| several instances of a series | together |
| several series of one maker | together; of two that are the same object the newer: the same name, and the same \
tracking ID or, if one has none, voxels in common |
| segments that the list does not have | left out, or behind the list: the setting FOREIGN_LABELS |
| another grid, voxels outside the image | refused |
"""

import logging
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import Dataset

from label_server.datastore import label_values, seg_frames, seg_geometry
from label_server.datastore.label_values import LabelError
from label_server.datastore.seg_geometry import Grid, Piece
from label_server.datastore.slice_places import TOLERANCE
from label_server.dicomweb import segments
from label_server.dicomweb.segments import Segment
from label_server.settings import MAX_VOLUME_BYTES
from labelpod_common.labels import Label

logger = logging.getLogger(__name__)

_MOST_SEGMENTS = 255
# A frame of another program, in voxels: it may belong to another grid altogether.
_TOLERANCE = 0.05


@dataclass
class _Part:
    """A segment and its voxels, slice by slice."""

    segment: Segment
    pieces: list[Piece] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(int(piece.voxels.sum()) for piece in self.pieces)


def read(seg: Dataset, image: sitk.Image, labels: Sequence[Label]) -> NDArray[np.uint8]:
    """The label map of one of our DICOM SEGs on the image's whole grid, values by segment name.

    Args:
        seg: a segmentation in planes of the image.
        image: the CT volume.
        labels: the server's list; segments of other names follow behind it.

    Returns:
        (slices, rows, columns) of the image.

    Raises:
        LabelError: the SEG lies on another grid, or is not as DICOM wants it.

    """
    parts = _guarded([[seg]], Grid(image, TOLERANCE), lambda _: True)
    return _painted(parts, [part.segment.name for part in parts], image, labels)


def read_foreign(
    series: Sequence[Sequence[Dataset]],
    image: sitk.Image,
    labels: Sequence[Label],
    any_name: bool,
    slices: Sequence[Sequence[float]] = (),
) -> NDArray[np.uint8]:
    """The label map of other programs' DICOM SEGs, see the table above.

    Args:
        series: the instances of each series, the newest last.
        image: the CT volume.
        labels: the server's list.
        any_name: whether segments count that the list does not have.
        slices: where those of the CT begin, if that is known.

    Returns:
        (slices, rows, columns) of the image.

    Raises:
        LabelError: as of ours; or no segment is one of the list.

    """
    grid = Grid(image, _TOLERANCE, slices)
    parts = _guarded(series, grid, lambda each: any_name or segments.listed(each, labels))
    if not parts:
        raise LabelError("none of its segments is in the label list")
    return _painted(parts, segments.assign([part.segment for part in parts], labels), image, labels)


def _guarded(series: Sequence[Sequence[Dataset]], grid: Grid, wanted: Callable[[Segment], bool]) -> list[_Part]:
    try:
        parts: list[_Part] = []
        for instances in reversed(series):
            found = _of_series(instances, grid, wanted)
            parts += [each for each in found if not any(_replaces(newer, each, grid) for newer in parts)]
        return parts
    except LabelError:
        raise
    except Exception as problem:  # whatever is missing or wrong in another program's SEG
        raise LabelError(f"its DICOM SEG cannot be read: {type(problem).__name__}") from problem


def _of_series(instances: Sequence[Dataset], grid: Grid, wanted: Callable[[Segment], bool]) -> list[_Part]:
    """The segments of a series; what its instances say of the same segment belongs together."""
    parts: dict[Segment, _Part] = {}
    taken = 0
    for seg in instances:
        described = segments.of(seg)
        chosen = {each.number: each for each in described if wanted(each)}
        if len(chosen) < len(described):
            logger.info(f"{len(described) - len(chosen)} segments are left out: the label list does not have them")
        parts |= {each: _Part(each) for each in chosen.values() if each not in parts}
        if len(parts) > _MOST_SEGMENTS:
            raise LabelError(f"{len(parts)} segments are more than {_MOST_SEGMENTS}")
        for number, piece in _pieces(seg, grid, chosen.keys()):
            taken += piece.voxels.size
            if taken > MAX_VOLUME_BYTES:
                raise LabelError(f"the SEG's segments take more than {MAX_VOLUME_BYTES // 2**20} MB")
            parts[chosen[number]].pieces.append(piece)
    return list(parts.values())


def _pieces(seg: Dataset, grid: Grid, wanted: Container[int]) -> Iterator[tuple[int, Piece]]:
    """The number of a wanted segment and what one frame has of it."""
    described = {int(item.SegmentNumber) for item in seg.SegmentSequence}
    number = int(seg.get("NumberOfFrames") or 1)
    groups = list(seg.get("PerFrameFunctionalGroupsSequence") or [Dataset()])
    if len(groups) != number:
        raise LabelError(f"the SEG has {number} frames and says of {len(groups)} where they lie")
    label_map = seg.get("SegmentationType") == "LABELMAP"
    numbers = [0 if label_map else _number(seg, group, described) for group in groups]
    frames = [index for index, each in enumerate(numbers) if label_map or each in wanted]
    if not frames:
        return
    places = [grid.place(seg, groups[index]) for index in frames]
    if len({(numbers[index], place.plane) for index, place in zip(frames, places, strict=True)}) != len(frames):
        raise LabelError("the SEG has several frames of one segment in one slice")
    grid.check_distances(seg, groups[0], places)
    pixels_of, inside = seg_frames.reader(seg, len(frames), MAX_VOLUME_BYTES), _inside(seg)
    for index, place in zip(frames, places, strict=True):
        pixels = pixels_of(index)
        if not label_map:
            piece = grid.put(inside(pixels), place)
            if piece:
                yield numbers[index], piece
            continue
        for value in map(int, np.unique(pixels)):
            if value and value not in described and value != seg.get("PixelPaddingValue"):
                raise LabelError(f"the SEG holds the value {value}, which no segment has")
            piece = grid.put(pixels == value, place) if value in wanted else None
            if piece:
                yield value, piece


def _number(seg: Dataset, group: Dataset, described: set[int]) -> int:
    """The segment that a frame is of; it need not say if there is but one."""
    item = seg_geometry.macro(seg, group, "SegmentIdentificationSequence", "ReferencedSegmentNumber", optional=True)
    if item is None and len(described) == 1:
        return next(iter(described))
    if item is None or int(item) not in described:
        raise LabelError("a frame of the SEG says not which segment it is of")
    return int(item)


def _inside(seg: Dataset) -> Callable[[NDArray[Any]], NDArray[np.bool_]]:
    if seg.get("SegmentationType") != "FRACTIONAL":
        return lambda pixels: pixels > 0
    most = int(seg.get("MaximumFractionalValue") or 0)
    if most < 1:
        raise LabelError("the SEG is FRACTIONAL and says not what the whole is")
    logger.info(f"{seg.SeriesInstanceUID} is FRACTIONAL: what is at least half of {most} belongs to a segment")
    return partial(_at_least_half, most=most)


def _at_least_half(pixels: NDArray[Any], most: int) -> NDArray[np.bool_]:
    return pixels.astype(np.uint32) * 2 >= most


def _replaces(newer: _Part, older: _Part, grid: Grid) -> bool:
    """Whether an older series' segment is the same object as a newer one's, see the table above."""
    if newer.segment.name != older.segment.name:
        return False
    ids = newer.segment.tracking, older.segment.tracking
    return ids[0] == ids[1] if all(ids) else bool(np.intersect1d(_voxels(newer, grid), _voxels(older, grid)).size)


def _voxels(part: _Part, grid: Grid) -> NDArray[np.int64]:
    """The voxels of a segment, by their numbers in the volume."""
    found = [np.empty(0, np.int64)]
    for piece in part.pieces:
        inside = np.nonzero(piece.voxels)
        first = [each.start for each in piece.box]
        found.append(np.ravel_multi_index([at + low for at, low in zip(inside, first, strict=True)], grid.shape))
    return np.concatenate(found)


def _painted(
    parts: Sequence[_Part], names: Sequence[str], image: sitk.Image, labels: Sequence[Label]
) -> NDArray[np.uint8]:
    values = label_values.by_name(labels, names)
    result = np.zeros(image.GetSize()[::-1], dtype=np.uint8)
    painted = 0
    # The smaller last: what lies in another segment is not lost in it.
    for part, name in sorted(zip(parts, names, strict=True), key=lambda each: -each[0].size):
        for piece in part.pieces:
            result[piece.box][piece.voxels] = values[name]
        painted += part.size
    if overlap := painted - int(np.count_nonzero(result)):
        logger.warning(f"Segments overlap in {overlap} voxels: the smaller one has them")
    for part, name in zip(parts, names, strict=True):
        if part.size and not (result == values[name]).any():
            logger.warning(f"All voxels of segment {part.segment.number} belong to smaller segments as well")
    return result

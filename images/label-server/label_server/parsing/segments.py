"""The segments of a `.seg.nrrd`, as 3D Slicer saves a segmentation: its header has their names, values and layers.

Segments that overlap lie in layers of their own, which ITK reads as components of a voxel.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from label_server.errors import Refused

_FILE = "segments.json"
_MOST = 255
_MOST_BYTES = 2**17
# What 3D Slicer's plugin keeps of a label for itself; if it exports one, it leaves these out.
_LEFT_OUT = ("background", "foreground_scribbles", "background_scribbles")


@dataclass(frozen=True)
class Segment:
    """One entry of the header."""

    name: str
    value: int
    layer: int


def listed(reader: sitk.ImageFileReader) -> list[Segment]:
    """The segments of a file whose header has been read, in its order; none if it is no segmentation.

    Raises:
        Refused: one has no value or layer, or there are too many.

    """
    numbers = list(takewhile(lambda number: reader.HasMetaDataKey(f"Segment{number}_Name"), count()))
    if len(numbers) > _MOST:
        raise Refused(f"it has more than {_MOST} segments")
    return [_segment(reader, f"Segment{number}_") for number in numbers]


def _segment(reader: sitk.ImageFileReader, prefix: str) -> Segment:
    try:
        value, layer = (int(reader.GetMetaData(f"{prefix}{each}")) for each in ("LabelValue", "Layer"))
    except (RuntimeError, ValueError):
        raise Refused("its header does not say the value and the layer of each segment") from None
    return Segment(reader.GetMetaData(f"{prefix}Name"), value, layer)


def flat(image: sitk.Image, segments: Sequence[Segment]) -> sitk.Image:
    """One label map of all layers, in which the value of a segment is its place among those that are kept, from 1 on.

    Raises:
        Refused: a voxel is in two segments, or in none that is listed.

    """
    voxels = sitk.GetArrayViewFromImage(image)
    layers = voxels if image.GetNumberOfComponentsPerPixel() > 1 else voxels[..., np.newaxis]
    result = np.zeros(layers.shape[:3], np.uint8)
    for number in range(layers.shape[3]):
        _all_listed(layers[..., number], [each.value for each in segments if each.layer == number], number)
    kept = _kept(segments)
    for place, each in enumerate(kept, start=1):
        if each.layer not in range(layers.shape[3]):
            raise Refused(f"a segment is said to be in layer {each.layer}, which there is not")
        _add(result, layers[..., each.layer] == each.value, place, kept)
    made = sitk.GetImageFromArray(result)
    made.CopyInformation(image)
    return made


def _all_listed(layer: NDArray[np.generic], values: Sequence[int], number: int) -> None:
    if 0 in values or len(set(values)) < len(values):
        raise Refused(f"two segments have one value in layer {number}, or one has the value 0")
    if missing := set(np.unique(layer).tolist()) - {0, *values}:
        raise Refused(f"layer {number} holds the value {min(missing)}, which no segment has")


def _add(result: NDArray[np.uint8], mask: NDArray[np.bool_], place: int, segments: Sequence[Segment]) -> None:
    taken = result[mask]
    if both := int(np.count_nonzero(taken)):
        other = segments[int(taken.max()) - 1].name
        raise Refused(f"{both} voxels are in {segments[place - 1].name!r} and in {other!r}: segments must not overlap")
    result[mask] = place


def write(segments: Sequence[Segment], folder: Path) -> None:
    """Leave the names of those that are kept, by place, for the process that asked."""
    (folder / _FILE).write_text(json.dumps([each.name for each in _kept(segments)]))


def _kept(segments: Sequence[Segment]) -> list[Segment]:
    return [each for each in segments if each.name not in _LEFT_OUT]


def names(folder: Path) -> list[str]:
    """The names that were left in a folder by a process that a file may have taken over; none if there are none.

    Raises:
        Refused: they are no list of texts.

    """
    file = folder / _FILE
    if not file.exists():
        return []
    if file.is_symlink() or not file.is_file() or file.stat().st_size > _MOST_BYTES:
        raise Refused("the names of its segments cannot be read")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise Refused("the names of its segments cannot be read")
    return found

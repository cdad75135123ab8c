"""What the values of a label map mean: the client's names, and the numbers of the server's list.

Upstream names segments by rank instead of by value (monailabel 0.8.5, datastore/utils/convert.py:94-124).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelpod_common.labels import Label


class LabelError(ValueError):
    """A label map or a DICOM SEG that does not fit its image; the message says how."""


def names_by_value(
    label_info: Sequence[Mapping[str, Any]] | None, labels: Sequence[Label], present: Iterable[int] = ()
) -> dict[int, str]:
    """What a client means by the values of its label map.

    Args:
        label_info: the client's list of `{"name", "idx"}`, or nothing.
        labels: the server's list, which counts if the client says nothing.
        present: the values that the label map holds.

    3D Slicer's plugin, 0.8.5 and later, numbers the voxels by the place of a segment among those that it sends, but
    counts `idx` over all segments, those it leaves out too. Other clients mean the voxels by `idx`. Where both can be
    meant, the one counts that has a name for all voxels.

    Raises:
        LabelError: a value of the label map may mean two names, or two segments have one name.

    """
    entries = list(label_info or [])
    if not any(entry.get("name") for entry in entries):
        return {label.value: label.name for label in labels}
    held = {int(value) for value in present} - {0}
    readings = _readings(entries)
    fitting = [each for each in readings if held <= each.keys()] or readings
    names = fitting[0]
    for other in fitting[1:]:
        for value in sorted(held & names.keys() & other.keys()):
            if names[value] != other[value]:
                raise LabelError(
                    f"the value {value} may be {other[value]!r} by its place in label_info, or {names[value]!r} by its"
                    " idx: remove the segments that are empty or not to be stored, and save again"
                )
    named = [names[value] for value in sorted(held & names.keys())]
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise LabelError(f"two segments are called {twice[0]!r}: give each a name of its own")
    return names


def _readings(entries: Sequence[Mapping[str, Any]]) -> list[dict[int, str]]:
    """What a list can mean: by `idx`, and by the places, if 3D Slicer's plugin can have made it."""
    by_place = {place: str(entry["name"]) for place, entry in enumerate(entries, start=1) if entry.get("name")}
    numbers = [int(entry["idx"]) for entry in entries if "idx" in entry]
    if not numbers:
        return [by_place]
    if len(numbers) < len(entries) or len(set(numbers)) < len(numbers):
        raise LabelError("label_info has an idx twice, or not for each name")
    by_number = {int(entry["idx"]): str(entry["name"]) for entry in entries if entry.get("name")}
    counted_up = numbers[0] > 0 and numbers == sorted(numbers)
    return [by_number, by_place] if counted_up else [by_number]


def renumber(voxels: NDArray[Any], names: Mapping[int, str], labels: Sequence[Label]) -> NDArray[np.uint8]:
    """Give a label map the values of the server's list; names outside the list follow behind it.

    Args:
        voxels: label map of any shape, whole numbers.
        names: the client's names by value; a value without one is refused.
        labels: the server's list.

    Raises:
        LabelError: a value that has no name, or more than 255 values.

    """
    values = by_name(labels, names.values())
    result = np.zeros(voxels.shape, dtype=np.uint8)
    for value in np.unique(voxels):
        if value == 0:
            continue
        name = names.get(int(value))
        if name is None:
            raise LabelError(f"the label map holds the value {value}, which no label has")
        result[voxels == value] = values[name]
    return result


def by_name(labels: Sequence[Label], names: Iterable[str]) -> dict[str, int]:
    """Each label's value; names outside the server's list follow behind it.

    Raises:
        LabelError: they are more than 255.

    """
    values = {label.name: label.value for label in labels}
    for name in names:
        values.setdefault(name, len(values) + 1)
    if len(values) > 255:
        raise LabelError(f"{len(values)} labels are more than 255")
    return values

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

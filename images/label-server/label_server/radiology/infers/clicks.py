"""The clicks of an inference: points of the image, or refused.

Upstream computes with whatever numbers there are (monai 1.5, apps/deepgrow/transforms.py): no click, or one beside the
image, ends in an error of NumPy's.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from label_server.errors import Refused
from label_server.parsing import grid, volumes

_CLICKED = (InferType.DEEPGROW, InferType.DEEPEDIT, InferType.ANNOTATION)
_WAITING = (InferType.DEEPGROW, InferType.ANNOTATION)  # for a click; the others answer without one
_POINTS = ("foreground", "background")
_AXES = ("column", "row", "slice")


def wanted(task: InferTask) -> bool:
    """Whether the model looks at clicks."""
    return task.type in _CLICKED


def complete(task: InferTask, request: Mapping[str, Any], image: Path) -> dict[str, Any]:
    """The request with an empty list for each kind of clicks that it does not name.

    Args:
        task: that is to be run.
        request: to it.
        image: a volume; anything else is left to the model.

    Raises:
        Refused: a click is no point of the image, or there is none and the model waits for one.

    """
    if not image.name.endswith(volumes.SUFFIXES):
        return dict(request)
    size = grid.of_file(image).size
    labels = task.labels if isinstance(task.labels, dict | list) else ()
    clicks = {key: request[key] for key in (*_POINTS, *labels) if isinstance(request.get(key), list)}
    for point in (point for points in clicks.values() for point in points):
        _of_the_image(point, size)
    if isinstance(number := request.get("slice"), int | float) and number >= size[-1]:
        raise Refused(f"slice {number:g} is none of the image's {size[-1]}")
    if task.type in _WAITING and not any(clicks.values()) and not request.get("roi"):
        raise Refused("there is no click: the model needs one in the image")
    return {**dict(request), **{key: [] for key in (*_POINTS, "roi") if request.get(key) is None}}


def _of_the_image(point: Sequence[float], size: Sequence[int]) -> None:
    if len(point) != len(size):
        raise Refused(f"a click has {len(point)} numbers, and not {len(size)}: column, row and slice")
    for axis, where, there in zip(_AXES, point, size, strict=True):
        if not 0 <= where <= there - 1:
            raise Refused(f"a click is outside the image: {axis} {where:g} is not from 0 to {there - 1}")

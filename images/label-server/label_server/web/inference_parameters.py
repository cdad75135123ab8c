"""What a client may say of an inference: a list of parameters with their kinds, and what the model itself offers.

Upstream takes any (monailabel 0.8.5, endpoints/infer.py:187), and hands them to NumPy, to transforms and to its own
next steps: `result_dtype` of `S20000` takes a gigabyte, `pipeline_mode` answers with paths of the server.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from monailabel.interfaces.utils.app import app_instance

from label_server.errors import Refused

_NUMBER = 1_000_000  # of voxels along an axis, or of seconds: more than anybody means
_CLICKS = 10_000
_TEXT = 128
_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")
_EXTENSIONS = (".nii", ".nii.gz", ".nrrd", ".mha")
_LOG_LEVELS = ("ERROR", "WARNING", "INFO", "DEBUG")
_DEVICE = re.compile(r"cpu|cuda(?::[0-9]{1,2})?")

Fits = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _TEXT


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def number(value: Any) -> bool:
    """Whether it is a number that a person could mean; `true` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_NUMBER <= value <= _NUMBER


def _one_of(*values: str) -> Fits:
    return lambda value: value in values


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _CLICKS and all(map(number, value))


def _clicks(value: Any) -> bool:
    """Points, each of a few numbers."""
    return (
        isinstance(value, list)
        and len(value) <= _CLICKS
        and all(isinstance(point, list) and len(point) <= 4 and _numbers(point) for point in value)
    )


def _labels(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 255 and all(isinstance(each, dict) for each in value)


# What 3D Slicer, OHIF and the MONAI Label client send of their own.
_OF_CLIENTS: dict[str, Fits] = {
    "client_id": _text,
    "label": _text,
    "selected_label_name": _text,
    "label_info": _labels,
    "foreground": _clicks,
    "background": _clicks,
    "points": _clicks,
    "point_labels": _numbers,
    "label_prompt": _numbers,
    "roi": lambda value: _numbers(value) and len(value) in (0, 6),
    "slice": number,
    "reset_state": _flag,
    "restore_label_idx": _flag,
    "largest_cc": _flag,
    "result_compress": _flag,
    "result_dtype": _one_of(*_DTYPES),
    "result_extension": _one_of(*_EXTENSIONS),
    "device": lambda value: isinstance(value, str) and _DEVICE.fullmatch(value) is not None,
    "logging": _one_of(*_LOG_LEVELS),
    "save_label": _flag,
    "label_tag": _text,
}
# Of an inference over all images besides, which an admin starts.
_OF_BATCHES: dict[str, Fits] = {
    "multi_gpu": _flag,
    "gpus": lambda value: isinstance(value, str) and re.fullmatch(r"all|[0-9](?:,[0-9])*", value) is not None,
    "max_workers": number,
    "max_batch_size": number,
}


def check(model: str, wanted: Mapping[str, Any], batch: bool = False) -> None:
    """Refuse parameters that the model does not offer, and values of another kind.

    Args:
        model: one of the app's.
        wanted: what the client sends.
        batch: whether it is about all images.

    Raises:
        Refused: with the reason.

    """
    task = app_instance()._infers[model]
    known = _OF_CLIENTS | (_OF_BATCHES if batch else {})
    offered = task.config() if hasattr(task, "config") else {}
    labels = task.labels if isinstance(task.labels, dict | list) else {}
    for key, value in wanted.items():
        if value is None or value == "":  # not chosen
            continue
        if fits := known.get(key) or (_clicks if key in labels else None):
            good = fits(value)
        elif key in offered:
            good = like(offered[key], value)
        else:
            raise Refused("the model has no such parameter")
        if not good:
            raise Refused(f"{key} has a value that the model does not offer")


def like(default: Any, value: Any) -> bool:
    """Whether a value is one that a task's own default stands for."""
    if isinstance(default, list):
        return value in default or value == default
    if isinstance(default, bool):
        return _flag(value)
    if isinstance(default, int | float):
        return number(value)
    return isinstance(default, str) and _text(value)

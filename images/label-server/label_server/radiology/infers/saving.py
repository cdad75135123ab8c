"""What becomes of a model's mask when it is stored: the name of each value, whose it is, and how it was made.

Upstream stores the mask with nothing of this, so that a final one had the names of the server's list by rank: the mask
of `nodule2`, which is 1 as any click's, became `nodule1`.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask

from label_server.datastore.filtered import DatastoreView
from label_server.parsing import volumes

AUTOMATIC, SEMIAUTOMATIC = "AUTOMATIC", "SEMIAUTOMATIC"
_CLICKS = ("foreground", "background")


def described(task: InferTask, request: Mapping[str, Any], mask: Path) -> dict[str, Any]:
    """What a model's mask is, as a label's information says it.

    Args:
        task: the model.
        request: to it; the label that it names is that of a mask of one value.
        mask: its answer.

    """
    names = _names(task)
    asked = request.get("label")
    if isinstance(asked, str) and asked and not Path(asked).is_absolute() and len(held := _values(mask)) < 2:
        names = {asked: held[0] if held else 1}
    clicks = [key for key in (*_CLICKS, *names) if request.get(key)]
    return {
        "label_info": [{"name": name, "idx": value} for name, value in names.items() if value],
        "algorithm": SEMIAUTOMATIC if clicks else AUTOMATIC,
        "client_id": request.get("client_id"),
    }


class Saving(DatastoreView):
    """The datastore, as an inference stores its mask in it.

    Args:
        datastore: the one behind it.
        task: the model.
        request: to it.

    """

    def __init__(self, datastore: Datastore, task: InferTask, request: Mapping[str, Any]) -> None:
        super().__init__(datastore)
        self._task = task
        self._request = request

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Store a mask, with the value that the model's list has for the label that was asked for."""
        mask = Path(label_filename)
        if not mask.name.endswith(volumes.SUFFIXES):  # boxes, or classes
            return str(self._datastore.save_label(image_id, label_filename, label_tag, label_info))
        info = label_info | described(self._task, self._request, mask)
        listed = _names(self._task)
        with tempfile.TemporaryDirectory() as folder:
            if len(info["label_info"]) == 1 and (value := listed.get(info["label_info"][0]["name"])):
                mask = _as_value(mask, value, Path(folder, f"mask{_suffix(mask)}"))
                info["label_info"][0]["idx"] = value
            return str(self._datastore.save_label(image_id, str(mask), label_tag, info))


def _names(task: InferTask) -> dict[str, int]:
    """The model's labels and their values."""
    labels = task.labels or {}
    named = labels if isinstance(labels, dict) else {name: place for place, name in enumerate(labels, start=1)}
    return {str(name): int(value) for name, value in named.items()}


def _values(mask: Path) -> list[int]:
    return [int(value) for value in np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(mask)))) if value]


def _as_value(mask: Path, value: int, path: Path) -> Path:
    read = sitk.ReadImage(str(mask))
    made = sitk.GetImageFromArray((sitk.GetArrayViewFromImage(read) > 0) * np.uint8(value))
    made.CopyInformation(read)
    sitk.WriteImage(made, str(path), useCompression=True)
    return path


def _suffix(mask: Path) -> str:
    return next(suffix for suffix in (".nii.gz", *volumes.SUFFIXES) if mask.name.endswith(suffix))

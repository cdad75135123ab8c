"""DeepGrow's clicks: an image that was clicked on before is not read again, and a mask is one of bytes.

Upstream reads the image and brings it to 1 mm at each click (monailabel 0.8.5,
sample-apps/radiology/lib/infers/deepgrow.py:69-73), and turns, writes and sends masks of 8 bytes a voxel: for a CT of
300 slices nine tenths of a 2D click's time, where the network takes a twentieth. DeepGrow does not read its setting
`cache_transforms`.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from lib.infers import Deepgrow  # the radiology sample app's
from monai.transforms import AsChannelLastd, Spacingd
from monailabel.tasks.infer.basic_infer import BasicInferTask
from monailabel.utils.others.generic import file_ext

from label_server.radiology.infers import nifti_io

Data = dict[str, Any]
Transform = Callable[[Data], Data]
_Key = tuple[str, int]

_MOST_KEPT = 3  # volumes, of 300 MB each where the CT has 300 slices of 512 x 512 and pixels of 1 mm


class _Volume:
    """Made when it is first asked for; others who ask meanwhile wait for it."""

    def __init__(self, make: Callable[[], Data]) -> None:
        self._make = make
        self._made: Data | None = None
        self._lock = threading.Lock()

    def get(self) -> Data:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


class Volumes:
    """The images that were clicked on last, as the networks take them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_Key, _Volume] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: _Key, make: Callable[[], Data]) -> Data:
        """A copy of what is made once: the transforms after it may change what they are given."""
        with self._lock:
            volume = self._kept.setdefault(key, _Volume(make))
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return deepcopy(volume.get())

    def forget(self, path: str) -> None:
        """The image is gone."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == path]:
                del self._kept[key]


_VOLUMES = Volumes()


class PreparedVolume:
    """The transforms that every click on an image begins with, whatever the click and the network's dimensions.

    Args:
        read: from the file's path to its voxels, slices x columns x rows.
        scale: to slices whose pixels are 1 mm wide.

    """

    def __init__(self, read: Sequence[Transform], scale: Transform) -> None:
        self._read = read
        self._scale = scale

    def __call__(self, data: Data) -> Data:
        """Put the volume in the place of `data["image"]`, its path."""
        path = data["image"]
        key = (path, Path(path).stat().st_mtime_ns)
        return data | _VOLUMES.get(key, lambda: self._made({"image": path}))

    def _made(self, data: Data) -> Data:
        for transform in [nifti_io.load] if data["image"].endswith(".nii.gz") else self._read:
            data = transform(data)
        return self._scale(data)


class InImageAxes:
    """A change of spacing along an image's own rows and columns, however these lie in the patient.

    Upstream takes the first two of the patient's axes for them, and fails where a slice does not lie in both: in every
    sagittal and coronal series (monailabel 0.8.5, sample-apps/radiology/lib/infers/deepgrow.py:72).

    Args:
        scale: upstream's.

    """

    def __init__(self, scale: Transform) -> None:
        self._scale = scale

    def __call__(self, data: Data) -> Data:
        """Scale `data["image"]`: slices x columns x rows."""
        image = data["image"]
        spacing = np.linalg.norm(np.asarray(image.affine)[:3, :3], axis=0)
        image.affine = np.diag([*spacing, 1.0])
        return self._scale(data)


class QuickClicks(BasicInferTask):
    """In front of an upstream model: clicks as quick as its network allows."""

    def prepare(self, path: str) -> None:
        """Make an image ready for its first click."""
        prepared, *_ = self.pre_transforms({})
        prepared({"image": path})

    def forget(self, path: str) -> None:
        """Keep nothing of an image that is gone."""
        _VOLUMES.forget(path)

    def pre_transforms(self, data: Data | None = None) -> Sequence[Transform]:
        """Upstream's; the first of them, up to the volume of 1 mm, as one."""
        transforms = list(super().pre_transforms(data))
        scale = next(number for number, each in enumerate(transforms) if isinstance(each, Spacingd))
        return [PreparedVolume(transforms[:scale], InImageAxes(transforms[scale])), *transforms[scale + 1 :]]

    def post_transforms(self, data: Data | None = None) -> Sequence[Transform]:
        """Upstream's; as soon as the mask lies on the image's grid, it is one of bytes."""
        transforms = super().post_transforms(data)
        return [_as_bytes if isinstance(each, AsChannelLastd) else each for each in transforms]

    def writer(self, data: Data, extension: str | None = None, dtype: Any = None) -> tuple[Any, Any]:
        """Upstream's answer, its file written without ITK."""
        mask, answer = super().writer(data | {"result_write_to_file": False}, extension, dtype)
        mask, affine = np.asarray(mask), np.asarray(data["pred_meta_dict"]["affine"])
        suffix = data.get("result_extension") or file_ext(data["image_path"])
        wanted = data.get("result_dtype") or mask.dtype
        return str(nifti_io.write_mask(mask.astype(wanted), affine, suffix, data.get("result_compress", False))), answer


def _as_bytes(data: Data) -> Data:
    """The mask from slices x columns x rows to columns x rows x slices, where it lies."""
    return data | {"pred": np.moveaxis(np.asarray(data["pred"]).astype(np.uint8), 0, -1)}


class QuickDeepgrow(QuickClicks, Deepgrow):
    """DeepGrow in 2D and in 3D."""

"""DeepGrow's clicks: an image that was clicked on before is not read again.

Upstream reads the image and brings it to 1 mm at each click (monailabel 0.8.5,
sample-apps/radiology/lib/infers/deepgrow.py:69-73): for a CT of 300 slices half of a 2D click's time, where the network
takes a twentieth. DeepGrow does not read its setting `cache_transforms`.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from lib.infers import Deepgrow  # the radiology sample app's
from monai.transforms import Spacingd
from monailabel.tasks.infer.basic_infer import BasicInferTask

Data = dict[str, Any]
Transform = Callable[[Data], Data]
_Key = tuple[str, int, int]

_MOST_KEPT = 3  # volumes, of 300 MB each where the CT has 300 slices of 512 x 512 and pixels of 1 mm


class Volumes:
    """The images that were clicked on last, as the networks take them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_Key, Data] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: _Key, make: Callable[[], Data]) -> Data:
        """A copy of what was made once: the transforms after it may change what they are given."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = make()
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
            return deepcopy(self._kept[key])


_VOLUMES = Volumes()


class PreparedVolume:
    """The transforms that every click on an image begins with, whatever the click.

    Args:
        transforms: from the file's path to a volume of 1 mm.
        dimension: of the network.

    """

    def __init__(self, transforms: Sequence[Transform], dimension: int) -> None:
        self._transforms = transforms
        self._dimension = dimension

    def __call__(self, data: Data) -> Data:
        """Put the volume in the place of `data["image"]`, its path."""
        path = data["image"]
        key = (path, Path(path).stat().st_mtime_ns, self._dimension)
        return data | _VOLUMES.get(key, lambda: self._made({"image": path}))

    def _made(self, data: Data) -> Data:
        for transform in self._transforms:
            data = transform(data)
        return data


class QuickClicks(BasicInferTask):
    """In front of an upstream model: clicks as quick as its network allows."""

    def pre_transforms(self, data: Data | None = None) -> Sequence[Transform]:
        """Upstream's, those up to the volume of 1 mm as one."""
        transforms = list(super().pre_transforms(data))
        first = next(number for number, each in enumerate(transforms, start=1) if isinstance(each, Spacingd))
        return [PreparedVolume(transforms[:first], self.dimension), *transforms[first:]]


class QuickDeepgrow(QuickClicks, Deepgrow):
    """DeepGrow in 2D and in 3D."""

"""Images of the DICOMweb server that were loaded into 3D Slicer from elsewhere, and what they are called there.

The MONAI Label plugin knows nothing of where a volume came from. It uploads the volume under the name that it has in
Slicer before it saves a label, and then asks for that name (MONAILabel.py: onSaveLabel, onUploadImage). A volume that
is voxel by voxel one of the server's is that image from then on, for the user who uploaded it.
"""

import json
import logging
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from label_server import users
from label_server.parsing import grid
from labelpod_common import atomic_file

logger = logging.getLogger(__name__)

_MOST_NAMES = 1000  # of all users
_MOST_IMAGES = 20  # of one name
_one_at_a_time = threading.Lock()  # volumes are compared: each takes the memory of several


class OpenedImages:
    """Which images a user means by a name, the newest first; Slicer calls many alike.

    Args:
        file: that keeps them while the server restarts.

    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._images = _read(file)

    def add(self, name: str, image_id: str) -> None:
        """The user who asks has opened an image under a name, or goes on with it."""
        key = _key(name)
        with self._lock:
            images = [image_id, *(each for each in self._images.pop(key, []) if each != image_id)]
            self._images[key] = images[:_MOST_IMAGES]
            while len(self._images) > _MOST_NAMES:
                del self._images[next(iter(self._images))]
            atomic_file.write(self._file, json.dumps(self._images).encode(), 0o600)

    def of(self, name: str) -> list[str]:
        """What the user who asks has opened under a name, the newest first."""
        return list(self._images.get(_key(name), []))


def _key(name: str) -> str:
    return f"{users.current.get().name}/{name}"


def _read(file: Path) -> dict[str, list[str]]:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        return {str(key): [str(uid) for uid in images] for key, images in read.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        logger.warning(f"{file.name} cannot be read: {type(error).__name__}")
        return {}


def may_be(uploaded: Path, size: Iterable[int], position: Iterable[float]) -> bool:
    """Whether a volume may be the image that has so many rows, columns and slices, one of which begins there (mm)."""
    volume = grid.of_file(uploaded)
    if sorted(size) != sorted(volume.size):
        return False
    index = volume.image().TransformPhysicalPointToContinuousIndex([float(each) for each in position])
    return all(-0.5 <= at <= extent - 0.5 for at, extent in zip(index, volume.size, strict=True))


def same(uploaded: Path, stored: Path) -> bool:
    """Whether two volumes are the same, voxel by voxel and in the same place, whichever way their axes run."""
    if not same_grid(uploaded, stored):
        return False
    with _one_at_a_time:
        first, second = (sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS") for path in (uploaded, stored))
        return bool(np.array_equal(sitk.GetArrayViewFromImage(first), sitk.GetArrayViewFromImage(second)))


def same_grid(label: Path, image: Path) -> bool:
    """Whether a label map, or another image, lies on an image's grid, whichever way its axes run."""
    first, second = (sitk.DICOMOrient(grid.of_file(path).image(), "LPS") for path in (label, image))
    alike = first.GetSize() == second.GetSize()
    return alike and bool(np.abs(_corners(first) - _corners(second)).max() <= 0.05 * min(second.GetSpacing()))


def _corners(image: sitk.Image) -> NDArray[np.float64]:
    """Where its first voxel lies, and the last one along each axis; 4 x 3, in mm."""
    last = [size - 1 for size in image.GetSize()]
    indices = [(0, 0, 0), (last[0], 0, 0), (0, last[1], 0), (0, 0, last[2])]
    return np.array([image.TransformIndexToPhysicalPoint(index) for index in indices])

"""Small CTs in the archive, and labels of them to compare."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from labelpod.dicom import phantom
from tests.clients.session import image_of
from tests.support.pacs import Pacs

# Another CT for each test: the label server may know for some seconds what it had of one that is gone.
SEEDS = itertools.count(100)


class Case:
    """A small synthetic CT in the archive: its study, its series, its instances and its image.

    Args:
        pacs: the archive.
        folder: for its files.
        slices: how many it has.
        turned: the directions of its rows and columns: the whole phantom is turned.
        remove: takes files of it away before they are sent.
        headers: keywords that are set in each; turned round, its instances are numbered from the far end.

    """

    def __init__(
        self,
        pacs: Pacs,
        folder: Path,
        slices: int = 24,
        turned: tuple[float, ...] = (),
        remove: Callable[[Path], None] = lambda folder: None,
        **headers: object,
    ) -> None:
        self.instances: list[str] = []
        phantom.write(folder, slices=slices, size=64, seed=next(SEEDS))
        for number, file in enumerate(sorted(folder.glob("*.dcm"))):
            header = pydicom.dcmread(file)
            for keyword, value in headers.items():
                setattr(header, keyword, value)
            if "ImageOrientationPatient" in headers:
                header.InstanceNumber = slices - number
            if turned:
                header.ImageOrientationPatient = list(turned)
                header.ImagePositionPatient = _placed(turned, header.ImagePositionPatient)
            header.save_as(file)
            self.study = str(header.StudyInstanceUID)
            self.instances.append(str(header.SOPInstanceUID))
        remove(folder)
        pacs.store(folder)
        self.uid, self.image = image_of(folder)

    def empty(self) -> NDArray[np.uint8]:
        """A label map of it: (slices, rows, columns)."""
        return np.zeros(self.image.GetSize()[::-1], dtype=np.uint8)


def _placed(turned: tuple[float, ...], position: list[float]) -> list[float]:
    """Where a place of the phantom (mm) comes to lie when it is turned."""
    rows, columns = np.reshape(turned, (2, 3))
    place = np.column_stack([rows, columns, np.cross(rows, columns)]) @ np.array(position, dtype=float)
    return [round(float(each), 6) for each in place]


def same(ours: dict[str, NDArray[np.bool_]], theirs: dict[str, NDArray[np.bool_]]) -> bool:
    """Whether two labels, name -> mask, are the same voxel by voxel."""
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)

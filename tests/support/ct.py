"""Small CT series; the only place in the tests' support that knows where the phantom is made."""

import io
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pydicom
from pydicom import Dataset

from labelpod.dicom import phantom

SLICES, SIZE = 6, 24


@dataclass(frozen=True)
class Ct:
    """A series: its UIDs and its DICOM files, from the feet to the head."""

    uid: str
    study_uid: str
    files: tuple[bytes, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.files), SIZE, SIZE


@cache
def ct(seed: int = 1, slices: int = SLICES) -> Ct:
    """The same series for the same arguments; each seed is another study of the same patient."""
    with tempfile.TemporaryDirectory() as folder:
        files = tuple(path.read_bytes() for path in phantom.write(Path(folder), slices=slices, size=SIZE, seed=seed))
    header = read(files[0])
    return Ct(str(header.SeriesInstanceUID), str(header.StudyInstanceUID), files)


def read(content: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(content))


def written(dataset: Dataset) -> bytes:
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue()

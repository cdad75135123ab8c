"""Studies to measure with: all made here, none of a patient."""

import io
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.uid import generate_uid

from bench.stand import Side, Stand
from labelpod.dicom import phantom
from tests.support.pacs import Pacs

_CONNECTIONS = 4
_SLICES = 3  # fewer are offered to nobody


def ct(folder: Path, slices: int, size: int, seed: int = 7) -> str:
    """Write a CT series; its UID. Another seed makes another study."""
    files = phantom.write(folder, slices, size, seed)
    return str(pydicom.dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID)


def labelled(stand: Stand, folder: Path, number: int, have: int) -> None:
    """Fill Orthanc up to so many labelled studies of a few pixels each, from the `have` that it has."""
    images = [pydicom.dcmread(file) for file in phantom.write(folder, _SLICES, 16)]
    seg = _seg(stand, folder)
    studies = (_study(images, each, seg) for each in range(have, number))
    store(stand.pacs, (as_bytes(instance) for study in studies for instance in study))


def unlabelled(pacs: Pacs, folder: Path, number: int, slices: int, size: int) -> None:
    """Store so many studies that nobody has labelled."""
    images = [pydicom.dcmread(file) for file in phantom.write(folder, slices, size)]
    store(pacs, (as_bytes(instance) for each in range(number) for instance in _study(images, each)))


def _seg(stand: Stand, folder: Path) -> Dataset:
    """A DICOM SEG as our label server writes it."""
    kept = folder / "seg.dcm"
    if not kept.exists():
        uid = ct(folder / "one", _SLICES, 16, seed=1)
        stand.pacs.store(folder / "one")
        submit(stand.ours, uid)
        (seg,) = stand.pacs.segmentations(uid)
        seg.save_as(kept, enforce_file_format=True)
        stand.pacs.delete_everything()
    return pydicom.dcmread(kept)


def submit(side: Side, uid: str) -> None:
    """Label an image: one voxel of nodule1."""
    image = side.annotator.image(uid)
    voxels = np.zeros(image.GetSize()[::-1], np.uint8)
    voxels[0, 3, 3] = 1
    side.annotator.submit(uid, image, voxels)


def _study(images: Sequence[Dataset], number: int, seg: Dataset | None = None) -> Iterator[Dataset]:
    def uid(what: str) -> str:
        return generate_uid(entropy_srcs=["labelpod bench", str(number), what])

    for place, instance in enumerate((*images, seg) if seg else images):
        what = "seg" if instance is seg else "image"
        instance.PatientID = f"BENCH-{number}"
        instance.StudyInstanceUID = uid("study")
        instance.SeriesInstanceUID = uid(f"{what} series")
        instance.SOPInstanceUID = instance.file_meta.MediaStorageSOPInstanceUID = uid(f"{what} {place}")
        if what == "seg":
            (reference,) = instance.ReferencedSeriesSequence
            reference.SeriesInstanceUID = uid("image series")
        yield instance


def as_bytes(instance: Dataset) -> bytes:
    """The instance as a file."""
    file = io.BytesIO()
    instance.save_as(file, enforce_file_format=True)
    return file.getvalue()


def store(pacs: Pacs, files: Iterable[bytes]) -> None:
    """Send files over several connections; no more than a few of them are held at once."""
    room = threading.Semaphore(64)

    def send(content: bytes) -> None:
        try:
            pacs.session.post(f"{pacs.url}/instances", data=content, timeout=60).raise_for_status()
        finally:
            room.release()

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        sent = []
        for content in files:
            room.acquire()
            sent.append(pool.submit(send, content))
        for each in sent:
            each.result()

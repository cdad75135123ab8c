"""Any geometry, any label list, any mask: what is painted is what is read back, or the image is refused before.

Needs no engine, but half a minute. `EXAMPLES=5000 .venv/bin/python -m pytest tests/stack/test_any_image.py` tries more.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset

from label_server.datastore import pacs_images
from tests.support import app, dicomweb, web
from tests.support.ct import ct, read, written
from tests.support.dicomweb import Pacs
from tests.support.web import Server

NAMES = ("nodule1", "nodule2", "nodule3")
_PLANES = [
    np.diag([1.0, 1, 1]),
    np.diag([-1.0, -1, 1]),
    np.diag([1.0, -1, -1]),
    np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]]),
    np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
]


@dataclass(frozen=True)
class Scan:
    """A series as some scanner may write it, and what is painted on it, slice by slice in the order of the files."""

    files: list[bytes]
    uid: str
    values: NDArray[np.int64]
    painted: NDArray[np.uint8]


def _rotation(angles: tuple[float, float, float]) -> NDArray[np.float64]:
    made = np.eye(3)
    for axis, angle in enumerate(np.radians(angles)):
        turn = np.eye(3)
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn[[first, second], [first, second]] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        made = made @ turn
    return made


@st.composite
def scans(draw: st.DrawFn) -> Scan:
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    angles = draw(st.one_of(st.just((0.0, 0.0, 0.0)), st.tuples(*[st.floats(-40, 40)] * 3)))
    axes = np.array(draw(st.sampled_from(_PLANES))) @ _rotation(angles)
    slices, rows, columns = draw(st.integers(3, 7)), draw(st.integers(4, 14)), draw(st.integers(4, 14))
    thickness, across, down = (draw(st.floats(0.3, 6)) for _ in range(3))
    axes_digits, place_digits = draw(st.sampled_from([6, 16])), draw(st.sampled_from([1, 2, 3, 10]))
    origin = random.uniform(-300, 300, 3)
    intercept = draw(st.sampled_from([-1024, 0, -1000]))
    signed = draw(st.booleans())
    stored = random.integers(-1000 if signed else 0, 3000, (slices, rows, columns))
    painted = np.zeros((slices, rows, columns), np.uint8)
    for value in draw(st.sets(st.integers(1, 3))):
        painted[random.random(painted.shape) < draw(st.sampled_from([0.01, 0.2, 0.9]))] = value
    uid, study = (f"2.25.{random.integers(2**60)}" for _ in range(2))
    files = []
    for number in random.permutation(slices):
        place = origin + number * thickness * np.cross(axes[0], axes[1])
        slice_ = read(ct().files[0])
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID = study, uid
        slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{number + 1}"
        slice_.InstanceNumber = int(random.integers(1, 99))
        slice_.ImageOrientationPatient = [_ds(each, axes_digits) for each in axes[:2].ravel()]
        slice_.ImagePositionPatient = [_ds(each, place_digits) for each in place]
        slice_.PixelSpacing = [_ds(down, 6), _ds(across, 6)]
        slice_.Rows, slice_.Columns = rows, columns
        slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 16, 15, int(signed)
        slice_.RescaleSlope, slice_.RescaleIntercept = 1, intercept
        slice_.PixelData = stored[number].astype("<i2" if signed else "<u2").tobytes()
        files.append(written(slice_))
    return Scan(files, uid, stored + intercept, painted)


def _ds(value: float, digits: int) -> str:
    """As a scanner writes a decimal: sixteen characters at most."""
    return f"{value:.{digits}f}"[:16]


@pytest.fixture(scope="module")
def pacs() -> Iterator[Pacs]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("no_proxy", "127.0.0.1")
        yield from dicomweb.serve()


@pytest.fixture(scope="module")
def server(pacs: Pacs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("any")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pacs_images, "SERIES_QUIET_SECONDS", 0)
        app.load(folder, pacs.url, patch)
        with web.running(web.users(folder)) as running:
            yield running


@settings(
    max_examples=int(os.environ.get("EXAMPLES", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(scans())
def test_what_is_painted_is_what_is_read_back(server: Server, pacs: Pacs, scan: Scan):
    pacs.series.clear()
    for content in scan.files:
        pacs.take(content)
    answer = server.ask("GET", f"/datastore/image?image={scan.uid}", "anna")
    if answer.status_code == 400:  # positions rounded beyond what the distance of slices bears
        assert any(code in answer.text for code in ("irregular-spacing", "gantry-tilt", "missing-slices")), answer.text
        return
    assert answer.status_code == 200, answer.text
    image = web.nifti(answer.content)
    order = [_slice_of(image, content) for content in scan.files]
    assert sorted(order) == list(range(len(order)))
    painted, values = np.zeros_like(scan.painted), np.zeros(scan.painted.shape)
    for place, content in zip(order, scan.files, strict=True):
        number = int(str(read(content).SOPInstanceUID).rpartition(".")[2]) - 1
        painted[place], values[place] = scan.painted[number], scan.values[number]
    assert np.array_equal(sitk.GetArrayFromImage(image), values)
    answer = server.submit(scan.uid, painted)
    assert answer.status_code == 200, answer.text
    assert np.array_equal(server.label(scan.uid), painted)
    (stored,) = pacs.segmentations(scan.uid)
    for number, voxels in _by_source(stored).items():
        assert np.array_equal(voxels, scan.painted[number]), number


def _slice_of(image: sitk.Image, content: bytes) -> int:
    index = image.TransformPhysicalPointToContinuousIndex([float(each) for each in read(content).ImagePositionPatient])
    return round(index[2])


def _by_source(stored: Dataset) -> dict[int, NDArray[Any]]:
    """Each slice of a SEG as highdicom reads it, by the number of the slice that it names; values as painted."""
    seg = hd.seg.Segmentation.from_dataset(stored)
    names = {number: seg.get_segment_description(number).SegmentLabel for number in seg.segment_numbers}
    values = {number: NAMES.index(name) + 1 for number, name in names.items()}
    sources = [instance for _, _, instance in seg.get_source_image_uids()]
    voxels = seg.get_pixels_by_source_instance(sources, combine_segments=True, ignore_spatial_locations=True)
    painted = np.zeros_like(voxels)
    for number, value in values.items():
        painted[voxels == number] = value
    return {int(uid.rpartition(".")[2]) - 1: each for uid, each in zip(sources, painted, strict=True)}

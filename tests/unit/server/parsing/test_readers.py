"""A client's image or label, read by a process of its own: what comes out, and what is refused before it costs much."""

import gzip
import os
import resource
import signal
import struct
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from label_server.errors import Refused
from label_server.parsing import grid, readers
from tests.support.attacks import bomb, deflated
from tests.support.ct import ct
from tests.unit.server.parsing.test_archives import zipped

SHAPE = (5, 6, 7)
FORMATS = ["x.nii", "x.nii.gz", "x.nrrd", "x.mha", "X.NII.GZ"]


def volume(values: NDArray, spacing: tuple[float, ...] = (0.7, 0.7, 2.5)) -> sitk.Image:
    made = sitk.GetImageFromArray(values)
    made.SetSpacing(spacing)
    made.SetOrigin((-100.0, 20.0, 300.0))
    return made


def image() -> sitk.Image:
    return volume(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) - 50)


def written(made: sitk.Image, file: Path) -> Path:
    suffix = file.name.lower().removeprefix("x")
    sitk.WriteImage(made, str(file.with_name("draft" + suffix)), useCompression=True)
    return file.with_name("draft" + suffix).rename(file)


def corners(image: sitk.Image) -> NDArray[np.float64]:
    """Where its first voxel lies, and the last one along each axis; 4 x 3, in mm."""
    last = [size - 1 for size in image.GetSize()]
    indices = [(0, 0, 0), (last[0], 0, 0), (0, last[1], 0), (0, 0, last[2])]
    return np.array([image.TransformIndexToPhysicalPoint(index) for index in indices])


@pytest.mark.parametrize("name", FORMATS)
def test_an_image_comes_out_as_it_went_in(tmp_path: Path, name: str):
    written(image(), tmp_path / name)
    found = sitk.ReadImage(str(readers.image(tmp_path, [name])))
    assert np.array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(image()))
    assert np.allclose(corners(found), corners(image()), atol=1e-4)


def test_a_slice_and_a_volume_of_four_dimensions_become_three(tmp_path: Path):
    (tmp_path / "slice").write_bytes(ct().files[0])
    assert sitk.ReadImage(str(readers.image(tmp_path, ["slice"]))).GetDimension() == 3
    written(sitk.JoinSeries([image()]), tmp_path / "x.nii.gz")
    assert sitk.ReadImage(str(readers.image(tmp_path, ["x.nii.gz"]))).GetSize() == SHAPE[::-1]


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int64, np.float32, np.float64])
def test_a_label_comes_out_in_as_few_bits_as_it_takes(tmp_path: Path, kind: type):
    values = np.zeros(SHAPE, kind)
    values[1:3, 2:4, 3:5] = 3
    written(volume(values), tmp_path / "x.nii.gz")
    found = sitk.ReadImage(str(readers.label(tmp_path, "x.nii.gz", of(image()))))
    assert found.GetPixelID() == sitk.sitkUInt8 and np.array_equal(sitk.GetArrayFromImage(found), values)


def test_a_label_on_another_grid_is_put_on_that_of_its_image(tmp_path: Path):
    fine = volume(np.ones((10, 12, 14), np.uint8), (0.35, 0.35, 1.25))
    written(fine, tmp_path / "x.nrrd")
    found = sitk.ReadImage(str(readers.label(tmp_path, "x.nrrd", of(image()))))
    assert found.GetSize() == SHAPE[::-1] and sitk.GetArrayFromImage(found)[1:-1, 1:-1, 1:-1].all()


def of(made: sitk.Image) -> grid.Grid:
    return grid.Grid(made.GetSize(), made.GetSpacing(), made.GetOrigin(), made.GetDirection())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full(SHAPE, 0.5), "whole numbers"),
        (np.full(SHAPE, np.nan), "whole numbers"),
        (np.full(SHAPE, 2.0**40), "too large"),
        (np.zeros((2, *SHAPE)), "4 dimensions"),
    ],
    ids=str.split("fraction nan large four"),
)
def test_a_label_of_other_values_is_refused(tmp_path: Path, values: NDArray, reason: str):
    made = sitk.JoinSeries([volume(each) for each in values]) if values.ndim > 3 else volume(values)
    written(made, tmp_path / "x.nrrd")
    with pytest.raises(Refused, match=reason):
        readers.label(tmp_path, "x.nrrd", of(image()))


def test_voxels_that_are_no_plain_numbers_are_refused(tmp_path: Path):
    color = sitk.GetImageFromArray(np.zeros((*SHAPE, 3), np.uint8), isVector=True)
    complex_ = sitk.RealAndImaginaryToComplex(
        sitk.Image(3, 3, 3, sitk.sitkFloat32), sitk.Image(3, 3, 3, sitk.sitkFloat32)
    )
    for made in (color, complex_):
        written(made, tmp_path / "x.nrrd")
        with pytest.raises(Refused, match="plain numbers"):
            readers.image(tmp_path, ["x.nrrd"])


# --- what a small file claims ---


def nifti_bomb(extent: int = 2000) -> bytes:
    """Some KB that say they are a volume of 2000 x 2000 x 2000; with its voxels it would be as small."""
    header = bytearray(348)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, extent, extent, extent, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352)
    header[344:348] = b"n+1\0"
    return gzip.compress(bytes(header) + bytes(2**22), mtime=0)


NRRD_BOMB = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2000 2000 2000\nencoding: gzip\n\n" + gzip.compress(
    b"", mtime=0
)
META_BOMB = (
    b"ObjectType = Image\nNDims = 3\nDimSize = 2000 2000 2000\nElementType = MET_UCHAR\n"
    b"CompressedData = True\nElementDataFile = LOCAL\nx"
)


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.nii.gz", nifti_bomb()), ("x.nrrd", NRRD_BOMB), ("x.mha", META_BOMB)],
    ids=["nifti", "nrrd", "meta image"],
)
def test_a_volume_that_is_too_large_is_refused_by_its_header(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    started = time.monotonic()
    for read in (lambda: readers.image(tmp_path, [name]), lambda: readers.label(tmp_path, name, of(image()))):
        with pytest.raises(Refused, match="take more than"):
            read()
    assert time.monotonic() - started < 2


def test_a_label_may_be_finer_than_its_image_and_not_of_any_size(tmp_path: Path):
    (tmp_path / "x.nii.gz").write_bytes(nifti_bomb(500))
    with pytest.raises(Refused, match="take more than 64 MB"):
        readers.label(tmp_path, "x.nii.gz", of(image()))


def test_a_file_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "x.dcm").write_bytes(deflated(ct().files[0], 400))
    monkeypatch.setattr(readers, "_SECONDS", 0)
    started = time.monotonic()
    with pytest.raises(Refused, match="not read within 0 seconds"):
        readers.image(tmp_path, ["x.dcm"])
    assert time.monotonic() - started < 1


def test_a_file_that_takes_too_much_memory_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written(volume(np.zeros((400, 400, 400), np.uint8)), tmp_path / "x.nii.gz")
    monkeypatch.setattr(readers, "_MEMORY", 2**26)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Refused, match="no image that can be read"):
        readers.image(tmp_path, ["x.nii.gz"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_cut_off_anywhere_is_refused_or_read(tmp_path: Path, name: str):
    whole = written(image(), tmp_path / name).read_bytes()
    for length in range(0, len(whole) - 1, max(1, len(whole) // 12)):
        (tmp_path / name).write_bytes(whole[:length])
        try:
            readers.image(tmp_path, [name])
        except Refused as refused:
            assert "image that can be read" in str(refused) or "plain numbers" in str(refused)


# --- what the rest of the server must not be given ---


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.nrrd", b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 2\nencoding: raw\ndata file: other\n\n"),
        ("x.mha", b"NDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = other\n"),
    ],
    ids=["nrrd", "meta image"],
)
def test_a_header_of_another_file_is_refused_in_an_archive_too(tmp_path: Path, name: str, content: bytes):
    """The sandbox would not let another file be read; where a kernel has no Landlock, this alone is in the way."""
    (tmp_path / "x.zip").write_bytes(zipped({name: content, "other": b"12345678"}))
    with pytest.raises(Refused, match="in another file"):
        readers.image(tmp_path, ["x.zip"])


@pytest.mark.parametrize(
    "spacing", [(1e3, 1e3, 1.0), (1e300, 1.0, 1.0), (1e-300, 1.0, 1.0), (1e-5, 1e-5, 1e-5), (500.0, 500.0, 1e-3)]
)
def test_an_image_that_would_fill_the_memory_at_one_millimetre_is_refused(tmp_path: Path, spacing: tuple[float, ...]):
    """Networks take images at 1 mm: a file of some KB would become one of many GB."""
    written(volume(np.zeros((400, 400, 400), np.uint8), spacing), tmp_path / "x.mha")
    with pytest.raises(Refused, match="lies"):
        readers.image(tmp_path, ["x.mha"])


def test_an_image_that_lies_out_of_this_world_is_refused(tmp_path: Path):
    far = image()
    far.SetOrigin((1e30, 0, 0))
    written(far, tmp_path / "x.nrrd")
    with pytest.raises(Refused, match="lies"):
        readers.image(tmp_path, ["x.nrrd"])


def test_a_header_that_takes_long_is_given_up_at_once(tmp_path: Path):
    """MetaIO counts to whatever number of dimensions it is told, for minutes; it may for three seconds."""
    (tmp_path / "x.mha").write_bytes(META_BOMB.replace(b"NDims = 3", b"NDims = 9999999999996"))
    started = time.monotonic()
    with pytest.raises(Refused, match="no image that can be read"):
        readers.image(tmp_path, ["x.mha"])
    assert time.monotonic() - started < 50  # it was given up after 60; this machine may be busy


def test_an_archive_of_zeros_is_given_up_at_once(tmp_path: Path):
    """Each eight of them are an element of DICOM, and pydicom takes a minute for all."""
    (tmp_path / "x.zip").write_bytes(bomb(100))
    started = time.monotonic()
    with pytest.raises(Refused, match="can be read"):
        readers.image(tmp_path, ["x.zip"])
    assert time.monotonic() - started < 15


def processes() -> list[str]:
    """The readers of this process."""
    found = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-f", "label_server.parsing"], capture_output=True, text=True, check=True
    )
    return found.stdout.split()


def test_a_reader_that_was_ended_is_started_again(tmp_path: Path):
    readers.warm()
    assert len(processes()) == 2
    for process in processes():
        os.kill(int(process), signal.SIGKILL)
    written(image(), tmp_path / "x.nii.gz")
    for _ in range(3):
        readers.image(tmp_path, ["x.nii.gz"])


def test_the_readers_know_no_secret_of_the_servers(monkeypatch: pytest.MonkeyPatch):
    readers.warm()
    for process in processes():
        kept = {b"MALLOC_ARENA_MAX", b"OPENBLAS_NUM_THREADS", b"PYTHONDONTWRITEBYTECODE", b"PATH", b"PYTHONPATH"}
        names = {entry.split(b"=")[0] for entry in Path(f"/proc/{process}/environ").read_bytes().split(b"\0") if entry}
        assert names <= kept | {b"LC_CTYPE"}


def test_several_that_warm_the_readers_do_not_wait_for_each_other():
    threads = [threading.Thread(target=readers.warm, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)


def test_a_reader_has_one_thread_so_that_a_fork_of_it_is_whole():
    readers.warm()
    for process in processes():
        assert len(list(Path(f"/proc/{process}/task").iterdir())) == 1

"""Almost good files of every format that is read: each is read or refused, soon, and the reader lives on."""

import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings

from label_server.errors import Refused
from label_server.parsing import archives, readers
from label_server.parsing.grid import Grid
from tests.support.attacks import deflated
from tests.support.ct import ct
from tests.support.mutations import brief, mutated
from tests.unit.server.parsing.test_archives import linking_zip, tarred, zipped

_FILES = {"a/1": b"one", "b": b"two"}
_ARCHIVES = [zipped(_FILES), linking_zip(), *(tarred(_FILES, mode) for mode in ("w", "w:gz", "w:xz", "w:bz2"))]
_ON = Grid((5, 4, 3), (1.0, 1.0, 2.5), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


def good(suffix: str) -> list[bytes]:
    """Volumes of this format, of several types, compressed and not."""
    if suffix == ".dcm":
        return [ct().files[0], deflated(ct().files[0], 0)]
    files = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, compressed in ((np.uint8, True), (np.int16, False), (np.float32, True)):
            path = Path(folder, f"x{suffix}")
            sitk.WriteImage(sitk.GetImageFromArray(np.ones((3, 4, 5), kind)), str(path), useCompression=compressed)
            files.append(path.read_bytes())
    return files


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".dcm"])
def test_an_almost_good_volume_is_read_or_refused(suffix: str):
    name = f"x{suffix}"

    @settings(brief, max_examples=20)
    @given(mutated(good(suffix), header=400))
    def check(content: bytes) -> None:
        for read in (lambda at: readers.image(at, [name]), lambda at: readers.label(at, name, _ON)):
            with tempfile.TemporaryDirectory() as folder, suppress(Refused):
                Path(folder, name).write_bytes(content)
                started = time.monotonic()
                try:
                    assert read(Path(folder)).stat().st_size < 2**20
                finally:
                    assert time.monotonic() - started < 50

    check()


@brief
@given(mutated(_ARCHIVES, header=600))
def test_an_almost_good_archive_is_unpacked_or_refused(content: bytes):
    with tempfile.TemporaryDirectory() as outside:
        folder, archive = Path(outside, "in"), Path(outside, "archive")
        folder.mkdir()
        archive.write_bytes(content)
        with suppress(Refused):
            archives.unpack(archive, folder, 2**16)
        assert sorted(each.name for each in Path(outside).iterdir()) == ["archive", "in"]
        left = [each for each in folder.rglob("*") if not each.is_dir()]
        assert all(each.is_file() and not each.is_symlink() for each in left)
        assert sum(each.stat().st_size for each in left) <= 2**16

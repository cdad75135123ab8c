"""The images on disk: whole or not there, and the longest unused make way."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
import SimpleITK as sitk
from monailabel.interfaces.exception import ImageNotFoundException

from label_server.datastore.image_cache import ImageFiles, keep
from label_server.errors import Refused
from labelpod.dicom import phantom
from tests.support.paths import ROOT

KILOBYTE = 2**10
LONG_AGO = time.time() - 7200


def bring(folder: Path) -> None:
    """An image of 2 KB."""
    (folder / "slices").mkdir()
    (folder / "slices" / "1.dcm").write_bytes(bytes(KILOBYTE))
    (folder / "volume.nii.gz").write_bytes(bytes(KILOBYTE))


@pytest.fixture
def images(tmp_path: Path) -> ImageFiles:
    """Room for two images and a half."""
    return ImageFiles(tmp_path, 5 * KILOBYTE)


@pytest.fixture
def have(images: ImageFiles) -> Callable[..., None]:
    """Fetches images; they were last used long ago, the first longest."""

    def fetch(*uids: str) -> None:
        for number, uid in enumerate(uids):
            os.utime(images.get(uid, "v", bring), (LONG_AGO + number, 0))

    return fetch


def there(images: ImageFiles, *uids: str) -> list[bool]:
    whole = [(images.path(uid).exists(), images.slices(uid).exists()) for uid in uids]
    assert all(volume == slices for volume, slices in whole)
    return [volume for volume, _ in whole]


def test_an_image_is_fetched_once(images):
    asked = []
    for _ in range(2):
        images.get("1.2", "v", lambda folder: (asked.append(1), bring(folder)))
    assert asked == [1] and there(images, "1.2") == [True]


def test_using_an_image_does_not_make_it_another(images):
    """What was made of it is kept by the time it was written."""
    written = [images.get("1.2", "v", bring).stat().st_mtime_ns for _ in range(2)]
    assert written[0] == written[1]


def test_a_fetch_that_fails_leaves_nothing(images):
    def fail(folder: Path) -> None:
        bring(folder)
        raise OSError

    with pytest.raises(OSError):
        images.get("1.2", "v", fail)
    assert there(images, "1.2") == [False] and not [each for each in images.incoming.iterdir() if each.is_dir()]


@pytest.mark.parametrize("name", ["../1.2", "1.2/../../etc", "", "nodule"])
def test_what_is_no_series_is_not_fetched(images, name):
    with pytest.raises(ImageNotFoundException):
        images.get(name, "v", bring)


def test_the_longest_unused_makes_way(images, have):
    have("1.1", "1.2")
    images.get("1.1", "v", bring)
    have("1.3")
    assert there(images, "1.1", "1.2", "1.3") == [True, False, True]


def test_labels_and_other_files_never_make_way(images, have, tmp_path):
    label = tmp_path / "labels" / "final" / "1.1.nii.gz"
    label.parent.mkdir(parents=True)
    label.write_bytes(bytes(9 * KILOBYTE))
    os.utime(label, (0, 1))
    have("1.1", "1.2", "1.3", "1.4")
    assert label.exists()


def test_what_was_just_used_stays_however_much_it_takes(images, caplog):
    for uid in ("1.1", "1.2", "1.3"):
        images.get(uid, "v", bring)
    assert there(images, "1.1", "1.2", "1.3") == [True] * 3 and "CACHE_MAX_GB" in caplog.text


def test_nothing_makes_way_while_a_training_reads(images, have, tmp_path):
    program = f"""
from pathlib import Path
from label_server.datastore.image_cache import ImageFiles
images = ImageFiles(Path({str(tmp_path)!r}), 0)
images.hold()
print("held", flush=True)
input()
"""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'images' / 'label-server'}"}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as training:
        assert training.stdout and training.stdout.readline() == b"held\n"
        have("1.1", "1.2", "1.3")
        assert there(images, "1.1", "1.2", "1.3") == [True] * 3
        training.communicate(b"\n")
    have("1.4")
    assert there(images, "1.1", "1.2", "1.3", "1.4") == [False, False, True, True]


# --- what is kept of a series ---


def files(folder: Path) -> Iterator[bytes]:
    yield from (file.read_bytes() for file in sorted(folder.glob("*.dcm")))


def test_the_files_are_kept_as_they_came_and_make_the_volume(tmp_path):
    phantom.write(tmp_path / "sent", 7, 24)
    (tmp_path / "kept").mkdir()
    assert keep(files(tmp_path / "sent"), tmp_path / "kept").instances == 7
    assert set(files(tmp_path / "kept" / "slices")) == set(files(tmp_path / "sent"))
    assert sitk.ReadImage(str(tmp_path / "kept" / "volume.nii.gz")).GetSize() == (24, 24, 7)


def test_what_is_no_plain_stack_is_made_by_itk(tmp_path, data):
    (tmp_path / "kept").mkdir()
    sent = sorted((data / "chest-ct-mini").rglob("*.dcm"))  # JPEG-LS
    assert keep((file.read_bytes() for file in sent), tmp_path / "kept").instances == len(sent)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "kept" / "slices")))
    theirs, ours = reader.Execute(), sitk.ReadImage(str(tmp_path / "kept" / "volume.nii.gz"))
    assert ours.GetSize() == theirs.GetSize() and ours.GetPixelID() == theirs.GetPixelID()
    assert (sitk.GetArrayFromImage(ours) == sitk.GetArrayFromImage(theirs)).all()


def test_one_file_is_an_image_too(tmp_path):
    phantom.write(tmp_path / "sent", 7, 24)
    (tmp_path / "kept").mkdir()
    assert keep(iter([next(files(tmp_path / "sent"))]), tmp_path / "kept").instances == 1
    assert sitk.ReadImage(str(tmp_path / "kept" / "volume.nii.gz")).GetSize()[:2] == (24, 24)


def test_a_name_that_leads_elsewhere_leads_nowhere(tmp_path):
    (file, *_) = phantom.write(tmp_path / "sent", 1, 24)
    instance = pydicom.dcmread(file)
    with pytest.warns(UserWarning):
        instance.SOPInstanceUID = "../../1.2"
        instance.save_as(file)
        (tmp_path / "kept").mkdir()
        with pytest.raises(Refused, match="no UID"):
            keep(files(tmp_path / "sent"), tmp_path / "kept")
    assert list((tmp_path / "kept" / "slices").iterdir()) == []


def test_what_images_take_is_told_while_one_of_them_makes_way(images, have, tmp_path):
    have("1.2", "1.3")
    (tmp_path / "1.4.nii.gz").symlink_to("gone")  # listed, and then not there
    assert images.bytes() == 4 * KILOBYTE

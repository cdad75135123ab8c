"""A volume made of slices as they arrive is the one that ITK makes of them."""

import gzip
import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom import Dataset
from pydicom.encaps import encapsulate

from label_server.datastore import ct_to_nifti, dicom_files
from label_server.errors import Refused
from labelpod.dicom import phantom
from tests.support.attacks import deflated, hiding
from tests.support.ct import ct, read, written

Change = Callable[[Dataset, int], None]
SLICES, SIZE = 7, 24


@pytest.fixture
def series(tmp_path: Path) -> Callable[[Change | None], list[Dataset]]:
    """Writes a small series, each instance changed by a function of the instance and its number."""

    def write(change: Change | None = None) -> list[Dataset]:
        phantom.write(tmp_path, SLICES, SIZE)
        instances = []
        for number, file in enumerate(sorted(tmp_path.rglob("*.dcm"))):
            instance = pydicom.dcmread(file)
            if change:
                change(instance, number)
                instance.save_as(file)
            instances.append(instance)
        return instances

    return write


def made(instances: list[Dataset], folder: Path) -> sitk.Image | None:
    """The volume as the label server makes it, whatever the order."""
    shuffled = random.Random(1).sample(instances, len(instances))
    path = folder / "volume.nii.gz"
    slices = ct_to_nifti.Slices()
    return (
        sitk.ReadImage(str(path))
        if ct_to_nifti.write([slices.of(_bytes(each))[1] for each in shuffled], path)
        else None
    )


def _bytes(instance: Dataset) -> bytes:
    file = io.BytesIO()
    instance.save_as(file, enforce_file_format=True)
    return file.getvalue()


def itks(folder: Path) -> sitk.Image:
    """The volume as ITK makes it, written as NIfTI and read back."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(next(folder.rglob("*.dcm")).parent)))
    path = folder / "itk.nii.gz"
    sitk.WriteImage(reader.Execute(), str(path))
    return sitk.ReadImage(str(path))


def stored(bits: int, signed: int, intercept: str) -> Change:
    """Random values of a pixel format, its first and last among them."""

    def change(instance: Dataset, number: int) -> None:
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        pixels = np.random.default_rng(number).integers(low, high, SIZE * SIZE, endpoint=True)
        pixels[:2] = low, high
        instance.BitsStored, instance.HighBit, instance.PixelRepresentation = bits, bits - 1, signed
        instance.RescaleIntercept = intercept
        instance.PixelData = pixels.astype("<i2" if signed else "<u2").tobytes()

    return change


def turned(*orientation: float) -> Change:
    """The same stack, seen from elsewhere."""

    def change(instance: Dataset, number: int) -> None:
        instance.ImageOrientationPatient = list(orientation)
        normal = np.cross(orientation[:3], orientation[3:])
        instance.ImagePositionPatient = [round(float(each), 6) for each in (-10, 20, 5) + 3.7 * number * normal]

    return change


def nothing(instance: Dataset, number: int) -> None:
    """The phantom as it is."""


@pytest.mark.parametrize(
    "change",
    [
        nothing,
        stored(12, 0, "-1024"),
        stored(12, 0, "0"),
        stored(12, 1, "0"),
        stored(16, 1, "0"),
        stored(16, 0, "0"),
        stored(15, 0, "-1000.0"),
        stored(12, 0, "24"),
        turned(1, 0, 0, 0, 1, 0),
        turned(-1, 0, 0, 0, -1, 0),
        turned(0, 1, 0, 0, 0, -1),
        turned(0.8, 0.6, 0, -0.36, 0.48, 0.8),
    ],
)
def test_it_is_itks_volume(change, series, tmp_path):
    ours, theirs = made(series(change), tmp_path), itks(tmp_path)
    assert ours and ours.GetPixelID() == theirs.GetPixelID()
    assert np.array_equal(sitk.GetArrayFromImage(ours), sitk.GetArrayFromImage(theirs))
    for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert np.allclose(getattr(ours, what)(), getattr(theirs, what)(), atol=1e-5), what


def test_its_header_is_itks_byte_for_byte(series, tmp_path):
    made(series(), tmp_path)
    itks(tmp_path)
    ours, theirs = (gzip.decompress((tmp_path / name).read_bytes()) for name in ("volume.nii.gz", "itk.nii.gz"))
    assert ours[:352] == theirs[:352] and ours == theirs


def _set(name: str, value: object, on: int | None = None) -> Change:
    def change(instance: Dataset, number: int) -> None:
        if on is None or number == on:
            setattr(instance, name, value)

    return change


def _without(name: str) -> Change:
    def change(instance: Dataset, number: int) -> None:
        delattr(instance, name)

    return change


def _hidden_bits(instance: Dataset, number: int) -> None:
    instance.PixelData = b"\x01\x80" + instance.PixelData[2:]


def _syntax(instance: Dataset, number: int) -> None:
    instance.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.80"
    instance.PixelData = encapsulate([instance.PixelData])
    instance["PixelData"].is_undefined_length = True


def strange() -> Iterator[pytest.param]:
    """What is no plain stack of CT slices."""
    yield pytest.param(_set("RescaleSlope", "2"), id="a slope")
    yield pytest.param(_set("RescaleIntercept", "-1024.5"), id="half an intercept")
    yield pytest.param(_set("RescaleIntercept", "-1000", on=3), id="an intercept of its own")
    yield pytest.param(_set("NumberOfFrames", 2), id="several frames")
    yield pytest.param(_set("PhotometricInterpretation", "MONOCHROME1"), id="inverted")
    yield pytest.param(_set("SOPClassUID", "1.2.840.10008.5.1.4.1.1.4"), id="no CT")
    yield pytest.param(_set("ImagePositionPatient", [0, 0, 500.0], on=6), id="a gap")
    yield pytest.param(_set("ImagePositionPatient", [3.0, 0, 0], on=2), id="aside")
    yield pytest.param(_set("ImagePositionPatient", [0, 0, 0]), id="all in one place")
    yield pytest.param(_set("ImageOrientationPatient", [1, 0, 0, 0.5, 0.5, 0]), id="skewed")
    yield pytest.param(_without("ImagePositionPatient"), id="no position")
    yield pytest.param(_without("PixelSpacing"), id="no spacing")
    yield pytest.param(_without("PixelData"), id="no pixels")
    yield pytest.param(_set("PixelData", b"\0" * 8), id="too few pixels")
    yield pytest.param(stored(16, 0, "5"), id="values of more than 16 bits")
    yield pytest.param(_hidden_bits, id="bits beyond those stored")
    yield pytest.param(_syntax, id="compressed")


@pytest.mark.parametrize("change", list(strange()))
def test_what_is_no_plain_stack_is_left_to_itk(change, tmp_path):
    phantom.write(tmp_path, SLICES, SIZE)
    instances = [pydicom.dcmread(file) for file in sorted(tmp_path.rglob("*.dcm"))]
    for number, instance in enumerate(instances):
        change(instance, number)
    assert made(instances, tmp_path) is None and not (tmp_path / "volume.nii.gz").exists()


def test_one_slice_and_none_are_left_to_itk(series, tmp_path):
    assert made(series()[:1], tmp_path) is None and made([], tmp_path) is None


# --- what the DICOMweb server may hold ---


@pytest.mark.parametrize("number", range(3))
def test_a_bomb_is_found_wherever_its_head_ends(number: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dicom_files, "_MOST_INFLATED", 2**20)
    content = list(hiding(deflated(ct().files[0], 3)))[number]
    with pytest.raises(Refused, match="inflates"):
        ct_to_nifti.Slices().of(content)


def without_uid(instance: Dataset) -> None:
    del instance.SOPInstanceUID


def of_two_uids(instance: Dataset) -> None:
    instance.SOPInstanceUID = ["1.2", "1.3"]


@pytest.mark.parametrize("change", [without_uid, of_two_uids], ids=lambda each: each.__name__)
def test_a_slice_without_a_uid_is_refused(change: Callable[[Dataset], None]):
    instance = read(ct().files[0])
    change(instance)
    with pytest.raises(Refused, match="no UID"):
        ct_to_nifti.Slices().of(written(instance))


def test_what_is_no_dicom_is_refused_and_so_is_a_header_that_is_broken():
    odd = ct().files[0].replace(b"\x28\0\x10\0US", b"\x28\0\x10\0ZZ")  # Rows, of a kind that DICOM has not
    for content in (b"", b"no", ct().files[0][:200], deflated(ct().files[0], 0)[:500], odd):
        with pytest.raises(Refused):
            ct_to_nifti.Slices().of(content)

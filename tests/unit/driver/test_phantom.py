"""The synthetic chest CT: where its nodules are, and that programs accept it."""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import ExplicitVRLittleEndian

from labelpod.dicom import phantom, preflight

SLICES, SIZE = 48, 128


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return phantom.write(tmp_path_factory.mktemp("phantom"), SLICES, SIZE)


@pytest.fixture(scope="module")
def volume(files):
    """The volume as the label server reads it."""
    return sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(files[0].parent)))


def mean(volume, ijk, around=1) -> float:
    """Mean of a small block, HU."""
    i, j, k = ijk
    voxels = sitk.GetArrayViewFromImage(volume)
    return float(voxels[k, j - around : j + around + 1, i - around : i + around + 1].mean())


def test_the_pre_flight_check_finds_nothing_wrong_with_it(files):
    (series,) = preflight.scan([files[0].parent]).series
    assert series.problems == [] and len(series.files) == SLICES


def test_the_label_server_reads_it_with_the_right_size_and_spacing(volume):
    assert volume.GetSize() == (SIZE, SIZE, SLICES)
    assert volume.GetSpacing() == pytest.approx((360 / SIZE, 360 / SIZE, 288 / SLICES))
    assert volume.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)


def test_its_voxels_can_be_had_without_dicom(volume):
    voxels, affine = phantom.volume(SLICES, SIZE)
    assert (sitk.GetArrayViewFromImage(volume) == voxels.T).all()
    lps = np.diag([-1, -1, 1]) @ affine[:3]
    corner = volume.TransformIndexToPhysicalPoint((3, 5, 7))
    assert lps @ (3, 5, 7, 1) == pytest.approx(corner, abs=1e-3)


@pytest.mark.parametrize("number", range(3))
def test_a_nodule_is_where_it_is_said_to_be(volume, number):
    nodule = phantom.nodules(SLICES, SIZE)[number]
    there = volume.TransformIndexToPhysicalPoint(nodule.ijk)
    assert there == pytest.approx(nodule.lps, abs=288 / SLICES / 2)
    assert -100 < mean(volume, nodule.ijk, around=0) < 150


def test_one_nodule_is_part_solid_and_two_are_solid_with_lung_around(volume):
    solid, part_solid, small = phantom.nodules(SLICES, SIZE)
    assert [each.core_radius < each.radius for each in (solid, part_solid, small)] == [False, True, False]
    i, j, k = part_solid.ijk
    rim = round((part_solid.core_radius + part_solid.radius) / 2 / volume.GetSpacing()[0])
    assert -700 < mean(volume, (i + rim, j, k), around=0) < -300
    outside = round(2 * part_solid.radius / volume.GetSpacing()[0])
    assert mean(volume, (i + outside, j, k)) < -750


def test_tissues_have_realistic_hounsfield_units(volume):
    def at(x, y, z):
        return mean(volume, volume.TransformPhysicalPointToIndex((x, y, z)))

    assert at(-170, -170, 0) < -980  # air
    assert -150 < at(0, -111, 0) < -50  # fat
    assert 0 < at(20, -28, -46) < 100  # heart
    assert at(0, 70, 10) > 150  # vertebra


def test_the_same_arguments_give_the_same_bytes(files, tmp_path):
    again = phantom.write(tmp_path, SLICES, SIZE)
    assert [each.read_bytes() for each in again] == [each.read_bytes() for each in files]


@pytest.mark.parametrize("other", [{"seed": 8}, {"slices": 9}, {"size": 33}])
def test_other_arguments_give_another_study(tmp_path, other):
    arguments = {"slices": 8, "size": 32, "seed": 7}
    one = pydicom.dcmread(phantom.write(tmp_path / "one", **arguments)[0])
    two = pydicom.dcmread(phantom.write(tmp_path / "two", **(arguments | other))[0])
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        assert one[name] != two[name]


def test_nobody_takes_it_for_a_patient(files):
    header = pydicom.dcmread(files[0])
    assert header.PatientName == "SYNTHETIC^PHANTOM"
    assert header.SeriesDescription == "SYNTHETIC chest CT phantom, not a patient"
    assert "Synthetic" in header.ImageComments


def test_it_has_what_dicom_demands_of_a_ct_image(files):
    header = pydicom.dcmread(files[-1])
    assert header.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert header.file_meta.MediaStorageSOPInstanceUID == header.SOPInstanceUID
    type_1 = (
        "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality FrameOfReferenceUID ImageType "
        "SamplesPerPixel PhotometricInterpretation Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation "
        "PixelData RescaleIntercept RescaleSlope PixelSpacing ImageOrientationPatient ImagePositionPatient"
    )
    type_2 = (
        "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber "
        "ReferringPhysicianName SeriesNumber InstanceNumber Manufacturer AcquisitionNumber KVP SliceThickness "
        "PositionReferenceIndicator PatientPosition"
    )
    assert [name for name in type_1.split() if header.get(name) in (None, "", [])] == []
    assert [name for name in type_2.split() if name not in header] == []

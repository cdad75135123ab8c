"""Images of public bug reports: a label of each comes back as it was painted, for the same patient.

The inputs are in ../shared/data/reports; those of headers are made here besides, so that a clone alone tests them.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import Dataset

from tests.support.ct import Ct, ct, read, written
from tests.support.dicomweb import Pacs
from tests.support.labels import ok
from tests.support.paths import ROOT
from tests.support.web import Server

REPORTS = ROOT.parent / "shared" / "data" / "reports"
LABELLED = (
    *("patient-id-chinese", "patient-name-cyrillic", "positions-rounded-0.1mm", "drift-0.3mm-in-plane"),
    *("label-500-birthdate-00000000", "label-500-lossy-without-method", "label-500-lossy-without-ratio"),
    *("label-500-slicethickness-empty", "label-500-slicethickness-missing", "label-500-studydate-iso"),
    *("label-500-studytime-colons", "iop-prone-dot002", "iop-coronal-dot002", "iop-short-not-tilted"),
    *("sagittal", "coronal", "rescale-missing"),
)


def series(folder: Path) -> Ct:
    files = tuple(path.read_bytes() for path in sorted(folder.glob("*.dcm")))
    first = read(files[0])
    return Ct(str(first.SeriesInstanceUID), str(first.StudyInstanceUID), files)


def labelled(server: Server, pacs: Pacs, image: Ct) -> Dataset:
    """The SEG of a label that came back as it was painted."""
    pacs.store(image)
    shape = server.image(image.uid).GetSize()[::-1]
    painted = np.zeros(shape, np.uint8)
    painted[1:3, 2:7, 3:9] = 1
    painted[shape[0] - 1, 5:8, 5:8] = 3
    ok(server.submit(image.uid, painted))
    assert np.array_equal(server.label(image.uid), painted)
    (seg,) = pacs.segmentations(image.uid)
    return seg


@pytest.mark.parametrize("name", LABELLED)
def test_a_label_of_a_reported_image_is_stored(server: Server, pacs: Pacs, name: str):
    if not (REPORTS / name).is_dir():
        pytest.skip("needs ../shared/data/reports")
    image = series(REPORTS / name)
    seg = labelled(server, pacs, image)
    source = read(image.files[0])
    source.decode()
    assert (str(seg.PatientID), str(seg.PatientName)) == (str(source.PatientID), str(source.PatientName))


def changed(change: Callable[[Dataset, int], None], slices: int = 6) -> Ct:
    files = []
    for number, content in enumerate(ct(5, slices).files):
        instance = read(content)
        change(instance, number)
        files.append(written(instance))
    return Ct(ct(5, slices).uid, ct(5, slices).study_uid, tuple(files))


def set_to(**values: object) -> Callable[[Dataset, int], None]:
    def change(instance: Dataset, number: int) -> None:
        for keyword, value in values.items():
            if value is None:
                instance.pop(keyword, None)
            else:
                instance.add_new(keyword, _VR.get(keyword, "LO"), value)

    return change


_VR = {
    **dict.fromkeys(("StudyDate", "PatientBirthDate"), "LO"),
    **{"StudyTime": "LO", "PatientSex": "CS", "SliceThickness": "LO", "NumberOfFrames": "IS", "PatientName": "PN"},
    **{"LossyImageCompression": "CS", "LossyImageCompressionRatio": "DS", "SpecificCharacterSet": "CS"},
    **{"FrameOfReferenceUID": "UI", "StudyID": "SH", "AccessionNumber": "SH"},
}


@pytest.mark.parametrize(
    ("change", "keyword", "stored"),
    [
        (set_to(StudyDate="2026-01-01"), "StudyDate", "20260101"),
        (set_to(StudyDate="2026.01.01"), "StudyDate", "20260101"),
        (set_to(StudyDate="20260231"), "StudyDate", ""),
        (set_to(StudyDate="00000000"), "StudyDate", ""),
        (set_to(PatientBirthDate="1950"), "PatientBirthDate", ""),
        (set_to(StudyTime="10:10:10"), "StudyTime", "101010"),
        (set_to(StudyTime="101010.123"), "StudyTime", "101010.123"),
        (set_to(StudyTime="25"), "StudyTime", ""),
        (set_to(StudyTime="noon"), "StudyTime", ""),
        (set_to(PatientSex="U"), "PatientSex", ""),
        (set_to(PatientSex="F"), "PatientSex", "F"),
        (set_to(SliceThickness=None), "Modality", "SEG"),
        (set_to(SliceThickness=""), "Modality", "SEG"),
        (set_to(SliceThickness="0"), "Modality", "SEG"),
        (set_to(LossyImageCompression="01"), "LossyImageCompression", "00"),
        (set_to(NumberOfFrames="1"), "Modality", "SEG"),
        (set_to(FrameOfReferenceUID=None), "Modality", "SEG"),
        (lambda instance, n: setattr(instance, "FrameOfReferenceUID", f"1.2.{n + 1}"), "FrameOfReferenceUID", "1.2.1"),
        (set_to(PatientName=None, PatientID=""), "PatientID", ""),
        *(
            (set_to(SpecificCharacterSet=charset, PatientName=name, PatientID=name), "PatientID", name)
            for charset, name in (
                ("GB18030", "王-7"),
                ("ISO_IR 144", "\u0418\u0432\u0430\u043d-7"),
                ("ISO_IR 192", "김-희중"),
                ("ISO_IR 101", "Wałęsa"),
                ("ISO_IR 126", "Διονυσιος"),
                ("ISO_IR 127", "قباني"),
                ("ISO_IR 100", "Buc^Jérôme"),
            )
        ),
    ],
)  # fmt: skip
def test_no_odd_header_stops_a_label(
    server: Server, pacs: Pacs, change: Callable[[Dataset, int], None], keyword: str, stored: str
):
    seg = labelled(server, pacs, changed(change))
    assert str(seg.get(keyword) or "") == stored


def test_a_patient_who_cannot_be_told_gets_no_label_of_another(server: Server, pacs: Pacs):
    def change(instance: Dataset, number: int) -> None:
        instance.SpecificCharacterSet = "ISO_IR 192"
        instance["PatientID"]._value = b"\xff\xfe7"

    image = changed(change)
    pacs.store(image)
    answer = server.submit(image.uid, np.zeros((6, 24, 24)))
    assert answer.status_code == 422 and "character set" in answer.text
    assert pacs.segmentations() == []


@pytest.mark.parametrize("name", ["iop-prone-dot002", "iop-coronal-dot002", "iop-short-not-tilted", "sagittal"])
def test_a_reported_image_lies_where_its_header_says(server: Server, pacs: Pacs, name: str):
    if not (REPORTS / name).is_dir():
        pytest.skip("needs ../shared/data/reports")
    image = series(REPORTS / name)
    pacs.store(image)
    made = server.image(image.uid)
    for content in image.files:
        slice_ = read(content)
        row, column = np.array(slice_.ImageOrientationPatient, float).reshape(2, 3)
        index = made.TransformPhysicalPointToContinuousIndex([float(each) for each in slice_.ImagePositionPatient])
        assert np.allclose(index, np.rint(index), atol=0.01)
        voxels = sitk.GetArrayFromImage(made)[round(index[2])]
        assert np.array_equal(voxels, slice_.pixel_array * float(slice_.RescaleSlope) + float(slice_.RescaleIntercept))
        direction = np.array(made.GetDirection()).reshape(3, 3)
        assert np.allclose(direction[:, 0], row, atol=0.01) and np.allclose(direction[:, 1], column, atol=0.01)


@pytest.mark.parametrize("plain", [True, False], ids=["our own reading", "ITK's"])
def test_axes_that_are_rounded_stay(server: Server, pacs: Pacs, plain: bool):
    """ITK takes them for axial ones, and says nothing."""

    def change(instance: Dataset, number: int) -> None:
        instance.ImageOrientationPatient = [-1, 0.004, 0, 0, -1, 0]
        instance.PhotometricInterpretation = "MONOCHROME2" if plain else "MONOCHROME1"

    image = changed(change)
    pacs.store(image)
    made = server.image(image.uid)
    assert np.allclose(np.array(made.GetDirection()).reshape(3, 3), np.diag([-1, -1, 1]), atol=0.004)
    assert np.array_equal(sitk.GetArrayFromImage(made), units(image))
    labelled(server, pacs, image)


@pytest.mark.parametrize("name", ["two-kernels-interleaved", "uid-with-letters"])
def test_a_reported_image_that_is_none_is_refused_with_the_reason(server: Server, pacs: Pacs, name: str):
    if not (REPORTS / name).is_dir():
        pytest.skip("needs ../shared/data/reports")
    image = series(REPORTS / name)
    pacs.store(image)
    answer = server.ask("GET", f"/datastore/image?image={image.uid}", "anna")
    assert answer.status_code in (400, 404)
    assert ("two reconstructions" if "kernels" in name else "is no UID") in answer.text


# --- values ---


def units(image: Ct) -> NDArray[np.float64]:
    """Hounsfield units, as the standard computes them from each slice's own header."""
    instances = sorted((read(content) for content in image.files), key=lambda each: float(each.ImagePositionPatient[2]))
    return np.stack(
        [
            each.pixel_array * float(each.get("RescaleSlope", 1)) + float(each.get("RescaleIntercept", 0))
            for each in instances
        ]
    )


@pytest.mark.parametrize("name", ["monochrome1", "monochrome1-one-slice", "rescale-mixed", "jpeg2000"])
def test_the_values_of_a_reported_image_are_those_that_its_slices_mean(server: Server, pacs: Pacs, name: str):
    if not (REPORTS / name).is_dir():
        pytest.skip("needs ../shared/data/reports")
    image = series(REPORTS / name)
    pacs.store(image)
    found = sitk.GetArrayFromImage(server.image(image.uid))
    if name != "jpeg2000":  # no decoder here but ITK's own
        assert np.array_equal(found, units(image))
    labelled(server, pacs, image)


def odd(keyword: str, *values: object) -> Callable[[Dataset, int], None]:
    """The values in turn, slice by slice."""
    return lambda instance, number: setattr(instance, keyword, values[number % len(values)])


@pytest.mark.parametrize(
    "change",
    [
        odd("PhotometricInterpretation", "MONOCHROME1"),
        odd("PhotometricInterpretation", "MONOCHROME2", "MONOCHROME1"),
        odd("RescaleSlope", "1", "2"),
        odd("RescaleSlope", "0.5", "1.25"),
        odd("RescaleIntercept", "-1024", "0", "-1000.5"),
    ],
)
def test_values_are_those_that_the_slices_mean(server: Server, pacs: Pacs, change: Callable[[Dataset, int], None]):
    image = changed(change)
    pacs.store(image)
    assert np.array_equal(sitk.GetArrayFromImage(server.image(image.uid)), units(image))
    labelled(server, pacs, image)


def test_values_that_mean_nothing_are_refused(server: Server, pacs: Pacs):
    def change(instance: Dataset, number: int) -> None:
        instance["RescaleSlope"]._value = "NaN" if number == 2 else "1"

    image = changed(change)
    pacs.store(image)
    answer = server.ask("GET", f"/datastore/image?image={image.uid}", "anna")
    assert answer.status_code == 400 and "bad-rescale" in answer.text

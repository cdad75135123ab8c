"""Label maps and DICOM SEG: values, names, grids; what does not fit is said."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset

from label_server.datastore import label_values, seg_reader, seg_writer
from label_server.datastore.label_values import LabelError
from labelpod_common.labels import parse
from tests.support.ct import Ct, ct, read, written

LABELS = parse("nodule1:1,nodule2:1,mass:2")


def entries(*named: tuple[str, int]) -> list[dict[str, object]]:
    return [{"name": name, "idx": number} for name, number in named]


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (None, {1: "nodule1", 2: "nodule2", 3: "mass"}),
        ([], {1: "nodule1", 2: "nodule2", 3: "mass"}),
        ([{"idx": 1}], {1: "nodule1", 2: "nodule2", 3: "mass"}),
        (entries(("mass", 3), ("nodule1", 1)), {3: "mass", 1: "nodule1"}),
        # Slicer counts `idx` over all segments, and the voxels over those that it sends.
        (entries(("nodule2", 1), ("mass", 2)), {1: "nodule2", 2: "mass"}),
        ([{"name": "mass"}, {"name": "other"}], {1: "mass", 2: "other"}),
    ],
)
def test_what_a_client_means_by_its_values(info, expected: dict[int, str]):
    assert label_values.names_by_value(info, LABELS) == expected


PLUGINS = entries(("nodule1", 2), ("nodule2", 3))  # of 3D Slicer's plugin, with a segment `background` before them


@pytest.mark.parametrize(
    ("info", "present", "expected"),
    [
        (PLUGINS, [0, 1, 2], {1: "nodule1", 2: "nodule2"}),
        (PLUGINS, [0, 1], {1: "nodule1"}),
        (PLUGINS, [0, 3], {3: "nodule2"}),
        (PLUGINS, [0], {}),
        (PLUGINS, [0, 2, 3], {2: "nodule1", 3: "nodule2"}),
        # Not counted up: no plugin's, and the first that is unknown to the server was taken for the value 1.
        (entries(("nodule2", 2), ("other", 1)), [1, 2], {1: "other", 2: "nodule2"}),
        (entries(("other", 4), ("nodule3", 3)), [3, 4], {3: "nodule3", 4: "other"}),
        (entries(("nodule3", 3), ("other", 4)), [3, 4], {3: "nodule3", 4: "other"}),
        (entries(("background", 0), ("nodule1", 1), ("other", 2)), [1, 2], {1: "nodule1", 2: "other"}),
        # What has no name has a place.
        ([{"name": ""}, {"name": "nodule2"}], [2], {2: "nodule2"}),
        ([{"name": "a"}, {"name": "a"}], [2], {2: "a"}),
    ],
)
def test_a_segment_keeps_its_name_however_it_is_counted(info, present: list[int], expected: dict[int, str]):
    names = label_values.names_by_value(info, LABELS, present)
    assert {value: names[value] for value in present if value} == expected


@pytest.mark.parametrize(
    ("info", "present", "reason"),
    [
        (PLUGINS, [2], "the value 2 may be 'nodule2' by its place in label_info, or 'nodule1' by its idx"),
        (entries(("a", 1), ("b", 1)), [1], "an idx twice"),
        ([{"name": "a", "idx": 1}, {"name": "b"}], [1], "not for each name"),
        ([{"name": "a"}, {"name": "a"}], [1, 2], "two segments are called 'a'"),
        (entries(("a", 1), ("a", 2)), [1, 2], "two segments are called 'a'"),
    ],
)
def test_a_name_that_may_be_anothers_is_refused(info, present: list[int], reason: str):
    with pytest.raises(LabelError, match=reason):
        label_values.names_by_value(info, LABELS, present)


def test_values_are_those_of_the_servers_list():
    voxels = np.array([0, 1, 2, 3, 1])
    again = label_values.renumber(voxels, {1: "mass", 2: "other", 3: "nodule1"}, LABELS)
    assert again.tolist() == [0, 3, 4, 1, 3] and again.dtype == np.uint8


def test_more_than_255_labels_are_refused():
    names = {number: f"name {number}" for number in range(1, 256)}
    with pytest.raises(LabelError, match="258 labels are more than 255"):
        label_values.renumber(np.zeros(3), names, LABELS)


@pytest.fixture
def slices(tmp_path: Path) -> Path:
    folder = tmp_path / "slices"
    folder.mkdir()
    for number, file in enumerate(ct().files):
        (folder / f"{number}.dcm").write_bytes(file)
    return folder


def volume(of: Ct, first: int = 0) -> sitk.Image:
    header = read(of.files[first])
    image = sitk.GetImageFromArray(np.zeros((len(of.files) - first, *of.shape[1:]), np.int16))
    image.SetOrigin([float(value) for value in header.ImagePositionPatient])
    image.SetSpacing([*(float(value) for value in header.PixelSpacing), float(header.SliceThickness)])
    return image


def made(slices: Path, voxels: np.ndarray) -> Dataset:
    return seg_writer.write(voxels, volume(ct()), slices, LABELS, {1: "nodule1", 2: "nodule2", 3: "mass"}, "anna")


def test_what_is_written_is_read(slices: Path):
    voxels = np.zeros(ct().shape, np.uint8)
    voxels[1, 2:5, 3:9], voxels[4, 2:5, 3:9] = 3, 1
    assert np.array_equal(seg_reader.read(made(slices, voxels), volume(ct()), LABELS), voxels)


def test_one_frame_is_read(slices: Path):
    voxels = np.zeros(ct().shape, np.uint8)
    voxels[2, 2:5, 3:9] = 2
    assert np.array_equal(seg_reader.read(made(slices, voxels), volume(ct()), LABELS), voxels)


def test_a_header_that_lacks_what_dicom_wants_is_filled_in(slices: Path):
    """De-identified images often do."""
    for file in slices.iterdir():
        header = read(file.read_bytes())
        for keyword in ("PatientName", "PatientID", "StudyID", "AccessionNumber", "FrameOfReferenceUID"):
            delattr(header, keyword)
        file.write_bytes(written(header))
    seg = made(slices, np.ones(ct().shape, np.uint8))
    assert seg.PatientID in ("", None) and seg.FrameOfReferenceUID


def test_voxels_of_another_shape_are_refused(slices: Path):
    with pytest.raises(LabelError, match=r"the label map is \(5, 24, 24\), the series has 6 slices"):
        made(slices, np.zeros((5, 24, 24), np.uint8))


def test_slices_that_do_not_make_the_image_are_refused(slices: Path):
    (slices / "5.dcm").unlink()
    with pytest.raises(LabelError, match="5 DICOM slices do not make the image's 6 slices"):
        made(slices, np.zeros(ct().shape, np.uint8))


def test_frames_of_another_size_are_refused(slices: Path):
    seg = made(slices, np.ones(ct().shape, np.uint8))
    other = sitk.GetImageFromArray(np.zeros((6, 12, 24), np.int16))
    with pytest.raises(LabelError, match="frames are"):
        seg_reader.read(seg, other, LABELS)


def test_a_frame_outside_the_image_is_refused(slices: Path):
    seg = made(slices, np.ones(ct().shape, np.uint8))
    with pytest.raises(LabelError, match="lies outside the image"):
        seg_reader.read(seg, volume(ct(), first=2), LABELS)


def test_a_frame_between_two_slices_is_refused(slices: Path):
    seg = made(slices, np.ones(ct().shape, np.uint8))
    image = volume(ct())
    image.SetOrigin([image.GetOrigin()[0] + 7, *image.GetOrigin()[1:]])
    with pytest.raises(LabelError, match="does not lie on the image's grid"):
        seg_reader.read(seg, image, LABELS)


def test_a_segment_is_coded_as_what_the_list_says_it_is(slices: Path):
    labels = parse("spleen:1,liver:2,thing:3:99HOME-7")
    voxels = np.zeros(ct().shape, np.uint8)
    voxels[1, 1, 1:5] = [1, 2, 3, 4]
    names = {1: "spleen", 2: "liver", 3: "thing", 4: "mass"}
    seg = seg_writer.write(voxels, volume(ct()), slices, labels, names)
    kinds = [each.SegmentedPropertyTypeCodeSequence[0] for each in seg.SegmentSequence]
    assert [(kind.CodingSchemeDesignator, kind.CodeValue, kind.CodeMeaning) for kind in kinds] == [
        ("SCT", "78961009", "Spleen"),
        ("SCT", "10200004", "Liver"),
        ("99HOME", "7", "thing"),
        ("SCT", "4147007", "Mass"),
    ]
    categories = [each.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning for each in seg.SegmentSequence]
    assert categories[::3] == ["Anatomical Structure", "Morphologically Abnormal Structure"]

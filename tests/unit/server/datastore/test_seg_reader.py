"""SEGs as other programs write them come back voxel by voxel, or are refused with the true reason."""

import itertools
import logging
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000MC, RLELossless

from label_server.datastore import seg_reader
from label_server.datastore.label_values import LabelError
from labelpod_common.labels import parse
from tests.support import segs
from tests.support.ct import ct
from tests.support.pacs import masks
from tests.support.segs import LIVER, Painted, View

LABELS = parse("nodule1:1,nodule2:1,mass:2")
TURNS = [
    View(axes, steps) for axes in itertools.permutations(range(3)) for steps in itertools.product((1, -1), repeat=3)
]


def ball(*at: int, radius: float = 2.4) -> NDArray[np.bool_]:
    """Lopsided, so that no turn leaves it as it is."""
    shape = ct().shape
    distance = sum((axis - middle) ** 2 for axis, middle in zip(np.indices(shape), at, strict=True))
    voxels = distance <= radius**2
    voxels[at[0], at[1] : at[1] + 5, at[2]] = True
    return voxels


ONE, TWO = ball(2, 8, 9), ball(3, 16, 5)


def read(*series: Dataset | list[Dataset], any_name: bool = False) -> NDArray[np.uint8]:
    several = [each if isinstance(each, list) else [each] for each in series]
    return seg_reader.read_foreign(several, segs.volume(ct()), LABELS, any_name)


def expected(*masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    result = np.zeros(ct().shape, np.uint8)
    for value, mask in enumerate(masks, start=1):
        result[mask] = value
    return result


def two(**more) -> Dataset:
    return segs.make(ct(), Painted("nodule1", ONE), Painted("nodule2", TWO), **more)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
@pytest.mark.parametrize(
    "view", TURNS, ids=lambda view: "".join(map(str, view.axes)) + "".join("-+"[s > 0] for s in view.steps)
)
def test_frames_in_any_plane_either_way_round_come_back_voxel_by_voxel(view: View, kind: str):
    seg = two(view=view, kind=kind)
    if kind == "FRACTIONAL":
        seg.MaximumFractionalValue = 1
    assert np.array_equal(read(seg), expected(ONE, TWO))


def test_frames_in_any_order_come_back():
    seg = two(all_frames=True)
    segs.reordered(seg, np.random.default_rng(1).permutation(seg.NumberOfFrames).tolist())
    assert np.array_equal(read(seg), expected(ONE, TWO))


# --- what stands in the shared functional groups, or nowhere ---


def one_frame() -> NDArray[np.bool_]:
    voxels = np.zeros_like(ONE)
    voxels[4] = ONE[2]
    return voxels


def all_shared(seg: Dataset) -> None:
    (group,) = seg.PerFrameFunctionalGroupsSequence
    seg.SharedFunctionalGroupsSequence[0].update(group)
    del seg.PerFrameFunctionalGroupsSequence, seg.NumberOfFrames


def all_by_frame(seg: Dataset) -> None:
    for group in seg.PerFrameFunctionalGroupsSequence:
        group.update(seg.SharedFunctionalGroupsSequence[0])
    del seg.SharedFunctionalGroupsSequence


def without_segment_number(seg: Dataset) -> None:
    for group in seg.PerFrameFunctionalGroupsSequence:
        del group.SegmentIdentificationSequence


def segment_number_shared(seg: Dataset) -> None:
    identified = seg.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence
    seg.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence = identified
    without_segment_number(seg)


def of_eight_bits(seg: Dataset) -> None:
    size = seg.NumberOfFrames * seg.Rows * seg.Columns
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")[:size]
    seg.BitsAllocated = seg.BitsStored = 8
    seg.HighBit, seg.PixelData = 7, (bits * 255).tobytes()


@pytest.mark.parametrize(
    "change",
    [all_shared, all_by_frame, without_segment_number, segment_number_shared, of_eight_bits],
    ids=lambda change: change.__name__.replace("_", " "),
)
def test_what_all_frames_have_in_common_may_stand_anywhere(change: Callable[[Dataset], None]):
    seg = segs.make(ct(), Painted("nodule1", one_frame()), change=change)
    assert np.array_equal(read(seg), expected(one_frame()))


# --- kinds ---


def test_of_fractions_at_least_half_counts_and_that_is_said(caplog: pytest.LogCaptureFixture):
    seg = segs.make(ct(), Painted("nodule1", ONE * 99 + TWO * 100), kind="FRACTIONAL")
    with caplog.at_level(logging.INFO):
        assert np.array_equal(read(seg), expected(TWO))
    assert "at least half of 200" in caplog.text


def palette(seg: Dataset) -> None:
    """Background described, in colours, with padding: as Supplement 243 has it."""
    background = Dataset()
    background.SegmentNumber, background.SegmentLabel = 0, "Background"
    seg.SegmentSequence = [background, *seg.SegmentSequence]
    seg.PhotometricInterpretation, seg.PixelPaddingValue = "PALETTE COLOR", 255
    pixels = bytearray(seg.PixelData)
    pixels[0] = 255
    seg.PixelData = bytes(pixels)


def test_a_label_map_in_colours_with_its_background_is_read():
    assert np.array_equal(read(two(kind="LABELMAP", change=palette)), expected(ONE, TWO))


def test_a_value_that_no_segment_has_is_refused():
    seg = segs.make(ct(), Painted("nodule1", ONE), Painted("nodule2", TWO), kind="LABELMAP")
    del seg.SegmentSequence[1]
    with pytest.raises(LabelError, match="the value 2, which no segment has"):
        read(seg)


def test_a_label_map_that_is_compressed_is_read():
    seg = two(kind="LABELMAP")
    seg.compress(RLELossless)
    assert np.array_equal(read(seg), expected(ONE, TWO))


def test_what_no_decoder_takes_is_refused_as_what_it_is():
    seg = two(kind="LABELMAP")
    seg.file_meta.TransferSyntaxUID = JPEG2000MC
    with pytest.raises(LabelError, match=r"compressed, as JPEG 2000 Part 2 .*cannot be decoded"):
        read(seg)


# --- several segments ---


def test_of_segments_that_overlap_the_smaller_has_what_both_have(caplog: pytest.LogCaptureFixture):
    """A nodule is not lost in the mass around it, whichever comes first."""
    mass = ball(2, 8, 9, radius=5)
    for order in (slice(None), slice(None, None, -1)):
        seg = segs.make(ct(), *[Painted("nodule1", ONE), Painted("mass", mass)][order])
        caplog.clear()
        assert np.array_equal(read(seg), np.where(ONE, 1, np.where(mass, 3, 0)))
        assert f"overlap in {int((ONE & mass).sum())} voxels" in caplog.text


def test_a_segment_that_is_covered_by_smaller_ones_is_said(caplog: pytest.LogCaptureFixture):
    half = ONE & (np.indices(ONE.shape)[2] > 8)
    seg = segs.make(ct(), Painted("mass", ONE), Painted("nodule1", half), Painted("nodule2", ONE & ~half))
    assert not (read(seg) == 3).any()
    assert "All voxels of segment 1 belong to smaller segments" in caplog.text


def test_two_segments_of_a_name_in_the_list_are_that_label():
    seg = segs.make(ct(), Painted("nodule2", ONE), Painted("Nodule2", TWO))
    assert np.array_equal(read(seg), expected(np.zeros_like(ONE), ONE | TWO))


def test_two_segments_that_their_code_makes_nodules_are_two_nodules():
    seg = segs.make(ct(), Painted("Segment_1", ONE), Painted("Segment_1", TWO))
    assert np.array_equal(read(seg), expected(ONE, TWO))


def test_a_code_does_not_take_the_label_that_another_has_by_name():
    seg = segs.make(ct(), Painted("left", ONE), Painted("nodule1", TWO))
    assert np.array_equal(read(seg), expected(TWO, ONE))


def test_more_nodules_than_labels_follow_behind_the_list():
    third = ball(3, 5, 18, radius=1.2)
    seg = segs.make(ct(), *(Painted("Nodule", mask) for mask in (ONE, TWO, third)))
    assert np.array_equal(read(seg), expected(ONE, TWO, np.zeros_like(ONE), third))


def test_an_older_code_is_the_same_nodule():
    seg = segs.make(ct(), Painted("Läsion", ONE, ("SRT", "M-03010", "Nodule")))
    assert np.array_equal(read(seg), expected(ONE))


def test_an_organ_beside_a_nodule_is_left_out_unless_any_name_counts():
    seg = segs.make(ct(), Painted("Liver", TWO, LIVER), Painted("nodule1", ONE))
    assert np.array_equal(read(seg), expected(ONE))
    behind = expected(ONE)
    behind[TWO & ~ONE] = 4
    assert np.array_equal(read(seg, any_name=True), behind)


def test_the_frames_of_organs_take_no_memory_beside_a_nodule(monkeypatch: pytest.MonkeyPatch):
    """Or a nodule among a hundred organs could not be read."""
    monkeypatch.setattr(seg_reader, "MAX_VOLUME_BYTES", 6 * 24 * 24)
    organs = [Painted(f"organ {number}", np.ones_like(ONE), LIVER) for number in range(5)]
    assert np.array_equal(read(segs.make(ct(), *organs, Painted("nodule1", ONE))), expected(ONE))
    with pytest.raises(LabelError, match="take more than"):
        read(segs.make(ct(), *organs, Painted("nodule1", ONE)), any_name=True)


def test_a_segment_without_name_and_code_is_read_if_any_counts():
    seg = segs.make(ct(), Painted("", ONE, None))
    assert np.array_equal(read(seg, any_name=True) == 4, ONE)
    with pytest.raises(LabelError, match="none of its segments is in the label list"):
        read(seg)


# --- several instances and series ---


def test_the_instances_of_a_series_are_read_together():
    parts = [np.where(np.indices(ONE.shape)[0] == at, ONE, False) for at in range(ct().shape[0])]
    instances = [segs.make(ct(), Painted("Nodule", part)) for part in parts if part.any()]
    assert len(instances) > 2 and np.array_equal(read(instances), expected(ONE))


@pytest.mark.parametrize("tracking", [("", ""), ("a", "b"), ("a", "")])
def test_nodules_in_a_series_each_are_read_together(tracking: tuple[str, str]):
    series = [segs.make(ct(), Painted("Nodule", ONE, tracking=tracking[0]))]
    series += [segs.make(ct(), Painted("Nodule", TWO, tracking=tracking[1]))]
    assert np.array_equal(read(*series), expected(TWO, ONE)), "the newest first"


@pytest.mark.parametrize("tracking", ["", "the same"])
def test_a_nodule_that_was_stored_again_replaces_its_older_one(tracking: str):
    again = np.roll(ONE, 2, axis=1)
    series = [segs.make(ct(), Painted("Nodule", mask, tracking=tracking)) for mask in (ONE, again)]
    assert (ONE & ~again).any() and np.array_equal(read(*series), expected(again))


# --- other grids ---


def of_half_resolution(seg: Dataset) -> None:
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = [2 * value for value in measures.PixelSpacing]


def turned_by_a_degree(seg: Dataset) -> None:
    turn = np.radians(3)
    orientation = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    orientation.ImageOrientationPatient = [np.cos(turn), np.sin(turn), 0, -np.sin(turn), np.cos(turn), 0]


def beside_the_image(seg: Dataset) -> None:
    for group in seg.PerFrameFunctionalGroupsSequence:
        position = group.PlanePositionSequence[0].ImagePositionPatient
        position[0] = float(position[0]) + 16 * segs.volume(ct()).GetSpacing()[0]


def half_a_voxel_beside(seg: Dataset) -> None:
    for group in seg.PerFrameFunctionalGroupsSequence:
        position = group.PlanePositionSequence[0].ImagePositionPatient
        position[1] = float(position[1]) + segs.volume(ct()).GetSpacing()[1] / 2


def of_thick_slices(seg: Dataset) -> None:
    """Each frame in every other slice: all of them lie on slices of the image."""
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = 2 * float(measures.SpacingBetweenSlices)
    slices = seg.PerFrameFunctionalGroupsSequence
    kept = [index for index in range(len(slices)) if index % 2 == 0]
    segs.reordered(seg, kept)
    seg.NumberOfFrames = len(kept)


def without_orientation(seg: Dataset) -> None:
    del seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (of_half_resolution, "frames are 24 x 24 voxels of"),
        (turned_by_a_degree, "or turned against them"),
        (beside_the_image, "lies outside the image, with some or all of its [0-9]+ voxels"),
        (half_a_voxel_beside, "does not lie on the image's grid"),
        (of_thick_slices, "slices are .* mm apart, the image's"),
        (without_orientation, "has no ImageOrientationPatient"),
    ],
    ids=lambda value: value.__name__.replace("_", " ") if callable(value) else "",
)
def test_what_lies_on_another_grid_is_refused_with_the_reason(change: Callable[[Dataset], None], reason: str):
    with pytest.raises(LabelError, match=reason):
        read(segs.make(ct(), Painted("nodule1", ONE), change=change))


def test_an_empty_frame_outside_the_image_is_no_harm():
    seg = segs.make(ct(), Painted("nodule1", ONE), all_frames=True)
    last = seg.PerFrameFunctionalGroupsSequence[-1].PlanePositionSequence[0].ImagePositionPatient
    last[2] = float(last[2]) + segs.volume(ct()).GetSpacing()[2]
    assert not ONE[-1].any() and np.array_equal(read(seg), expected(ONE))


def test_frames_that_lie_where_their_slices_do_are_on_the_grid():
    """The slices of a table that sags lie beside the even grid; so do the frames that were made of them."""
    image, seg = segs.volume(ct()), segs.make(ct(), Painted("nodule1", ONE))
    slices = [list(image.TransformIndexToPhysicalPoint((0, 0, index))) for index in range(image.GetDepth())]
    for position in slices:
        position[1] += 0.4 * image.GetSpacing()[1]
    for group in seg.PerFrameFunctionalGroupsSequence:
        position = group.PlanePositionSequence[0].ImagePositionPatient
        position[1] = float(position[1]) + 0.4 * image.GetSpacing()[1]
    found = seg_reader.read_foreign([[seg]], image, LABELS, False, slices)
    assert np.array_equal(found, expected(ONE))
    with pytest.raises(LabelError, match="does not lie on the image's grid"):
        read(seg)


# --- public files of other writers ---


@pytest.fixture
def public(shared: Path) -> Path:
    return shared / "negatives" / "seg"


def slices_of(folder: Path) -> sitk.Image:
    return sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder / "dcmqi-ct-3slice")))


def test_dcmqis_liver_is_the_liver(public: Path):
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(public / "liver_seg.nrrd")))
    seg, labels = dcmread(public / "liver.dcm"), parse("spleen:1,liver:2")
    found = seg_reader.read_foreign([[seg]], slices_of(public), labels, False)
    assert truth.any() and np.array_equal(found, np.where(truth, 2, 0))


def test_dcmqis_overlapping_segments_are_all_there(public: Path):
    """Read by highdicom as well, one by one."""
    seg, image = hd.seg.segread(public / "partial_overlaps.dcm"), slices_of(public)
    found = seg_reader.read_foreign([[seg]], image, parse("green,orange,purple,light_blue,dark_blue"), False)
    truth = list(masks(seg, image).values())
    assert len(truth) == 5
    expected = np.zeros_like(found)
    for index in sorted(range(5), key=lambda index: -truth[index].sum()):
        expected[truth[index]] = index + 1
    assert np.array_equal(found, expected) and set(np.unique(found)) == set(range(6))

"""Label maps on other grids than their images: put in place voxel by voxel, or refused with the numbers."""

import gzip
import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from label_server.errors import Refused
from label_server.parsing import placing, readers
from label_server.parsing.grid import Grid

SIZE = (12, 10, 8)
TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
FORMATS = ["x.nii", "x.nii.gz", "x.nrrd", "x.mha"]


def image(direction: NDArray[np.float64] = TURN) -> sitk.Image:
    made = sitk.Image(SIZE, sitk.sitkInt16)
    made.SetSpacing((0.7, 0.8, 2.5))
    made.SetOrigin((-100.0, 20.0, 300.0))
    made.SetDirection(direction.ravel())
    return made


def painted() -> NDArray[np.uint8]:
    voxels = np.zeros(SIZE[::-1], np.uint8)
    voxels[1:3, 2:5, 3:8], voxels[5, 7, 9] = 2, 7
    return voxels


def label(voxels: NDArray[np.uint8] | None = None, on: sitk.Image | None = None) -> sitk.Image:
    made = sitk.GetImageFromArray(painted() if voxels is None else voxels)
    made.CopyInformation(on or image())
    return made


def put(made: sitk.Image) -> NDArray[np.uint8]:
    found = placing.put_on(image(), made)
    assert (found.GetOrigin(), found.GetDirection()) == (image().GetOrigin(), image().GetDirection())
    return sitk.GetArrayFromImage(found)


def reason(made: sitk.Image) -> str:
    with pytest.raises(Refused) as refused:
        placing.put_on(image(), made)
    return str(refused.value)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
@pytest.mark.parametrize("flips", list(itertools.product([False, True], repeat=3)), ids=str)
def test_the_same_voxels_in_another_order_are_put_in_place(order: tuple[int, ...], flips: tuple[bool, ...]):
    turned = sitk.Flip(sitk.PermuteAxes(label(), order), flips)
    assert np.array_equal(put(turned), painted())


def test_a_part_of_the_image_is_put_in_place():
    """As 3D Slicer crops: every voxel that is painted is there."""
    assert np.array_equal(put(label()[2:10, 1:9, 1:7]), painted())


def test_more_than_the_image_is_put_in_place_if_nothing_is_painted_there():
    assert np.array_equal(put(sitk.ConstantPad(label(), (1, 2, 0), (0, 3, 1))), painted())


def test_rounded_positions_move_nothing():
    made = label()
    made.SetOrigin((-100.1, 20.2, 301.0))
    made.SetSpacing((0.7, 0.8, 2.51))
    assert np.array_equal(put(made), painted())


def test_a_finer_grid_is_taken_if_it_has_the_image_of_whole_voxels():
    finer = sitk.Expand(label(), (2, 2, 1), sitk.sitkNearestNeighbor)
    assert np.array_equal(put(finer), painted())


# --- what would be lost ---


def test_a_label_half_outside_is_refused_with_the_numbers():
    padded = sitk.ConstantPad(label(), (0, 0, 0), (4, 0, 0))
    voxels = sitk.GetArrayFromImage(padded)
    voxels[2, 2, 10:16] = 3
    made = sitk.GetImageFromArray(voxels)
    made.CopyInformation(padded)
    assert "would lose 4 of 6 voxels of value 3 there" in reason(made)


def test_a_finer_label_that_the_image_cannot_hold_is_refused():
    finer = sitk.Expand(label(), (2, 2, 1), sitk.sitkNearestNeighbor)
    voxels = sitk.GetArrayFromImage(finer)
    voxels[0, 0, 1] = 9
    made = sitk.GetImageFromArray(voxels)
    made.CopyInformation(finer)
    assert "1 of 1 voxels of value 9" in reason(made)


@pytest.mark.parametrize("direction", [np.eye(3), np.diag([-1.0, -1.0, 1.0])], ids=["lps", "ras"])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.8, 2.5)], ids=str)
def test_an_identity_affine_is_refused_whatever_its_size(direction: NDArray[np.float64], spacing: tuple[float, ...]):
    for voxels in (painted(), np.zeros(SIZE[::-1], np.uint8), np.zeros((3, 4, 5), np.uint8)):
        made = sitk.GetImageFromArray(voxels)
        made.SetDirection(direction.ravel())
        made.SetSpacing(spacing)
        assert "does not say where it lies" in reason(made)


def test_the_images_dimensions_elsewhere_are_refused():
    """Even if all that is painted lies on the image by chance."""
    made = label()
    made.SetOrigin(image().TransformIndexToPhysicalPoint((1, 1, 1)))
    told = reason(made)
    assert "does not lie on the image" in told and "(-100, 20, 300) mm" in told


@pytest.mark.parametrize("slices", [7, 9])
def test_more_or_fewer_slices_are_refused(slices: int):
    made = label()[:, :, :7] if slices == 7 else sitk.ConstantPad(label(), (0, 0, 0), (0, 0, 1))
    assert f"it has {slices} slices, the image 8" in reason(made)


def test_a_label_at_an_angle_is_refused():
    made = label()
    made.SetDirection(np.eye(3).ravel())
    assert "does not lie on the image" in reason(made)
    assert "would lose" in reason(made[1:11, 1:9, 1:7])


# --- files ---


def file(made: sitk.Image, folder: Path, name: str) -> Path:
    sitk.WriteImage(made, str(folder / name), useCompression=name.endswith("gz"))
    return folder / name


def read(folder: Path, name: str) -> NDArray[np.uint8]:
    on = Grid(image().GetSize(), image().GetSpacing(), image().GetOrigin(), image().GetDirection())
    return sitk.GetArrayFromImage(sitk.ReadImage(str(readers.label(folder, name, on))))


@pytest.mark.parametrize("name", FORMATS)
def test_a_label_cut_off_anywhere_loses_nothing(tmp_path: Path, name: str):
    """ITK takes zeros for what is missing of a NIfTI file."""
    voxels = np.random.default_rng(1).integers(0, 250, SIZE[::-1]).astype(np.uint8)
    whole = file(label(voxels), tmp_path, name).read_bytes()
    for length in (0, 100, 360, len(whole) // 2, len(whole) - 100, len(whole) - 1):
        (tmp_path / name).write_bytes(whole[:length])
        try:
            assert np.array_equal(read(tmp_path, name), voxels)
        except Refused as refused:
            assert "that can be read" in str(refused)


def test_a_header_that_says_of_two_places_is_refused(tmp_path: Path):
    """ITK takes the second without a word if the first is sheared."""
    header = bytearray(file(label(), tmp_path, "x.nii").read_bytes())
    struct.pack_into("<f", header, 280 + 8, 1.0)
    (tmp_path / "x.nii").write_bytes(header)
    with pytest.raises(Refused, match="two places where it lies, or its axes are not at right angles"):
        read(tmp_path, "x.nii")
    (tmp_path / "y.nii.gz").write_bytes(gzip.compress(bytes(header)))
    with pytest.raises(Refused, match="right angles"):
        read(tmp_path, "y.nii.gz")


def test_a_sheared_nrrd_is_refused(tmp_path: Path):
    content = file(label(), tmp_path, "x.nrrd").read_bytes()
    start = content.index(b"space directions:")
    end = content.index(b"\n", start)
    sheared = content[:start] + b"space directions: (0.56,0.42,0) (-0.48,0.64,0) (1,0,2.5)" + content[end:]
    (tmp_path / "x.nrrd").write_bytes(sheared)
    with pytest.raises(Refused, match="does not lie on the image"):
        read(tmp_path, "x.nrrd")

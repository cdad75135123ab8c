"""Whatever is painted and however a program lays it into a SEG: it comes back voxel by voxel, or is refused."""

import itertools

import numpy as np
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from label_server.datastore import seg_reader
from labelpod_common.labels import parse
from tests.support import segs
from tests.support.ct import ct
from tests.support.segs import Painted, View

LABELS = parse("nodule1:1,nodule2:1,mass:2")
_VIEWS = st.builds(
    View,
    st.sampled_from(list(itertools.permutations(range(3)))),
    st.tuples(*[st.sampled_from((1, -1))] * 3),
)
_KINDS = st.sampled_from(["BINARY", "LABELMAP", "FRACTIONAL"])


def _turned(image: sitk.Image, angle: float) -> sitk.Image:
    """The image on an oblique grid, turned about the axis of the patient."""
    cos, sin = np.cos(angle), np.sin(angle)
    image.SetDirection((cos, -sin, 0, sin, cos, 0, 0, 0, 1))
    return image


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    voxels=arrays.arrays(np.uint8, ct().shape, elements=st.integers(0, 3), fill=st.just(0)),
    view=_VIEWS,
    kind=_KINDS,
    all_frames=st.booleans(),
    angle=st.floats(-0.5, 0.5),
    shuffle=st.randoms(use_true_random=False),
)
def test_what_is_painted_comes_back_from_any_seg(
    voxels: NDArray[np.uint8], view: View, kind: str, all_frames: bool, angle: float, shuffle
):
    if not voxels.any():
        voxels[0, 0, 0] = 1
    image = _turned(segs.volume(ct()), angle)
    names = [label.name for label in LABELS]
    shuffle.shuffle(names)
    values = {label.name: label.value for label in LABELS}
    most = 200 if kind == "FRACTIONAL" else 1
    painted = [Painted(name, (voxels == values[name]) * np.uint8(most), None) for name in names]
    seg = segs.make(ct(), *painted, kind=kind, view=view, all_frames=all_frames, image=image)
    if kind == "BINARY":
        order = list(range(seg.NumberOfFrames))
        shuffle.shuffle(order)
        segs.reordered(seg, order)
    assert np.array_equal(seg_reader.read_foreign([[seg]], image, LABELS, False), voxels)


def test_a_cosine_that_is_almost_nothing_is_none():
    """ITK makes numbers that are none of it; 8000 examples by hand have found it, and nothing else."""
    image, voxels = _turned(segs.volume(ct()), 5e-324), np.zeros(ct().shape, np.uint8)
    voxels[2, 3:9, 4] = 1
    seg = segs.make(ct(), Painted("nodule1", voxels, None), image=image)
    assert np.array_equal(seg_reader.read_foreign([[seg]], image, LABELS, False), voxels)

"""Almost good DICOM and lists of the PACS, which the server reads in its own process: read, or refused."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from label_server.datastore import ct_to_nifti, dicom_files, seg_reader, seg_writer
from label_server.datastore.label_values import LabelError
from label_server.dicomweb.own_labels import OwnLabels
from label_server.dicomweb.series_index import SeriesIndex
from label_server.errors import Refused
from labelpod_common import labels
from labelpod_common.dicom.header import is_uid
from tests.support.attacks import deflated
from tests.support.ct import ct, written
from tests.support.mutations import brief, mutated

LABELS = labels.parse("nodule1:1,nodule2:1")


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> sitk.Image:
    """The image of the series, and beside its file the slices."""
    slices = [ct_to_nifti.Slices().of(content)[1] for content in ct().files]
    path = tmp_path_factory.mktemp("volume") / "volume.nii.gz"
    assert ct_to_nifti.write(slices, path)
    return sitk.ReadImage(str(path))


@pytest.fixture(scope="module")
def seg(volume: sitk.Image, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("slices")
    for number, content in enumerate(ct().files):
        (folder / f"{number}.dcm").write_bytes(content)
    voxels = np.zeros(ct().shape, np.uint8)
    voxels[1:4, 2:9, 3:5], voxels[2, 12, 12] = 1, 2
    return written(seg_writer.write(voxels, volume, folder, LABELS, {1: "nodule1", 2: "nodule2"}, "anna"))


@brief
@given(mutated([ct().files[0], deflated(ct().files[0], 0)], header=2000))
def test_an_almost_good_slice_is_read_left_to_itk_or_refused(content: bytes):
    try:
        header, _ = ct_to_nifti.Slices().of(content)
    except Refused:
        return
    assert is_uid(header.sop_uid)


def test_an_almost_good_seg_is_read_or_refused(volume: sitk.Image, seg: bytes):
    @brief
    @given(mutated([seg], header=len(seg)))
    def check(content: bytes) -> None:
        try:
            read = seg_reader.read(dicom_files.read(content), volume, LABELS)
        except (Refused, LabelError):
            return
        assert read.shape == ct().shape

    check()


# --- lists ---

_TAGS = ["0020000D", "0020000E", "00080060", "00201209", "00100020", "00700084", "00081250", "00081115"]
_TAGS += ["0040A170", "00080119", "00080023"]
_VALUES = st.none() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(["1.2", "1.2:é", "\ud800:x"])


def _elements(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    values = st.fixed_dictionaries({"vr": st.just("SQ"), "Value": st.lists(inner, max_size=2) | inner})
    return st.dictionaries(st.sampled_from(_TAGS), values | inner, max_size=6)


_ENTRIES = st.recursive(_VALUES | st.just({"Alphabetic": 3}), _elements, max_leaves=12)


class Odd:
    """A DICOMweb server that lists whatever it is told."""

    base_url = "http://pacs/other"
    _session = None

    def __init__(self, listed: list[Any]) -> None:
        self._listed = listed

    def search_for_series(self, **_: Any) -> list[Any]:
        return self._listed

    def retrieve_series_metadata(self, *_: str) -> list[Any]:
        return self._listed


@cache
def own(folder: Path) -> OwnLabels:
    return OwnLabels("the stack's key", folder, "http://pacs")


def test_entries_of_any_kind_stop_no_list(tmp_path: Path):
    @brief
    @given(st.lists(_ENTRIES, max_size=3))
    def check(listed: list[Any]) -> None:
        index = SeriesIndex(Odd(listed), own(tmp_path), {}, 0)  # type: ignore[arg-type]
        assert len(index.images()) <= len(listed) and len(index.labels()) <= len(listed)
        assert all(index._lists.images[uid].instances >= 0 for uid in index.images())
        assert index.labels_of("1.2") is not None and (index.look_up("1.2") or True)

    check()

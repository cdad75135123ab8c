"""DICOM SEGs of other programs in Orthanc: what its DICOMweb tells of them is enough to know whose they are."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
import SimpleITK as sitk
from pydicom import Dataset

from tests.support import segs
from tests.support.annotator import Annotator
from tests.support.ct import ct, read, written
from tests.support.pacs import Pacs
from tests.support.segs import LIVER, Painted
from tests.support.waiting import eventually

VOXELS = np.zeros(ct().shape, bool)
VOXELS[2:4, 4:9, 5:7] = True


@pytest.fixture
def image(pacs: Pacs, annotator: Annotator, tmp_path: Path) -> Iterator[str]:
    """A small CT, and another beside it; none of them is offered any more when the next test begins."""
    eventually(lambda: annotator.total() == 0, 10, "what earlier tests stored is gone")
    for each in (ct(), ct(2)):
        for number, file in enumerate(each.files):
            (tmp_path / f"{each.uid}.{number}.dcm").write_bytes(file)
    pacs.store(tmp_path)
    yield ct().uid
    pacs.delete_everything()
    eventually(lambda: annotator.total() == 0, 10, "they are gone")


def put(pacs: Pacs, segment: Painted, change: Callable[[Dataset], None] = lambda _: None) -> str:
    seg = segs.make(ct(), segment, change=change)
    pacs.session.post(f"{pacs.url}/instances", data=written(seg), timeout=30).raise_for_status()
    return str(seg.SeriesInstanceUID)


def by_series(seg: Dataset) -> None:
    pass


def by_images(seg: Dataset) -> None:
    del seg.ReferencedSeriesSequence
    source, derived = Dataset(), Dataset()
    source.ReferencedSOPInstanceUID = read(ct().files[0]).SOPInstanceUID
    derived.SourceImageSequence = [source]
    for group in seg.PerFrameFunctionalGroupsSequence:
        group.DerivationImageSequence = [derived]


def by_frame_of_reference(seg: Dataset) -> None:
    del seg.ReferencedSeriesSequence


@pytest.mark.parametrize("reference", [by_series, by_images, by_frame_of_reference], ids=lambda each: each.__name__)
def test_orthanc_tells_which_image_a_label_is_of(annotator: Annotator, pacs: Pacs, image: str, reference):
    put(pacs, Painted("Nodule", VOXELS), reference)
    eventually(lambda: annotator.completed() == 1, 10, "the label counts")
    assert np.array_equal(sitk.GetArrayFromImage(annotator.stored_label(image)), VOXELS)


def test_orthanc_tells_which_segments_a_label_has(annotator: Annotator, pacs: Pacs, image: str):
    organ = put(pacs, Painted("Liver", VOXELS, LIVER))

    def told() -> list[dict[str, str]] | None:
        listed = requests.get(f"{annotator.url}/datastore/?output=all", timeout=30).json()["objects"]
        return listed.get(image, {}).get("left_out")

    reason = "the label list has none of its segments: Liver"
    eventually(lambda: told() == [{"SeriesInstanceUID": organ, "reason": reason}], 10, "it is named with the reason")
    assert annotator.completed() == 0

"""Which DICOM SEGs of other programs are labels, of which image, and what is said of those that are not."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import generate_uid

from label_server.datastore import label_check, stored_labels
from label_server.datastore.unread_labels import Unread, UnreadLabels
from label_server.dicomweb import series_index
from label_server.dicomweb.foreign_labels import LabelRules
from tests.support import segs
from tests.support.ct import Ct, ct, read, written
from tests.support.dicomweb import Pacs
from tests.support.labels import counted, ok, painted
from tests.support.segs import LIVER, Painted
from tests.support.waiting import eventually
from tests.support.web import Server

ONE, TWO = painted() == 2, painted() == 3


def put(pacs: Pacs, *segments: Painted, of: Ct | None = None, **more: Any) -> str:
    """Store a SEG of another program; its series."""
    seg = segs.make(of or ct(), *(segments or (Painted("Nodule", ONE),)), **more)
    pacs.take(written(seg))
    return str(seg.SeriesInstanceUID)


def label(server: Server, uid: str) -> NDArray[Any]:
    return server.label(uid)


def told(server: Server, uid: str) -> list[dict[str, str]]:
    """What is said of the labels of an image that do not count."""
    return server.ask("GET", "/datastore/?output=all", "anna").json()["objects"][uid].get("left_out", [])


def offered(server: Server) -> str:
    answer = server.ask("POST", "/activelearning/first", "anna", json={})
    ok(answer)
    return answer.json().get("id", "")


# --- of which image ---


def by_series(seg: Dataset) -> None:
    pass


def by_images(seg: Dataset, where: str) -> None:
    del seg.ReferencedSeriesSequence
    sources = []
    for file in ct().files:
        source = Dataset()
        source.ReferencedSOPInstanceUID = read(file).SOPInstanceUID
        sources.append(source)
    derived, kept = Dataset(), Dataset()
    derived.SourceImageSequence = sources[:1]
    kept.DerivationImageSequence = [derived]
    if where == "seg":
        seg.SourceImageSequence = sources
    elif where == "shared":
        seg.SharedFunctionalGroupsSequence[0].update(kept)
    else:
        for group in seg.PerFrameFunctionalGroupsSequence:
            group.update(kept)


def by_images_of_all_frames(seg: Dataset) -> None:
    by_images(seg, "shared")


def by_images_frame_by_frame(seg: Dataset) -> None:
    by_images(seg, "frame")


def by_images_of_the_whole(seg: Dataset) -> None:
    by_images(seg, "seg")


def by_frame_of_reference(seg: Dataset) -> None:
    del seg.ReferencedSeriesSequence


REFERENCES = [
    by_series,
    by_images_of_all_frames,
    by_images_frame_by_frame,
    by_images_of_the_whole,
    by_frame_of_reference,
]


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda each: each.__name__.replace("_", " "))
@pytest.mark.parametrize("first", ["image", "label"])
def test_a_label_is_of_the_image_that_it_refers_to(
    server: Server, pacs: Pacs, reference: Callable[[Dataset], None], first: str
):
    """Whichever comes first."""
    pacs.store(ct(2))
    if first == "image":
        pacs.store(ct())
    assert counted(server)[0] == 0
    put(pacs, change=reference)
    assert counted(server)[0] == (first == "image")
    pacs.store(ct())
    assert counted(server) == (1, 2)
    assert np.array_equal(label(server, ct().uid) == 1, ONE)


def another_series_of_the_study(of: Ct) -> Ct:
    uid, files = generate_uid(), []
    for file in of.files:
        header = read(file)
        header.SeriesInstanceUID, header.SOPInstanceUID = uid, generate_uid()
        header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
        files.append(written(header))
    return Ct(str(uid), of.study_uid, tuple(files))


def test_a_frame_of_reference_that_two_images_have_says_not_of_which_it_is(server: Server, image: Ct, pacs: Pacs):
    pacs.store(another_series_of_the_study(image))
    bad = put(pacs, change=by_frame_of_reference)
    assert counted(server) == (0, 2)
    assert told(server, image.uid) == [{"SeriesInstanceUID": bad, "reason": "it is of no image that is offered"}]


def test_a_label_of_a_series_that_is_not_here_is_of_no_other(server: Server, image: Ct, pacs: Pacs):
    def elsewhere(seg: Dataset) -> None:
        seg.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3"

    put(pacs, change=elsewhere)
    assert counted(server) == (0, 1)


# --- whether it is a label ---


def test_an_organ_is_no_label_of_a_nodule_everywhere(server: Server, image: Ct, pacs: Pacs, label_app: Any):
    """The lists, next sample, the training and the label itself say the same."""
    organ = put(pacs, Painted("Liver", ONE, LIVER))
    reason = "the label list has none of its segments: Liver"
    assert counted(server) == (0, 1) and offered(server) == image.uid
    assert told(server, image.uid) == [{"SeriesInstanceUID": organ, "reason": reason}]
    assert label_app.datastore().trainable() == ([], [])
    assert server.ask("GET", f"/datastore/label?label={image.uid}&tag=final", "anna").status_code == 404
    assert server.ask("GET", "/datastore/", "anna").json().get("unread_labels") is None


@pytest.mark.parametrize("segment", [Painted("Nodule2", ONE, None), Painted("läsion", ONE)], ids=["name", "code"])
def test_a_nodule_by_name_or_code_is_a_label(server: Server, image: Ct, pacs: Pacs, segment: Painted):
    put(pacs, segment, Painted("Liver", TWO, LIVER))
    assert counted(server) == (1, 1) and offered(server) == ""
    assert np.array_equal(label(server, image.uid) > 0, ONE)


def test_an_organ_is_a_label_if_any_is(
    server: Server, image: Ct, pacs: Pacs, label_app: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(label_app.datastore()._index, "_rules", LabelRules())
    monkeypatch.setattr(stored_labels, "_ANY_NAME", True)
    put(pacs, Painted("Liver", ONE, LIVER))
    assert counted(server) == (1, 1)
    assert np.array_equal(label(server, image.uid) == 4, ONE)


# --- several ---


def test_what_one_maker_stored_belongs_together_and_the_newest_maker_counts(server: Server, image: Ct, pacs: Pacs):
    put(pacs, Painted("Nodule", painted(1) == 2), ContentCreatorName="Reader2", ContentDate="20240101")
    put(pacs, Painted("Nodule", ONE, tracking="a"), ContentCreatorName="Reader1", ContentDate="20250101")
    put(pacs, Painted("Nodule", TWO, tracking="b"), ContentCreatorName="Reader1", ContentDate="20250102")
    assert counted(server) == (1, 1)
    assert np.array_equal(label(server, image.uid), np.where(TWO, 1, np.where(ONE, 2, 0)))
    put(pacs, Painted("nodule3", painted(1) == 2), ContentCreatorName="Reader2", ContentDate="20250201")
    assert np.array_equal(label(server, image.uid) > 0, painted(1) == 2)


def test_ours_counts_before_any_set_of_others(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, painted(1)))
    put(pacs, Painted("Nodule", ONE))
    assert np.array_equal(label(server, image.uid), painted(1))


def test_an_instance_that_comes_to_a_series_later_is_read_too(
    server: Server, image: Ct, pacs: Pacs, monkeypatch: pytest.MonkeyPatch
):
    """A scanner's node sends them one by one; only the series is news to Orthanc."""
    series = put(pacs, Painted("Liver", ONE, LIVER))
    assert counted(server) == (0, 1)
    put(pacs, Painted("nodule1", ONE), SeriesInstanceUID=series)
    monkeypatch.setattr(series_index, "_SETTLED_SECONDS", 0.0)
    assert counted(server) == (1, 1) and np.array_equal(label(server, image.uid), ONE)
    assert told(server, image.uid) == []


# --- what cannot be read ---


def beside_the_grid(seg: Dataset) -> None:
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = [3 * value for value in measures.PixelSpacing]


def without_segments(seg: Dataset) -> None:
    del seg.SegmentSequence


@pytest.mark.parametrize(
    "change", [beside_the_grid, without_segments], ids=lambda each: each.__name__.replace("_", " ")
)
def test_what_cannot_be_read_is_named_and_is_no_label(
    server: Server, image: Ct, pacs: Pacs, label_app: Any, change: Callable[[Dataset], None]
):
    pacs.store(ct(2))
    ok(server.submit(ct(2).uid, painted()))
    bad = put(pacs, change=change)
    entries, left_out = label_app.datastore().trainable()
    assert len(entries) == 1 and [each["image"] for each in left_out] == [image.uid]
    reason = left_out[0]["reason"]
    assert "frames are" in reason or "cannot be read" in reason
    assert counted(server) == (1, 2) and offered(server) == image.uid
    assert told(server, image.uid) == [{"SeriesInstanceUID": bad, "reason": reason}]
    named = server.ask("GET", "/datastore/", "anna").json()["unread_labels"]
    assert named == [{"image": image.uid, "SeriesInstanceUID": bad, "reason": reason}]
    answer = server.ask("GET", f"/datastore/label?label={image.uid}&tag=final", "anna")
    assert answer.status_code == 422 and reason in answer.json()["detail"]
    assert answer.headers["x-label-of"] == "another program"
    ok(server.submit(image.uid, painted()))
    assert np.array_equal(label(server, image.uid), painted()) and bad in pacs.series
    pacs.delete(bad)
    assert told(server, image.uid) == []


def test_what_cannot_be_read_is_found_before_anybody_reads_it(server: Server, image: Ct, pacs: Pacs):
    """And without the image."""
    good = put(pacs, Painted("Nodule", ONE), ContentCreatorName="Reader2", ContentDate="20240101")
    bad = put(pacs, change=beside_the_grid)
    counted(server)
    eventually(lambda: [each["SeriesInstanceUID"] for each in told(server, image.uid)] == [bad], 5, "it is named")
    assert counted(server) == (1, 1) and good in pacs.series
    assert not pacs.requests("GET", f".*/series/{image.uid}"), "the image was not fetched"


def test_a_label_that_came_before_its_last_slices_counts_when_they_are_there(
    server: Server, image: Ct, pacs: Pacs, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(label_check, "_AGAIN_SECONDS", 0.0)
    files = dict(pacs.series[image.uid])
    for uid in list(files)[3:]:
        del pacs.series[image.uid][uid]
    put(pacs, Painted("Nodule", painted(2) == 2))
    eventually(lambda: counted(server) == (0, 1), 5, "it lies outside of what is there")
    pacs.series[image.uid] = files
    eventually(lambda: counted(server) == (1, 1), 5, "it counts")


def test_the_data_set_says_what_it_leaves_out(server: Server, image: Ct, pacs: Pacs):
    put(pacs, change=beside_the_grid)
    answer = server.ask("GET", "/datastore/dataset", "admin")
    assert answer.status_code == 404 and answer.json() == {"detail": "No image has a label that can be read"}
    pacs.store(ct(2))
    ok(server.submit(ct(2).uid, painted()))
    answer = server.ask("GET", "/datastore/dataset", "admin")
    ok(answer)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert (
            f"label/{ct(2).uid}.nii.gz" in archive.namelist() and f"label/{image.uid}.nii.gz" not in archive.namelist()
        )
        (left_out,) = json.loads(archive.read("left_out.json"))
    assert left_out["image"] == image.uid and "frames are" in left_out["reason"]


def test_what_came_last_counts_whatever_its_clock_said(server: Server, image: Ct, pacs: Pacs):
    put(pacs, Painted("Nodule", ONE), ContentCreatorName="Reader1", ContentDate="20250101")
    put(pacs, Painted("Nodule", TWO), ContentCreatorName="Reader2", ContentDate="20190101")
    assert np.array_equal(server.label(image.uid) > 0, TWO)


def test_an_older_label_counts_if_the_newest_cannot_be_read(server: Server, image: Ct, pacs: Pacs):
    put(pacs, Painted("Nodule", ONE), ContentCreatorName="Reader2", ContentDate="20240101")
    put(pacs, ContentCreatorName="Reader1", change=beside_the_grid)
    assert np.array_equal(label(server, image.uid) == 1, ONE)
    assert counted(server) == (1, 1) and len(told(server, image.uid)) == 1


def test_of_a_makers_series_the_others_are_read_without_the_bad_one(server: Server, image: Ct, pacs: Pacs):
    put(pacs, Painted("Nodule", ONE))
    put(pacs, change=beside_the_grid)
    assert np.array_equal(label(server, image.uid) == 1, ONE) and len(told(server, image.uid)) == 1


def test_what_a_training_finds_is_known_to_the_server(tmp_path: Path):
    """It is a process of its own; and another label list gives each another chance."""
    file = tmp_path / "unread.json"
    here, there = (UnreadLabels(file, "one list") for _ in range(2))
    assert here.all() == {}
    there.add(Unread("1.2", "1.3", "why"))
    assert here.all() == {"1.3": Unread("1.2", "1.3", "why")}
    assert UnreadLabels(file, "another list").all() == {}
    file.write_text("[")
    assert UnreadLabels(file, "one list").all() == {}

"""DICOM SEGs that others store: what they cannot do to the labels of this stack, its lists and trainings."""

import logging
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, generate_uid

from label_server.datastore import dicom_files, seg_reader
from labelpod_common import label_key
from tests.support import app, web
from tests.support.ct import Ct, ct, written
from tests.support.dicomweb import Pacs
from tests.support.labels import counted, ok, painted
from tests.support.web import Server


def forged(pacs: Pacs, image: Ct, **more: Any) -> Dataset:
    """A copy of our only SEG, empty and from the end of time, that says that it is ours."""
    seg = deepcopy(pacs.segmentations(image.uid)[0])
    seg.SeriesInstanceUID, seg.SOPInstanceUID = generate_uid(), generate_uid()
    seg.ContentDate, seg.PixelData = "99991231", bytes(len(seg.PixelData))
    for name, value in more.items():
        setattr(seg, name, value)
    seg.file_meta.MediaStorageSOPInstanceUID = seg.SOPInstanceUID
    pacs.take(written(seg))
    return seg


def test_a_forged_label_displaces_none_and_is_nobodys_to_replace(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, painted()))
    false = forged(pacs, image)
    assert np.array_equal(server.label(image.uid), painted())
    ok(server.submit(image.uid, painted(1)))
    assert np.array_equal(server.label(image.uid), painted(1))
    assert str(false.SeriesInstanceUID) in pacs.series and len(pacs.segmentations(image.uid)) == 2


def test_of_other_programs_labels_one_from_the_future_does_not_win(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, painted()))
    ours = pacs.segmentations(image.uid)[0]
    forged(pacs, image, Manufacturer="another")
    forged(pacs, image, Manufacturer="another", ContentDate="20250101", PixelData=ours.PixelData)
    pacs.delete(str(ours.SeriesInstanceUID))
    assert np.array_equal(server.label(image.uid), painted())


def test_an_instance_put_beside_our_label_is_not_read(server: Server, image: Ct, pacs: Pacs, label_app: Any):
    ok(server.submit(image.uid, painted()))
    ours = pacs.segmentations(image.uid)[0]
    forged(pacs, image, SeriesInstanceUID=ours.SeriesInstanceUID, SOPInstanceUID="1.2.3")
    files = pacs.series[str(ours.SeriesInstanceUID)]
    sent = dict(reversed(files.items()))  # Orthanc sends them in an order of its own
    pacs.series[str(ours.SeriesInstanceUID)] = sent
    store = label_app.datastore()
    (series,) = [each for each in store._index.labels_of(image.uid) if each.own]
    assert str(store._stored._instances(series)[0].SOPInstanceUID) == str(ours.SOPInstanceUID)


def without_position(seg: Dataset) -> None:
    for group in seg.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence


def without_segments(seg: Dataset) -> None:
    del seg.SegmentSequence


def of_half_the_voxels(seg: Dataset) -> None:
    seg.PixelData = seg.PixelData[: len(seg.PixelData) // 4 * 2]


def of_too_many_frames(seg: Dataset) -> None:
    seg.NumberOfFrames = 2**31 - 1


def of_frames_that_are_too_large(seg: Dataset) -> None:
    seg.Rows = seg.Columns = 65535


def of_one_frame_again_and_again(seg: Dataset) -> None:
    first = seg.PerFrameFunctionalGroupsSequence[0]
    seg.PerFrameFunctionalGroupsSequence = [first] * 400
    seg.NumberOfFrames = 400


def of_colours(seg: Dataset) -> None:
    seg.SamplesPerPixel, seg.PhotometricInterpretation, seg.PlanarConfiguration = 3, "RGB", 0


def of_a_bomb(seg: Dataset) -> None:
    seg.add_new((0x0009, 0x0010), "LO", "SOMEBODY")
    seg.add_new((0x0009, 0x1001), "OB", bytes(3 * 2**20))
    seg.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian


ODD = [
    *(without_position, without_segments, of_half_the_voxels),
    *(of_too_many_frames, of_frames_that_are_too_large, of_one_frame_again_and_again, of_colours, of_a_bomb),
]


@pytest.mark.parametrize("change", ODD, ids=lambda change: change.__name__.replace("_", " "))
def test_an_odd_seg_stops_no_training(
    server: Server,
    image: Ct,
    pacs: Pacs,
    label_app: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[..., None],
):
    monkeypatch.setattr(dicom_files, "_MOST_INFLATED", 2**20)
    pacs.store(ct(2))
    for uid in (image.uid, ct(2).uid):
        ok(server.submit(uid, painted()))
    seg = forged(pacs, image, ContentDate="20250101", Manufacturer="another")
    pacs.delete(str(pacs.segmentations(image.uid)[0].SeriesInstanceUID))
    change(seg)
    pacs.take(written(seg))
    with caplog.at_level(logging.WARNING):
        (entry,) = label_app.datastore().datalist()
    assert Path(entry["image"]).name == f"{ct(2).uid}.nii.gz"
    assert f"Left out of the training: {image.uid}" in caplog.text
    answer = server.ask("GET", f"/datastore/label?label={image.uid}&tag=final", "anna")
    assert answer.status_code == 422, answer.text


def test_a_seg_whose_frames_would_fill_the_memory_is_not_decoded(
    server: Server, image: Ct, pacs: Pacs, monkeypatch: pytest.MonkeyPatch
):
    ok(server.submit(image.uid, painted()))
    forged(pacs, image, ContentDate="20250101", Manufacturer="another")
    pacs.delete(str(pacs.segmentations(image.uid)[0].SeriesInstanceUID))
    monkeypatch.setattr(seg_reader, "MAX_VOLUME_BYTES", 2**10)
    answer = server.ask("GET", f"/datastore/label?label={image.uid}&tag=final", "anna")
    assert answer.status_code == 422 and "take more than" in answer.text, answer.text


def test_a_label_is_deleted_with_a_permit_besides_the_login(server: Server, image: Ct, pacs: Pacs, tmp_path: Path):
    for first in (0, 1):
        ok(server.submit(image.uid, painted(first)))
    (asked,) = pacs.requests("DELETE", "/series/.*")
    key = (tmp_path / "label_key").read_text()
    assert asked.headers["x-labelpod-deletion"] == label_key.deletion(key)


# --- before there were seals ---


def unsealed(pacs: Pacs, image: Ct) -> None:
    """Our only label as it was stored before there were seals."""
    (seg,) = pacs.segmentations(image.uid)
    seg.RelatedSeriesSequence[0].PurposeOfReferenceCodeSequence = []
    pacs.take(written(seg))


@pytest.mark.parametrize("shares", [True, False], ids=["a shared folder", "an empty workspace"])
def test_a_label_server_that_starts_later_takes_no_forged_label_for_ours(
    server: Server, label_app: Any, image: Ct, pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shares: bool
):
    """Each took over what said that it is ours at its own first start."""
    ok(server.submit(image.uid, painted()))
    (ours,) = pacs.segmentations()
    forged(pacs, image, ContentDate=f"{datetime.now():%Y%m%d}", ContentTime="235959.999999")
    monkeypatch.setenv("ROLE", "annotate")
    if shares:
        monkeypatch.setenv("SHARED", str(tmp_path))
    later = app.beside(label_app, tmp_path / "later", monkeypatch)
    assert later.datastore().labels()[image.uid].uid == str(ours.SeriesInstanceUID)
    assert not (tmp_path / "later" / "labels_before_seals.json").exists()


def test_labels_from_before_there_were_seals_are_ours_at_every_label_server(
    pacs: Pacs, image: Ct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    restarted(pacs, tmp_path, lambda server: ok(server.submit(image.uid, painted())))
    unsealed(pacs, image)
    (tmp_path / "labels_before_seals.json").unlink()
    restarted(pacs, tmp_path, counted)
    monkeypatch.setenv("SHARED", str(tmp_path))
    monkeypatch.setenv("ROLE", "annotate")
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "label_key").write_text((tmp_path / "label_key").read_text())
    second = app.load(tmp_path / "second", pacs.url, monkeypatch)
    assert second.datastore().labels()[image.uid].own


def restarted(pacs: Pacs, folder: Path, work: Callable[[Server], Any]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        app.load(folder, pacs.url, patch)
        with web.running(web.users(folder)) as server:
            return work(server)


def test_labels_from_before_there_were_seals_are_taken_over_once(pacs: Pacs, image: Ct, tmp_path: Path):
    restarted(pacs, tmp_path, lambda server: ok(server.submit(image.uid, painted())))
    unsealed(pacs, image)
    (tmp_path / "labels_before_seals.json").unlink()

    def work(server: Server) -> None:
        assert counted(server) == (1, 1) and np.array_equal(server.label(image.uid), painted())
        unsealed_later = forged(pacs, image)
        ok(server.submit(image.uid, painted(1)))
        left = {str(each.SeriesInstanceUID) for each in pacs.segmentations(image.uid)}
        assert len(left) == 2 and str(unsealed_later.SeriesInstanceUID) in left, "the old one was replaced"
        assert np.array_equal(server.label(image.uid), painted(1))

    restarted(pacs, tmp_path, work)

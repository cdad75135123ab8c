"""The label server believes the DICOMweb server: images that arrive, change and go there, and such as are none."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset

from label_server.datastore import pacs_images
from label_server.datastore.judging import Judging
from tests.support import app, web
from tests.support.ct import SLICES, Ct, ct, read, written
from tests.support.dicomweb import Pacs
from tests.support.labels import ok
from tests.support.web import Server


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A series is complete after a moment."""
    monkeypatch.setattr(pacs_images, "SERIES_QUIET_SECONDS", 0)
    monkeypatch.setattr(pacs_images, "_POLL_SECONDS", 0.05)


def first(image: Ct, slices: int) -> Ct:
    return Ct(image.uid, image.study_uid, image.files[:slices])


def changed(image: Ct, number: int, **values: object) -> bytes:
    slice_ = read(image.files[number])
    for keyword, value in values.items():
        setattr(slice_, keyword, value)
    return written(slice_)


def total(server: Server) -> int:
    return int(server.ask("GET", "/info/", "anna").json()["datastore"]["total"])


def left_out(server: Server) -> dict[str, str]:
    return dict(server.ask("GET", "/info/", "anna").json()["datastore"]["left_out"])


def next_image(server: Server, user: str = "anna") -> dict[str, object]:
    answer = server.ask("POST", "/activelearning/first", user, json={})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def traces(folder: Path, uid: str) -> list[Path]:
    return [path for path in folder.glob(f"cache/**/*{uid}*") if not path.name.endswith(".lock")]


# --- arriving ---


def test_a_series_of_which_more_may_come_is_offered_to_nobody(server: Server, pacs: Pacs, image: Ct):
    pacs.arriving.add(image.uid)
    assert total(server) == 0 and left_out(server) == {image.uid: "its slices still arrive"}
    told = {"labelled": 0, "skipped": 0, "on_loan": 0, "left_out": {image.uid: "its slices still arrive"}}
    assert next_image(server) == told
    answer = server.ask("GET", f"/datastore/image?image={image.uid}", "anna")
    assert answer.status_code == 503 and "still arrive" in answer.text and answer.headers["retry-after"]
    pacs.arriving.clear()
    assert total(server) == 1 and next_image(server)["id"] == image.uid


def test_who_asks_for_a_series_that_is_just_arriving_waits_for_it(
    server: Server, pacs: Pacs, image: Ct, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pacs_images, "SERIES_QUIET_SECONDS", 10)
    pacs.arriving.add(image.uid)
    threading.Timer(0.3, pacs.arriving.clear).start()
    assert server.image(image.uid).GetDepth() == SLICES


def test_slices_that_come_later_are_part_of_the_image(server: Server, pacs: Pacs):
    pacs.store(first(ct(1), 3))
    assert server.image(ct(1).uid).GetDepth() == 3
    pacs.store(ct(1))
    assert server.image(ct(1).uid).GetDepth() == SLICES
    ok(server.submit(ct(1).uid, np.ones(ct(1).shape)))


def test_slices_that_come_while_it_is_fetched_are_missing_in_no_image(
    server: Server, pacs: Pacs, label_app, monkeypatch: pytest.MonkeyPatch
):
    pacs.store(first(ct(1), 3))
    client = label_app.datastore()._client
    fetch = client.series_files

    def meanwhile(*of: str) -> list[bytes]:
        files = list(fetch(*of))
        pacs.store(ct(1))
        return files

    monkeypatch.setattr(client, "series_files", meanwhile)
    answer = server.ask("GET", f"/datastore/image?image={ct(1).uid}", "anna")
    assert answer.status_code == 503 and "changed while it was fetched" in answer.text


def test_a_series_that_arrives_under_two_patients_is_left_out_and_keeps_nobody_from_the_others(
    server: Server, pacs: Pacs, image: Ct, label_app
):
    other = ct(2)
    pacs.store(other)
    pacs.twice.add(other.uid)
    pacs.arriving.add(other.uid)
    Judging(label_app.datastore()).round()
    told = f"duplicate-series: the DICOMweb server has the series {other.uid} under 2 patients or studies"
    assert left_out(server) == {other.uid: told} and next_image(server)["id"] == image.uid
    answer = server.ask("GET", f"/datastore/image?image={other.uid}", "anna")
    assert answer.status_code == 400 and "under 2 patients or studies" in answer.text
    pacs.twice.clear()
    pacs.arriving.clear()
    Judging(label_app.datastore()).round()
    assert left_out(server) == {} and total(server) == 2


# --- changing ---


def test_a_slice_that_was_replaced_is_replaced_here(server: Server, pacs: Pacs, image: Ct):
    before = server.image(image.uid)
    pixels = np.zeros((24, 24), np.int16).tobytes()
    pacs.take(changed(image, 2, PixelData=pixels))
    after = server.image(image.uid)
    assert before[5, 5, 2] != after[5, 5, 2] and before[5, 5, 3] == after[5, 5, 3]


def test_a_slice_that_went_is_gone_here(server: Server, pacs: Pacs, image: Ct):
    server.image(image.uid)
    pacs.series[image.uid].popitem()
    assert server.image(image.uid).GetDepth() == SLICES - 1


def test_the_same_series_of_another_patient_is_fetched_again(server: Server, pacs: Pacs, image: Ct):
    server.image(image.uid)
    pacs.delete(image.uid)
    for number in range(SLICES):
        pacs.take(changed(image, number, PatientID="another"))
    ok(server.submit(image.uid, np.ones(image.shape)))
    (seg,) = pacs.segmentations(image.uid)
    assert seg.PatientID == "another"


def test_a_label_of_an_image_that_has_changed_is_kept_for_its_author(server: Server, pacs: Pacs):
    image = ct(1)
    pacs.store(first(image, 4))
    painted = web.written(server.image(image.uid) > 10000)
    pacs.store(image)
    asked = {"data": {"params": "{}"}, "files": {"label": ("label.nii.gz", painted)}}
    answer = server.ask("PUT", f"/datastore/label?image={image.uid}&tag=final", "anna", **asked)
    assert answer.status_code == 409 and "get it again" in answer.text
    (name,) = server.ask("GET", "/datastore/kept", "anna").json()
    assert name in answer.text
    assert server.ask("GET", f"/datastore/kept/{name}", "anna").content == painted
    assert server.ask("GET", f"/datastore/kept/{name}", "berta").status_code == 404
    assert server.ask("GET", "/datastore/kept", "berta").json() == []
    assert pacs.segmentations() == []
    ok(server.submit(image.uid, np.ones(image.shape)))


def test_a_label_that_one_label_server_has_kept_its_author_finds_at_another(
    pacs: Pacs, image: Ct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SHARED", str(tmp_path / "records"))
    first_app = app.load(tmp_path, pacs.url, monkeypatch)
    second = app.beside(first_app, tmp_path / "second", monkeypatch)
    with web.running(web.users(tmp_path)) as server:
        painted, painted_on = web.written(server.image(image.uid) > 10000), opened(server, image.uid)
        pacs.delete(image.uid)
        assert saved_on(server, image.uid, painted, painted_on).status_code == 409
        with app.asked(second):
            (name,) = server.ask("GET", "/datastore/kept", "anna").json()
            assert server.ask("GET", f"/datastore/kept/{name}", "anna").content == painted
            assert server.ask("GET", f"/datastore/kept/{name}", "berta").status_code == 404


def opened(server: Server, uid: str) -> str:
    """What the viewer, which gets its slices past the server, has painted on."""
    return server.ask("GET", f"/viewer/label?image={uid}", "anna").json()["content"]


def saved_on(server: Server, uid: str, label: bytes, painted_on: str) -> Any:
    address = f"/datastore/label?image={uid}&tag=final&painted_on={painted_on}"
    return server.ask("PUT", address, "anna", data={"params": "{}"}, files={"label": ("label.nii.gz", label)})


def test_what_a_save_says_of_its_image_counts_and_not_what_was_got_long_ago(server: Server, pacs: Pacs, image: Ct):
    painted = web.written(server.image(image.uid) > 10000)  # in Slicer, before a slice was replaced
    pacs.take(changed(image, 2, PixelData=np.zeros((24, 24), np.int16).tobytes()))
    ok(saved_on(server, image.uid, painted, opened(server, image.uid)))
    assert len(pacs.segmentations()) == 1


def test_what_was_painted_on_an_image_that_was_deleted_is_kept_for_its_author(server: Server, pacs: Pacs, image: Ct):
    painted, painted_on = web.written(server.image(image.uid) > 10000), opened(server, image.uid)
    pacs.delete(image.uid)
    answer = saved_on(server, image.uid, painted, painted_on)
    assert answer.status_code == 409 and len(server.ask("GET", "/datastore/kept", "anna").json()) == 1


@pytest.mark.parametrize("painted_on", ["1", "../x", "A" * 64, "0" * 63])
def test_what_is_no_content_of_an_image_is_refused_and_nothing_kept(server: Server, image: Ct, painted_on: str):
    for uid in (image.uid, "1"):
        assert saved_on(server, uid, b"x", painted_on).status_code == 400
    assert server.ask("GET", "/datastore/kept", "anna").json() == []


def test_what_was_painted_on_an_image_that_was_replaced_is_kept_for_its_author(server: Server, pacs: Pacs, image: Ct):
    painted_on = opened(server, image.uid)
    pacs.take(changed(image, 2, PixelData=np.zeros((24, 24), np.int16).tobytes()))
    painted = web.written(server.image(image.uid) > 10000)  # got again, but not by the viewer
    answer = saved_on(server, image.uid, painted, painted_on)
    assert answer.status_code == 409 and "get it again" in answer.text and pacs.segmentations() == []
    assert len(server.ask("GET", "/datastore/kept", "anna").json()) == 1
    ok(saved_on(server, image.uid, painted, opened(server, image.uid)))


@pytest.mark.parametrize("name", ["../anna/1", "%2e%2e%2fusers.json", "x", "1.2"])
def test_a_kept_label_has_a_plain_name(server: Server, name: str):
    assert server.ask("GET", f"/datastore/kept/{name}", "anna").status_code in (400, 404)


# --- gone ---


def test_what_is_deleted_there_is_gone_here_at_once(server: Server, pacs: Pacs, image: Ct, tmp_path: Path):
    pacs.store(ct(2))
    ok(server.submit(image.uid, np.ones(image.shape)))
    ok(server.submit(image.uid, np.ones(image.shape), tag="draft"))
    assert traces(tmp_path, image.uid)
    for uid in list(pacs.series):
        if uid != ct(2).uid:
            pacs.delete(uid)
    assert server.ask("GET", f"/datastore/image?image={image.uid}", "anna").status_code == 404
    assert server.ask("GET", f"/datastore/label?label={image.uid}&tag=draft", "anna").status_code == 404
    assert image.uid not in server.ask("GET", "/datastore/?output=all", "anna").text
    assert server.ask("GET", "/info/", "anna").json()["datastore"]["label_tags"] == {}
    assert traces(tmp_path, image.uid) == []


def test_the_lists_notice_it_as_well(server: Server, pacs: Pacs, image: Ct, tmp_path: Path):
    server.image(image.uid)
    assert total(server) == 1
    pacs.delete(image.uid)
    assert total(server) == 0 and traces(tmp_path, image.uid) == []


def test_what_was_deleted_while_the_server_was_down_is_gone_as_well(
    pacs: Pacs, image: Ct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for step in (lambda server: server.image(image.uid), lambda server: pacs.delete(image.uid), total):
        app.load(tmp_path, pacs.url, monkeypatch)
        with web.running(web.users(tmp_path)) as server:
            step(server)
    assert traces(tmp_path, image.uid) == []


def test_a_label_of_what_is_gone_makes_no_patient_again(server: Server, pacs: Pacs, image: Ct):
    painted = web.written(server.image(image.uid) > 10000)
    pacs.delete(image.uid)
    assert total(server) == 0
    asked = {"data": {"params": "{}"}, "files": {"label": ("label.nii.gz", painted)}}
    answer = server.ask("PUT", f"/datastore/label?image={image.uid}&tag=final", "anna", **asked)
    assert answer.status_code == 409 and "was deleted" in answer.text and pacs.series == {}
    (name,) = server.ask("GET", "/datastore/kept", "anna").json()
    assert server.ask("GET", f"/datastore/kept/{name}", "anna").content == painted


def test_a_label_of_what_goes_while_it_is_stored_makes_no_patient_again(
    server: Server, pacs: Pacs, image: Ct, label_app, monkeypatch: pytest.MonkeyPatch
):
    server.image(image.uid)
    client = label_app.datastore()._client
    store = client.store_instances

    def late(*of: object, **more: object) -> object:
        pacs.delete(image.uid)
        return store(*of, **more)

    monkeypatch.setattr(client, "store_instances", late)
    painted = sitk.GetImageFromArray(np.ones(image.shape, np.uint8))
    painted.CopyInformation(server.image(image.uid))
    asked = {"data": {"params": "{}"}, "files": {"label": ("label.nii.gz", web.written(painted))}}
    answer = server.ask("PUT", f"/datastore/label?image={image.uid}&tag=final", "anna", **asked)
    assert answer.status_code == 409 and "deleted" in answer.text and pacs.series == {}
    (name,) = server.ask("GET", "/datastore/kept", "anna").json()
    kept = web.nifti(server.ask("GET", f"/datastore/kept/{name}", "anna").content)
    assert np.array_equal(sitk.GetArrayFromImage(kept), np.ones(image.shape))


@pytest.mark.parametrize("method", ["_store_final", "image_to_label"])
def test_what_fails_because_an_image_goes_in_the_middle_of_it_is_said(
    server: Server, pacs: Pacs, image: Ct, label_app, monkeypatch: pytest.MonkeyPatch, method: str
):
    """Its files are gone, and ITK says something of a path."""
    painted = web.written(server.image(image.uid) > 10000)

    def fail(*_: object) -> None:
        pacs.delete(image.uid)
        raise RuntimeError("/cache/1.2.nii.gz does not exist")

    monkeypatch.setattr(label_app.datastore(), method, fail)
    asked = {"data": {"params": "{}"}, "files": {"label": ("label.nii.gz", painted)}}
    answer = server.ask("PUT", f"/datastore/label?image={image.uid}&tag=final", "anna", **asked)
    assert answer.status_code in (404, 409) and "was deleted" in answer.text and "cache" not in answer.text


# --- no images ---


def odd(seed: int, **values: object) -> Ct:
    files = [changed(ct(seed), number, **values) for number in range(SLICES)]
    return Ct(ct(seed).uid, ct(seed).study_uid, tuple(files))


def two_reconstructions(seed: int) -> Ct:
    files = [changed(ct(seed), number, ConvolutionKernel=f"B{number % 2}") for number in range(SLICES)]
    return Ct(ct(seed).uid, ct(seed).study_uid, tuple(files))


NO_IMAGES = {
    "localizer": odd(2, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    "single-slice": first(ct(3), 1),
    "mixed-reconstructions": two_reconstructions(4),
    "bad-orientation": odd(5, ImageOrientationPatient=[1, 0.02, 0, 0, 1, 0]),
    "missing-position": odd(6, ImagePositionPatient=None),
    "bad-rescale": odd(7, RescaleSlope="0"),
    "duplicate-slices": odd(8, ImagePositionPatient=[0, 0, 0]),
    "colour": odd(9, SamplesPerPixel=3, PixelData=bytes(3 * 2 * 24 * 24)),
}


@pytest.mark.parametrize("code", NO_IMAGES)
def test_one_that_is_no_image_keeps_nobody_from_the_others(server: Server, pacs: Pacs, image: Ct, code: str):
    bad = NO_IMAGES[code]
    pacs.store(bad)
    assert {next_image(server, user).get("id") for user in ("anna", "berta")} == {image.uid, None}
    assert left_out(server)[bad.uid].startswith(code) and total(server) == 1
    assert code in next_image(server, "berta")["left_out"][bad.uid]


def test_all_that_are_none_are_seen_without_anybody_asking(server: Server, pacs: Pacs, image: Ct, label_app):
    pacs.store(*NO_IMAGES.values())
    Judging(label_app.datastore()).round()
    assert total(server) == 1
    assert {uid: reason.partition(":")[0] for uid, reason in left_out(server).items()} == {
        bad.uid: code for code, bad in NO_IMAGES.items()
    }


def test_one_that_was_made_good_is_offered(server: Server, pacs: Pacs, label_app):
    pacs.store(first(ct(3), 1))
    judging = Judging(label_app.datastore())
    judging.round()
    assert total(server) == 0
    pacs.store(ct(3))
    assert total(server) == 1, "at once"
    judging.round()
    assert total(server) == 1


def test_a_localizer_is_offered_to_nobody_though_it_has_just_arrived(server: Server, pacs: Pacs):
    pacs.store(NO_IMAGES["localizer"])
    for _ in range(3):
        assert "id" not in next_image(server)
        pacs.changes.append(("StableSeries", NO_IMAGES["localizer"].uid))


def test_one_that_is_none_any_more_is_seen_without_anybody_asking(server: Server, pacs: Pacs, image: Ct, label_app):
    judging = Judging(label_app.datastore())
    judging.round()
    assert total(server) == 1
    pacs.store(two_reconstructions(1))
    judging.round()
    assert left_out(server)[image.uid].startswith("mixed-reconstructions")
    pacs.series[image.uid] = dict(list(pacs.series[image.uid].items())[:1])
    judging._again = 0
    judging.round()
    assert left_out(server)[image.uid].startswith("single-slice")


def test_a_restart_looks_at_nothing_twice(pacs: Pacs, image: Ct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for _ in range(2):
        Judging(app.load(tmp_path, pacs.url, monkeypatch).datastore()).round()
    assert len(pacs.requests("GET", r".*/metadata")) == 1


def test_a_labelled_image_that_is_none_stays_out_of_the_training(server: Server, pacs: Pacs, image: Ct, label_app):
    ok(server.submit(image.uid, np.ones(image.shape)))
    for number in range(SLICES):
        pacs.take(changed(image, number, ConvolutionKernel=f"B{number % 2}"))
    assert label_app.datastore().datalist() == []
    assert server.ask("GET", "/datastore/?output=train", "anna").json() == []


def test_a_series_that_the_pacs_cannot_send_keeps_nobody_from_the_others(
    server: Server, pacs: Pacs, image: Ct, monkeypatch: pytest.MonkeyPatch
):
    pacs.store(ct(2))
    pacs.unsendable.add(min(image.uid, ct(2).uid))
    assert next_image(server)["id"] == max(image.uid, ct(2).uid)
    assert "answers 500" in left_out(server)[min(image.uid, ct(2).uid)]


def test_compressed_slices_are_asked_for_as_they_are(server: Server, image: Ct, pacs: Pacs):
    """A DICOMweb server would otherwise transcode them, or say that it cannot."""
    server.image(image.uid)
    (asked,) = pacs.requests("GET", r".*/studies/[0-9.]+/series/[0-9.]+")
    assert "transfer-syntax=*" in asked.headers["accept"]


def test_metadata_and_files_are_judged_alike():
    for bad in NO_IMAGES.values():
        listed = []
        for content in bad.files:
            slice_: Dataset = read(content)
            del slice_.PixelData
            listed.append(slice_.to_json_dict())
        assert pacs_images._judged(listed).startswith(next(code for code, each in NO_IMAGES.items() if each is bad))

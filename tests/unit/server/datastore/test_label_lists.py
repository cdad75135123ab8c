"""Labels of several people, drafts, reviews, and the lists that tell of them."""

import io
import json
import os
import tempfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from monailabel.interfaces.exception import MONAILabelException

from label_server.dicomweb.client import DicomWebClient
from label_server.dicomweb.own_labels import OwnLabels
from label_server.dicomweb.series_index import SeriesIndex
from label_server.web import downloads
from tests.support import web
from tests.support.ct import Ct, ct
from tests.support.dicomweb import Pacs
from tests.support.labels import counted, ok, painted
from tests.support.web import Server

# --- whose label ---


def test_submitting_again_replaces_ones_own(server: Server, image: Ct, pacs: Pacs):
    for first in (0, 1):
        ok(server.submit(image.uid, painted(first)))
    assert len(pacs.segmentations(image.uid)) == 1 and counted(server) == (1, 1)
    assert np.array_equal(server.label(image.uid), painted(1))


def test_two_submits_at_once_leave_the_label(server: Server, image: Ct, pacs: Pacs, monkeypatch: pytest.MonkeyPatch):
    """As Slicer sends one again whose answer is late: neither takes back what the other has just stored."""
    server.image(image.uid)
    store, both_stored = DicomWebClient.store_instances, threading.Barrier(2)

    def store_and_wait(self: DicomWebClient, *given: Any, **more: Any) -> Any:
        answer = store(self, *given, **more)
        with suppress(threading.BrokenBarrierError):
            both_stored.wait(1)
        return answer

    monkeypatch.setattr(DicomWebClient, "store_instances", store_and_wait)
    with ThreadPoolExecutor() as pool:
        for answer in pool.map(lambda first: server.submit(image.uid, painted(first)), (0, 1)):
            ok(answer)
    assert len(pacs.segmentations(image.uid)) == 1 and counted(server) == (1, 1)
    assert any(np.array_equal(server.label(image.uid), painted(first)) for first in (0, 1))


def test_a_label_that_comes_while_the_lists_are_read_is_known(
    image: Ct, pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What is told to be forgotten during a reading is not taken for fresh when it ends."""
    pacs.store(image)
    own = OwnLabels("key", tmp_path, pacs.url)
    index, read = SeriesIndex(DicomWebClient(url=pacs.url), own, {"Modality": "CT"}, max_age=60), SeriesIndex._follow

    def read_as_one_comes(self: SeriesIndex, state: Any) -> Any:
        lists = read(self, state)
        if len(pacs.series) == 1:
            pacs.store(ct(7))
            self.forget()
        return lists

    monkeypatch.setattr(SeriesIndex, "_follow", read_as_one_comes)
    assert index.images() == [image.uid]
    assert sorted(index.images()) == sorted([image.uid, ct(7).uid])


def test_the_label_of_another_is_kept_and_the_newest_counts(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, painted(0), "anna"))
    ok(server.submit(image.uid, painted(1), "berta"))
    assert sorted(str(seg.ContentCreatorName) for seg in pacs.segmentations(image.uid)) == ["anna", "berta"]
    assert np.array_equal(server.label(image.uid), painted(1)) and counted(server) == (1, 1)


def test_what_the_pacs_does_not_let_go_is_replaced_all_the_same(server: Server, image: Ct, pacs: Pacs):
    pacs.keeps = True
    for first in (0, 1):
        ok(server.submit(image.uid, painted(first)))
    assert len(pacs.segmentations(image.uid)) == 2
    assert np.array_equal(server.label(image.uid), painted(1))


def test_a_deleted_label_is_gone_from_the_pacs(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, painted()))
    ok(server.ask("DELETE", f"/datastore/label?id={image.uid}&tag=final", "admin"))
    assert pacs.segmentations() == [] and counted(server) == (0, 1)
    assert server.ask("GET", f"/datastore/label?label={image.uid}&tag=final", "anna").status_code == 404
    assert server.ask("HEAD", f"/datastore/label?image={image.uid}&tag=final", "anna").status_code == 404


def test_a_label_that_the_pacs_keeps_is_not_said_to_be_deleted(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, painted()))
    pacs.keeps = True
    answer = server.ask("DELETE", f"/datastore/label?id={image.uid}&tag=final", "admin")
    assert answer.status_code == 400 and "does not let its label be deleted" in answer.json()["detail"]
    assert counted(server) == (1, 1)


def test_a_label_that_was_deleted_in_the_pacs_is_gone(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, painted()))
    pacs.delete(str(pacs.segmentations()[0].SeriesInstanceUID))
    assert server.ask("GET", f"/datastore/label?label={image.uid}&tag=final", "anna").status_code == 404
    assert counted(server) == (0, 1)


# --- other tags, reviews, lists ---


def test_a_draft_stays_in_the_cache(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, painted(), tag="original"))
    assert pacs.segmentations() == [] and counted(server) == (0, 1)
    assert np.array_equal(server.label(image.uid, tag="original"), painted())
    assert server.ask("GET", "/datastore/", "anna").json()["label_tags"] == {"original": 1}
    ok(server.ask("DELETE", f"/datastore/label?id={image.uid}&tag=original", "admin"))
    assert server.ask("GET", f"/datastore/label?label={image.uid}&tag=original", "anna").status_code == 404


def test_a_review_does_not_change_who_painted(server: Server, image: Ct):
    ok(server.submit(image.uid, painted(), "anna"))
    info = {
        "info": json.dumps(
            {"review": {"status": "approved", "comment": "see /x, $5"}, "user": "rita", "client_id": "x"}
        )
    }
    ok(server.ask("PUT", f"/datastore/label/info?label={image.uid}&tag=final", "rita", data=info))
    told = server.ask("GET", f"/datastore/label/info?label={image.uid}&tag=final", "anna").json()
    assert (told["user"], told["client_id"], told["reviewer"]) == ("anna", "anna", "rita")
    assert told["review"] == {"status": "approved", "comment": "see /x, $5"}


def test_the_training_list_is_made_again_only_for_new_labels(server: Server, pacs: Pacs):
    """Upstream's would fetch every labelled image first."""
    pacs.store(ct(1), ct(2))
    assert server.ask("GET", "/datastore/?output=train", "anna").json() == []
    ok(server.submit(ct(1).uid, painted()))
    asked = len(pacs.requests("GET", r".*/studies/[0-9.]+/series/[0-9.]+"))
    for _ in range(2):
        ((entry,)) = [server.ask("GET", "/datastore/?output=train", "anna").json()]
        assert [(Path(each["image"]).name, "labels/final" in each["label"]) for each in entry] == [
            (f"{ct(1).uid}.nii.gz", True)
        ]
    assert len(pacs.requests("GET", r".*/studies/[0-9.]+/series/[0-9.]+")) == asked


def test_a_trainings_data_is_fetched(server: Server, image: Ct, label_app, tmp_path: Path):
    ok(server.submit(image.uid, painted()))
    (entry,) = label_app.datastore().datalist()
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(entry["label"])), painted())
    assert Path(entry["image"]).exists()


def test_the_data_set_is_sent_and_not_kept(server: Server, image: Ct):
    """Upstream leaves each archive in the temporary folder, which is memory."""
    answer = server.ask("GET", "/datastore/dataset", "admin")
    assert answer.status_code == 404 and answer.json() == {"detail": "No image has a label"}
    ok(server.submit(image.uid, painted()))
    answer = server.ask("GET", "/datastore/dataset", "admin")
    ok(answer)
    names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert names == [f"image/{image.uid}.nii.gz", f"label/{image.uid}.nii.gz", "metadata.json"]
    assert [path for path in Path(tempfile.gettempdir()).iterdir() if path.is_file()] == []


def test_the_data_set_is_made_as_it_is_sent(server: Server, image: Ct, label_app: Any):
    """In /tmp, which is memory, there is never more than a piece of it."""
    ok(server.submit(image.uid, painted()))
    (entry,) = label_app.datastore().datalist()
    sizes = [Path(entry[kind]).stat().st_size for kind in ("image", "label")]
    pieces = list(
        downloads._zipped([(Path(entry["image"]), "image/x"), (Path(entry["label"]), "label/x")], {"a": "{}"})
    )
    assert len(pieces) == 3 and max(map(len, pieces)) < max(sizes) + 1000
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None and archive.read("label/x") == Path(entry["label"]).read_bytes()
    assert "content-length" not in server.ask("GET", "/datastore/dataset", "admin").headers


def test_the_data_set_of_labels_that_cannot_be_read_is_404(
    server: Server, image: Ct, pacs: Pacs, label_app: Any, monkeypatch
):
    ok(server.submit(image.uid, painted()))
    monkeypatch.setattr(label_app.datastore(), "trainable", lambda: ([], []))
    answer = server.ask("GET", "/datastore/dataset", "admin")
    assert answer.status_code == 404 and "can be read" in answer.json()["detail"]


def test_a_label_that_is_gone_from_the_pacs_is_in_no_list(server: Server, pacs: Pacs):
    """It stayed in the cache's own, and was counted."""
    pacs.store(ct(1), ct(2))
    for seed in (1, 2):
        ok(server.submit(ct(seed).uid, painted()))
        ok(server.submit(ct(seed).uid, painted(), tag="original"))
    (first, *_) = pacs.segmentations(ct(1).uid)
    pacs.delete(str(first.SeriesInstanceUID))
    listed = server.ask("GET", "/datastore/?output=all", "anna").json()["objects"]
    assert {uid: sorted(each["labels"]) for uid, each in listed.items()} == {
        ct(1).uid: ["original"],
        ct(2).uid: ["final", "original"],
    }
    assert server.ask("GET", "/datastore/", "anna").json()["label_tags"] == {"original": 2, "final": 1}
    pacs.delete(ct(2).uid)
    assert server.ask("GET", "/datastore/", "anna").json()["label_tags"] == {"original": 1}


def test_the_list_says_whose_label_counts_now(server: Server, image: Ct, pacs: Pacs):
    """Not whose the cache has, if another server has stored one since."""
    ok(server.submit(image.uid, painted(), "anna"))
    ok(server.submit(image.uid, painted(1), "berta"))
    pacs.delete(str(max(pacs.segmentations(), key=lambda seg: str(seg.ContentCreatorName)).SeriesInstanceUID))
    label = server.ask("GET", "/datastore/?output=all", "anna").json()["objects"][image.uid]["labels"]["final"]
    assert label["info"]["user"] == "anna"


@pytest.mark.parametrize("tag", ["../../evil", "a/b", "..", "", "a\\b", "a\nb"])
def test_the_datastore_itself_refuses_a_tag_that_is_a_place(label_app, image: Ct, tmp_path: Path, tag: str):
    """Whatever lets it through before."""
    store = label_app.datastore()
    before = sorted(tmp_path.rglob("*"))
    store.get_image_uri(image.uid)
    for do in (
        lambda: store.save_label(image.uid, str(tmp_path / "x.nii.gz"), tag, {}),
        lambda: store._filename(tag, "/x" if tag in ("", "..") else ".nii.gz"),
    ):
        with pytest.raises(MONAILabelException, match="plain"):
            do()
    assert not [path for path in set(tmp_path.rglob("*")) - set(before) if "evil" in path.name]


# --- what a save says of itself ---


def save(server: Server, uid: str, by: str, tag: str = "version_1", **params: Any):
    label = sitk.GetImageFromArray(painted())
    label.CopyInformation(server.image(uid))
    files = {"label": ("label.nii.gz", web.written(label))}
    form = {"params": json.dumps(params)}
    return server.ask("PUT", f"/datastore/label?image={uid}&tag={tag}", by, data=form, files=files)


def told(server: Server, uid: str, tag: str = "version_1") -> dict[str, Any]:
    return server.ask("GET", f"/datastore/label/info?label={uid}&tag={tag}", "rita").json()


@pytest.mark.parametrize("tag", ["final", "version_1"])
def test_a_save_says_what_its_values_mean_and_nothing_of_its_author(server: Server, image: Ct, tag: str):
    lies = {"client_id": "berta", "user": "berta", "segmentationMeta": {"status": "approved"}, "reviewer": "rita"}
    ok(save(server, image.uid, "anna", tag, **lies, SeriesInstanceUID="1.2", x="y"))
    found = told(server, image.uid, tag)
    assert (found["user"], found["client_id"]) == ("anna", "anna/berta"), "a client of anna's, whatever it is called"
    assert not {"segmentationMeta", "reviewer", "x"} & set(found) and found.get("SeriesInstanceUID") != "1.2"


def test_a_reviewer_may_save_a_judgement_with_a_version(server: Server, image: Ct):
    ok(save(server, image.uid, "rita", segmentationMeta={"status": "approved"}))
    assert told(server, image.uid)["segmentationMeta"] == {"status": "approved"}


def test_a_tag_is_its_authors(server: Server, image: Ct):
    ok(save(server, image.uid, "anna"))
    for user in ("berta", "rita"):
        assert save(server, image.uid, user).status_code == 409
        form = {"params": json.dumps({"save_label": True, "label_tag": "version_1"})}
        answer = server.ask("POST", f"/infer/threshold?image={image.uid}", user, data=form)
        assert answer.status_code == 409
    assert told(server, image.uid)["user"] == "anna"
    ok(save(server, image.uid, "anna"))
    ok(save(server, image.uid, "berta", "version_2"))


@pytest.mark.parametrize(
    "label_info",
    [
        *("x", [7], {"a": 1}, [{}] * 256),
        *([{"name": name}] for name in (7, "x" * 65, "a\nb")),
        *([{"name": "a", "idx": value}] for value in ("x", -1, True, 2**70)),
    ],
)
def test_names_that_are_none_are_refused(server: Server, image: Ct, pacs: Pacs, label_info: Any):
    assert save(server, image.uid, "anna", "final", label_info=label_info).status_code == 400
    assert pacs.segmentations() == []


def test_an_inference_may_be_saved_as_a_draft(server: Server, image: Ct):
    form = {"params": json.dumps({"above": -500, "save_label": True, "label_tag": "original"})}
    answer = server.ask("POST", f"/infer/threshold?image={image.uid}&output=image", "anna", data=form)
    ok(answer)
    volume = sitk.GetArrayFromImage(server.image(image.uid))
    assert np.array_equal(server.label(image.uid, tag="original"), (volume > -500).astype(np.uint8))


def test_many_at_once_lose_nothing(server: Server, pacs: Pacs):
    seeds = (1, 2, 3, 4)
    pacs.store(*(ct(seed) for seed in seeds))

    def label(seed: int) -> None:
        for user in ("anna", "berta"):
            ok(server.submit(ct(seed).uid, painted(seed % 2), user))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(label, seeds))
    assert counted(server) == (4, 4) and len(pacs.segmentations()) == 8
    for seed in seeds:
        assert np.array_equal(server.label(ct(seed).uid), painted(seed % 2))


def test_the_list_on_disk_is_never_half_written(server: Server, image: Ct, tmp_path: Path, label_app, monkeypatch):
    """Upstream truncates it and then writes (local.py:683)."""
    server.image(image.uid)
    (listed,) = tmp_path.glob("cache/*/datastore_v2.json")
    before = listed.read_bytes()

    def killed(*_: object) -> None:
        raise OSError("killed before the new one was in place")

    for owner, name in ((os, "replace"), (os, "rename"), (Path, "replace")):
        monkeypatch.setattr(owner, name, killed)
    with pytest.raises(OSError, match="killed"):
        label_app.datastore().update_image_info(image.uid, {"seen": True})
    assert listed.read_bytes() == before

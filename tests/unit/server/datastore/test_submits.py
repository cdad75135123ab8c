"""Submits that meet, and submits that are cut off: an acknowledged label is there, and each author has one."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import SimpleITK as sitk

from label_server.datastore import datastore, submits
from label_server.datastore.datastore import RepairedDicomWebDatastore
from label_server.dicomweb.client import DicomWebClient
from labelpod_common.labels import parse
from tests.support import app, web
from tests.support.ct import Ct
from tests.support.dicomweb import Pacs
from tests.support.labels import counted, ok, painted, stored_without_an_answer
from tests.support.web import Server


def clients_save(server: Server, uid: str, client: str, first: int = 0, tag: str = "final") -> Any:
    label = sitk.GetImageFromArray(painted(first))
    label.CopyInformation(server.image(uid))
    form = {"params": json.dumps({"client_id": client})}
    files = {"label": ("label.nii.gz", web.written(label))}
    return server.ask("PUT", f"/datastore/label?image={uid}&tag={tag}", "anna", data=form, files=files)


def authors(pacs: Pacs) -> list[str]:
    return sorted(str(seg.ContentCreatorName) for seg in pacs.segmentations())


# --- whose label ---


def test_clients_that_share_an_address_have_a_label_each(server: Server, image: Ct, pacs: Pacs):
    for client in ("Łucja", "reader 2", "Łucja", "user-xyz", "", "anna"):
        ok(clients_save(server, image.uid, client))
    assert authors(pacs) == ["anna", "anna/reader 2", "anna/Łucja"]
    told = server.ask("GET", "/datastore/?output=all", "anna").json()["objects"][image.uid]["labels"]["final"]
    assert (told["info"]["user"], told["info"]["client_id"]) == ("anna", "anna")


def test_a_client_is_never_another_user(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, painted(), "berta"))
    ok(clients_save(server, image.uid, "berta"))
    assert authors(pacs) == ["anna/berta", "berta"]


@pytest.mark.parametrize("client", ["a\\b", "a^b", "a=b", "a\nb", "x" * 60, 7])
def test_a_client_that_no_label_can_name_is_refused(server: Server, image: Ct, pacs: Pacs, client: Any):
    answer = clients_save(server, image.uid, client)
    assert answer.status_code == 400 and pacs.segmentations() == []


def test_a_clients_draft_is_not_another_clients_to_replace(server: Server, image: Ct):
    ok(clients_save(server, image.uid, "reader 1", tag="version_1"))
    assert clients_save(server, image.uid, "reader 2", tag="version_1").status_code == 409
    ok(clients_save(server, image.uid, "reader 1", tag="version_1"))


# --- at once ---


def test_two_servers_that_store_at_once_do_not_take_back_each_others(
    label_app: Any, image: Ct, pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each deleted whatever else the author had by then: both labels were lost in 30 of 50 rounds."""
    stores = [label_app.datastore(), app.another_server(pacs.url, tmp_path)]
    store, both = DicomWebClient.store_instances, threading.Barrier(2)

    def store_and_wait(self: DicomWebClient, *given: Any, **more: Any) -> Any:
        both.wait(5)
        answer = store(self, *given, **more)
        both.wait(5)
        return answer

    def save(place: int) -> None:
        label = sitk.GetImageFromArray(painted(place))
        label.CopyInformation(sitk.ReadImage(stores[place].get_image_uri(image.uid)))
        sitk.WriteImage(label, str(tmp_path / f"{place}.nii.gz"))
        stores[place].save_label(image.uid, str(tmp_path / f"{place}.nii.gz"), "final", {})

    monkeypatch.setattr(DicomWebClient, "store_instances", store_and_wait)
    with ThreadPoolExecutor() as pool:
        list(pool.map(save, (0, 1)))
    assert len(pacs.segmentations(image.uid)) == 2, "neither knew of the other's"
    monkeypatch.setattr(DicomWebClient, "store_instances", store)
    save(1)
    assert len(pacs.segmentations(image.uid)) == 1, "the next label takes both along"


def test_a_label_that_another_of_the_author_has_replaced_before_it_was_seen_is_no_failure(
    server: Server, image: Ct, pacs: Pacs, label_app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As two servers may do, one of which has listed the other's label."""
    stores, see = [label_app.datastore(), app.another_server(pacs.url, tmp_path)], submits.Submits._see
    label = sitk.GetImageFromArray(painted())
    label.CopyInformation(server.image(image.uid))
    sitk.WriteImage(label, str(tmp_path / "label.nii.gz"))

    def overtaken(self: submits.Submits, *given: Any) -> Any:
        if self is stores[0]._submits:
            stores[1].save_label(image.uid, str(tmp_path / "label.nii.gz"), "final", {})
            assert len(pacs.segmentations()) == 1
        return see(self, *given)

    monkeypatch.setattr(submits.Submits, "_see", overtaken)
    stores[0].save_label(image.uid, str(tmp_path / "label.nii.gz"), "final", {})
    assert authors(pacs) == ["server"]


def test_saves_of_many_images_leave_a_bounded_number_of_locks(label_app: Any):
    turns = {label_app.datastore()._submits.turn(f"1.2.{number}").lock_file for number in range(500)}
    assert len(turns) <= 64


def test_a_draft_that_another_process_has_saved_stays_in_the_list(label_app: Any, image: Ct, tmp_path: Path):
    """An inference over all images saves drafts; the next save here wrote the list without them."""
    here = label_app.datastore()
    label = sitk.GetImageFromArray(painted())
    label.CopyInformation(sitk.ReadImage(here.get_image_uri(image.uid)))
    sitk.WriteImage(label, str(tmp_path / "label.nii.gz"))
    cache = Path(here._datastore_path).parent
    there = RepairedDicomWebDatastore(
        here._client, here._own, {"Modality": "CT"}, cache, tmp_path / "kept", parse(app.LABELS)
    )
    there.save_label(image.uid, str(tmp_path / "label.nii.gz"), "original", {})
    here.save_label(image.uid, str(tmp_path / "label.nii.gz"), "version_1", {})
    there.update_label_info(image.uid, "original", {"level": "easy"})
    here.update_image_info(image.uid, {"seen": True})
    for store in (here, there):
        store._init_from_datastore_file()
        assert store._datastore.objects[image.uid].labels.keys() == {"original", "version_1"}
    assert there.get_label_info(image.uid, "original")["level"] == "easy"


# --- cut off ---


def test_a_kill_before_the_earlier_label_is_deleted_leaves_one_that_the_next_save_deletes(
    server: Server, image: Ct, pacs: Pacs, monkeypatch: pytest.MonkeyPatch
):
    ok(server.submit(image.uid, painted(0)))

    def away(*_: object) -> bool:
        raise requests.ConnectionError

    with monkeypatch.context() as killed:
        killed.setattr(submits, "delete_series", away)
        ok(server.submit(image.uid, painted(1)))
    assert len(pacs.segmentations(image.uid)) == 2 and counted(server) == (1, 1)
    assert np.array_equal(server.label(image.uid), painted(1))
    ok(server.submit(image.uid, painted(0)))
    assert len(pacs.segmentations(image.uid)) == 1 and np.array_equal(server.label(image.uid), painted(0))


def test_a_label_that_was_stored_without_an_answer_is_deleted_by_the_next(
    server: Server, image: Ct, pacs: Pacs, monkeypatch: pytest.MonkeyPatch, label_app: Any
):
    monkeypatch.setattr(label_app.datastore()._index, "_max_age", 3600)
    with stored_without_an_answer():
        assert server.submit(image.uid, painted(0)).status_code == 503
    ok(server.submit(image.uid, painted(1)))
    assert len(pacs.segmentations(image.uid)) == 1 and np.array_equal(server.label(image.uid), painted(1))


def test_the_label_that_follows_counts_although_a_clock_went_back(server: Server, image: Ct, pacs: Pacs, monkeypatch):
    """A leftover of the future would count for ever."""
    pacs.keeps = True

    class Fast(submits.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls(2099, 12, 31, 23, 59, 59)

    with monkeypatch.context() as fast:
        fast.setattr(submits, "datetime", Fast)
        ok(server.submit(image.uid, painted(0)))
    ok(server.submit(image.uid, painted(1)))
    assert len(pacs.segmentations(image.uid)) == 2
    assert np.array_equal(server.label(image.uid), painted(1))


def test_a_label_that_the_pacs_does_not_show_is_not_said_to_be_stored(
    server: Server, image: Ct, pacs: Pacs, monkeypatch
):
    ok(server.submit(image.uid, painted(0)))
    monkeypatch.setattr(submits, "_LOOKS", (0, 0))
    with monkeypatch.context() as forgetful:
        forgetful.setattr(DicomWebClient, "store_instances", lambda *_, **__: None)
        answer = server.submit(image.uid, painted(1))
    assert answer.status_code == 502 and "does not show it" in answer.json()["detail"]
    assert len(pacs.segmentations(image.uid)) == 1 and np.array_equal(server.label(image.uid), painted(0))


@pytest.mark.parametrize("tag", ["final", "version_1"])
def test_a_full_disk_leaves_the_earlier_label_whole(server: Server, image: Ct, tag: str, monkeypatch):
    """Upstream copies over it: half of a file was left."""
    ok(server.submit(image.uid, painted(0), tag=tag))

    def full(source: Any, target: Any, **_: Any) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        for name in ("copy", "copyfile"):
            disk.setattr(datastore.shutil, name, full)
        answer = server.submit(image.uid, painted(1), tag=tag)
    if tag == "final":  # it is in the PACS, whatever becomes of the cache
        ok(answer)
        assert np.array_equal(server.label(image.uid), painted(1))
    else:
        assert answer.status_code == 507
        assert np.array_equal(server.label(image.uid, tag=tag), painted(0))

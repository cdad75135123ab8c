"""A save that is sent again because its answer was lost is done, at whichever label server; no other one is."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import SimpleITK as sitk

from label_server.datastore import submits
from label_server.dicomweb.client import DicomWebClient
from tests.support import app
from tests.support.ct import Ct
from tests.support.dicomweb import Pacs
from tests.support.labels import ok, painted, stored_without_an_answer
from tests.support.web import Server

FIRST = {"If-None-Match": "*"}
OUTSIDE = ("cyst", "mass", "scar")  # of the server's list: their values go by their order


def stored(pacs: Pacs) -> list[str]:
    return sorted(str(seg.SeriesInstanceUID) for seg in pacs.segmentations())


@pytest.mark.parametrize("elsewhere", [False, True], ids=["at the same server", "at another server"])
def test_a_save_that_comes_again_is_answered_as_it_was(
    server: Server, image: Ct, pacs: Pacs, label_app: Any, second: Any, elsewhere: bool
):
    first = server.submit(image.uid, painted(), **FIRST)
    before = stored(pacs)
    with app.asked(second if elsewhere else label_app):
        again = server.submit(image.uid, painted(), **FIRST)
        ok(again)
        assert again.headers["etag"] == first.headers["etag"] and stored(pacs) == before
        ok(server.submit(image.uid, painted(1), **{"If-Match": again.headers["etag"]}))


def test_what_a_kill_has_left_is_deleted_when_the_save_comes_again(
    server: Server, image: Ct, pacs: Pacs, second: Any, monkeypatch: pytest.MonkeyPatch
):
    old = server.submit(image.uid, painted(0)).headers["etag"]

    def killed(*_: object) -> bool:
        raise requests.ConnectionError

    with monkeypatch.context() as kill:
        kill.setattr(submits, "delete_series", killed)
        ok(server.submit(image.uid, painted(1), **{"If-Match": old}))
    assert len(stored(pacs)) == 2
    with app.asked(second):
        ok(server.submit(image.uid, painted(1), **{"If-Match": old}))
    assert len(stored(pacs)) == 1


def test_a_save_that_was_stored_without_an_answer_of_the_pacs_is_done(server: Server, image: Ct, pacs: Pacs):
    with stored_without_an_answer():
        assert server.submit(image.uid, painted(), **FIRST).status_code == 503
    ok(server.submit(image.uid, painted(), **FIRST))
    assert len(stored(pacs)) == 1


@pytest.mark.parametrize(
    ("user", "names", "first"),
    [
        ("berta", OUTSIDE, 0),
        ("anna", OUTSIDE, 1),
        ("anna", OUTSIDE[::-1], 0),
    ],
    ids=["another author", "other voxels", "other names"],
)
def test_another_save_that_follows_the_same_is_refused(
    server: Server, image: Ct, pacs: Pacs, user: str, names: tuple[str, str, str], first: int
):
    ok(server.submit(image.uid, painted(0), "anna", OUTSIDE, **FIRST))
    before = stored(pacs)
    assert server.submit(image.uid, painted(first), user, names, **FIRST).status_code == 409
    assert stored(pacs) == before


def test_a_save_that_comes_again_late_does_not_undo_what_its_author_has_saved_since(
    server: Server, image: Ct, pacs: Pacs
):
    """Not even if it is painted as the last one is, which follows another."""
    version = server.submit(image.uid, painted(0), **FIRST).headers["etag"]
    for place in (1, 0):
        version = server.submit(image.uid, painted(place), **{"If-Match": version}).headers["etag"]
        before = stored(pacs)
        assert server.submit(image.uid, painted(0), **FIRST).status_code == 409
        assert stored(pacs) == before


def test_a_save_that_comes_again_after_anothers_label_changes_nothing(server: Server, image: Ct, pacs: Pacs):
    mine = server.submit(image.uid, painted(0), **FIRST).headers["etag"]
    theirs = server.submit(image.uid, painted(1), "berta", **{"If-Match": mine}).headers["etag"]
    before = stored(pacs)
    again = server.submit(image.uid, painted(0), **FIRST)
    ok(again)
    assert again.headers["etag"] == mine and stored(pacs) == before
    label = server.ask("GET", f"/datastore/label?label={image.uid}&tag=final", "anna")
    assert label.headers["etag"] == theirs
    assert server.submit(image.uid, painted(2), **{"If-Match": mine}).status_code == 409


def test_of_a_save_that_is_at_two_servers_at_once_one_label_stays(
    label_app: Any, image: Ct, pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stores = [label_app.datastore(), app.another_server(pacs.url, tmp_path)]
    store, see, both = DicomWebClient.store_instances, submits.Submits._see, threading.Barrier(2)
    label = sitk.GetImageFromArray(painted())
    label.CopyInformation(sitk.ReadImage(stores[0].get_image_uri(image.uid)))
    sitk.WriteImage(label, str(tmp_path / "label.nii.gz"))

    def store_at_once(self: DicomWebClient, *given: Any, **more: Any) -> Any:
        both.wait(5)
        return store(self, *given, **more)

    def see_at_once(self: submits.Submits, *given: Any) -> Any:
        both.wait(5)
        return see(self, *given)

    def save(place: int) -> str:
        info: dict[str, Any] = {}
        stores[place].save_label(image.uid, str(tmp_path / "label.nii.gz"), "final", info, follows="")
        return str(info["SeriesInstanceUID"])

    monkeypatch.setattr(DicomWebClient, "store_instances", store_at_once)
    monkeypatch.setattr(submits.Submits, "_see", see_at_once)
    with ThreadPoolExecutor() as pool:
        told = list(pool.map(save, (0, 1)))
    assert stored(pacs) == [told[0]] == [told[1]], "both tell of the one that is there"

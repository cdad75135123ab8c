"""Saves of one image that are at two label servers at once: none that was acknowledged is lost or replaced unseen."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk

from label_server import users
from label_server.datastore.datastore import RepairedDicomWebDatastore
from label_server.datastore.submits import Submits
from label_server.dicomweb.client import DicomWebClient
from label_server.dicomweb.own_labels import OwnLabels
from label_server.errors import Overtaken
from label_server.users import Role, User
from tests.support.ct import Ct
from tests.support.dicomweb import Pacs
from tests.support.labels import painted, stored_without_an_answer

FIRST = ""  # there must be no label


class Servers:
    """Two of them over one image."""

    def __init__(self, apps: list[Any], uid: str, folder: Path) -> None:
        self.stores: list[RepairedDicomWebDatastore] = [each.datastore() for each in apps]
        self.uid = uid
        self._folder = folder
        for store in self.stores:
            store.get_image_uri(uid)

    def save(self, at: int, user: str, place: int, follows: str | None) -> str:
        """The series of the label."""
        store, info = self.stores[at], dict[str, Any]()
        label = sitk.GetImageFromArray(painted(place))
        label.CopyInformation(sitk.ReadImage(store.get_image_uri(self.uid)))
        file = self._folder / f"{at}-{user}-{place}.nii.gz"
        sitk.WriteImage(label, str(file))
        before = users.current.set(User(user, Role.ANNOTATOR))
        try:
            store.save_label(self.uid, str(file), "final", info, follows=follows)
        finally:
            users.current.reset(before)
        return str(info["SeriesInstanceUID"])


@pytest.fixture
def servers(label_app: Any, second: Any, image: Ct, tmp_path: Path) -> Servers:
    return Servers([label_app, second], image.uid, tmp_path)


def once(monkeypatch: pytest.MonkeyPatch, of: type, method: str, wanted: object, do: Callable[[], object]) -> None:
    """Have something done right after the first call of one object's method."""
    called, done = getattr(of, method), list[object]()

    def call(self: object, *given: Any, **more: Any) -> Any:
        answer = called(self, *given, **more)
        if self is wanted and not done:
            done.append(None)
            do()
        return answer

    monkeypatch.setattr(of, method, call)


def authors(pacs: Pacs) -> list[str]:
    return sorted(str(seg.ContentCreatorName) for seg in pacs.segmentations())


def outcome(asked: "Future[str]") -> str:
    """The series of a label, or "" if another has overtaken it."""
    with suppress(Overtaken):
        return asked.result()
    return ""


def test_a_save_that_comes_to_another_server_as_it_is_stored_leaves_one_label(
    servers: Servers, pacs: Pacs, monkeypatch: pytest.MonkeyPatch
):
    """Each deleted the other's copy: one as an earlier label of the author's, one as what is there twice."""
    written, stored, answered = threading.Event(), threading.Event(), threading.Event()
    first, other = servers.stores
    once(monkeypatch, RepairedDicomWebDatastore, "_as_seg", other, lambda: (written.set(), stored.wait(5)))
    once(monkeypatch, RepairedDicomWebDatastore, "_as_seg", first, lambda: written.wait(5))
    once(monkeypatch, DicomWebClient, "store_instances", first._client, lambda: (stored.set(), answered.wait(1)))
    once(monkeypatch, DicomWebClient, "store_instances", other._client, answered.set)
    with ThreadPoolExecutor() as pool:
        told = [each.result() for each in [pool.submit(servers.save, n, "anna", 0, FIRST) for n in (0, 1)]]
    assert [str(seg.SeriesInstanceUID) for seg in pacs.segmentations()] == [told[0]] == [told[1]]


@pytest.mark.parametrize("users_", [("anna", "berta"), ("anna", "anna")], ids=["two users", "one user"])
def test_of_two_that_are_stored_at_once_and_follow_the_same_one_is_taken_back(
    servers: Servers, pacs: Pacs, monkeypatch: pytest.MonkeyPatch, users_: tuple[str, str]
):
    both, store = threading.Barrier(2), DicomWebClient.store_instances

    def at_once(self: DicomWebClient, *given: Any, **more: Any) -> None:
        both.wait(5)  # neither has seen the other's
        store(self, *given, **more)
        both.wait(5)

    monkeypatch.setattr(DicomWebClient, "store_instances", at_once)
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(servers.save, n, users_[n], n, FIRST) for n in (0, 1)]
    told = [outcome(each) for each in asked]
    assert [str(seg.SeriesInstanceUID) for seg in pacs.segmentations()] == [uid for uid in told if uid]
    kept = [store.kept.names(user) for store, user in zip(servers.stores, users_, strict=True)]
    assert [len(names) for names in kept] == [not uid for uid in told]


@pytest.mark.parametrize("user", ["berta", "anna"])
def test_a_label_that_came_while_another_was_written_is_not_replaced_unseen(
    servers: Servers, pacs: Pacs, monkeypatch: pytest.MonkeyPatch, user: str
):
    """Not by another's, and the same author's was deleted."""
    other = list[str]()
    once(
        monkeypatch,
        RepairedDicomWebDatastore,
        "_as_seg",
        servers.stores[0],
        lambda: other.append(servers.save(1, user, 1, FIRST)),
    )
    with pytest.raises(Overtaken, match=f"{user} has stored a label of this image meanwhile"):
        servers.save(0, "anna", 0, FIRST)
    assert [str(seg.SeriesInstanceUID) for seg in pacs.segmentations()] == other


def test_a_label_that_may_follow_any_is_not_replaced_unseen_either(
    servers: Servers, pacs: Pacs, monkeypatch: pytest.MonkeyPatch
):
    """3D Slicer's."""
    once(monkeypatch, Submits, "_see", servers.stores[0]._submits, lambda: servers.save(1, "berta", 1, None))
    with pytest.raises(Overtaken, match="berta"):
        servers.save(0, "anna", 0, FIRST)
    assert authors(pacs) == ["berta"]


def test_a_save_that_was_cut_off_is_not_done_after_anothers(servers: Servers, pacs: Pacs):
    """Nobody knows whether its server has taken it back."""
    with stored_without_an_answer(), pytest.raises(OSError):
        servers.save(0, "anna", 0, FIRST)
    servers.save(1, "berta", 1, None)
    with pytest.raises(Overtaken, match="berta"):
        servers.save(1, "anna", 0, FIRST)
    assert authors(pacs) == ["anna", "berta"] and servers.stores[0].labels()[servers.uid].creator == "berta"


def test_a_save_that_comes_again_spares_what_its_author_has_stored_at_another_server_at_once(
    servers: Servers, pacs: Pacs, monkeypatch: pytest.MonkeyPatch
):
    """It is dated before, and was acknowledged after."""
    told = list[str]()
    own = servers.stores[1]._own
    once(monkeypatch, OwnLabels, "seal", own, lambda: told.append(servers.save(0, "anna", 0, FIRST)))
    told.append(servers.save(1, "anna", 1, None))
    assert servers.save(1, "anna", 0, FIRST) == told[0]
    assert {str(seg.SeriesInstanceUID) for seg in pacs.segmentations()} == set(told)


def test_where_the_archive_keeps_no_list_a_label_is_stored_as_by_a_single_server(servers: Servers, pacs: Pacs):
    pacs.registered.clear()
    servers.save(0, "anna", 0, FIRST)
    with pytest.raises(Overtaken, match="anna"):
        servers.save(1, "berta", 1, FIRST)
    assert authors(pacs) == ["anna"]


@pytest.mark.parametrize("text", ["", "{", "7", '["1.2", 3]', "[" * 5000])
def test_what_is_no_list_hinders_no_save(servers: Servers, pacs: Pacs, text: str):
    pacs.metadata[servers.uid, "labelpod-confirmed"] = (0, text.encode())
    assert servers.save(0, "anna", 0, FIRST) in pacs.said("labelpod-confirmed")[servers.uid]


def test_an_image_that_is_deleted_in_the_middle_of_a_save_takes_the_label_along(
    servers: Servers, pacs: Pacs, monkeypatch: pytest.MonkeyPatch
):
    once(monkeypatch, Submits, "_see", servers.stores[0]._submits, lambda: pacs.delete(servers.uid))
    with pytest.raises(Exception, match="was deleted in the DICOMweb server"):
        servers.save(0, "anna", 0, FIRST)
    assert authors(pacs) == []

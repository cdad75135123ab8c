"""Two label servers over one Orthanc, each with a workspace of its own: what one of them has lent, the other hears."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from label_server import users
from label_server.datastore.pacs_images import PacsImages
from label_server.users import Role, User
from tests.support import app, offers
from tests.support.ct import ct, read, written
from tests.support.dicomweb import Pacs
from tests.support.labels import ok
from tests.support.offers import next_image
from tests.support.web import Server

LEASE = "labelpod-lease"


@pytest.fixture
def images(pacs: Pacs) -> list[str]:
    return offers.unlabelled(pacs)


def given(label_app: Any, user: str, strategy: str) -> str:
    """Which image an app gives a user."""
    before = users.current.set(User(user, Role.ANNOTATOR))
    try:
        return label_app.next_sample({"strategy": strategy})["id"]
    finally:
        users.current.reset(before)


def lists(pacs: Pacs) -> int:
    """How often all leases were asked for."""
    asked = (json.loads(each.body)["ResponseContent"] for each in pacs.requests("POST", "/tools/find"))
    return sum(content == ["Metadata", "MainDicomTags"] for content in asked)


@pytest.mark.parametrize("finds_metadata", [True, False], ids=["SQLite", "PostgreSQL"])
@pytest.mark.parametrize("strategy", ["first", "random"])
def test_twenty_annotators_at_two_servers_get_twenty_images(
    label_app: Any, second: Any, pacs: Pacs, strategy: str, finds_metadata: bool
):
    pacs.finds_metadata = finds_metadata
    pacs.store(*(ct(seed, slices=3) for seed in range(1, 21)))
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(given, (label_app, second)[n % 2], f"user{n}", strategy) for n in range(20)]
        assert len({each.result() for each in asked}) == 20
    assert sorted(json.loads(text)[0] for text in pacs.said(LEASE).values()) == sorted(f"user{n}/" for n in range(20))


def test_what_is_lent_by_one_server_is_not_lent_by_another(server: Server, second: Any, images: list[str]):
    assert next_image(server) == images[0]
    with app.asked(second):
        assert next_image(server, "berta") == images[1]
    assert next_image(server, "rita") == images[2]
    with app.asked(second):
        told = server.ask("POST", "/activelearning/first", "admin", json={}).json()
    assert [loan["user"] for loan in told["loans"]] == ["anna", "berta", "rita"]


def test_who_comes_to_another_server_goes_on_with_the_same_image(server: Server, second: Any, images: list[str]):
    next_image(server, "berta")
    assert next_image(server) == images[1]
    with app.asked(second):
        assert next_image(server) == images[1]
        assert images[1] in server.ask("GET", "/", "anna", headers={"Accept": "text/html"}).text, "the start page"


def test_an_image_that_is_labelled_or_skipped_elsewhere_is_on_loan_to_nobody(
    server: Server, second: Any, images: list[str], pacs: Pacs
):
    for user, uid in (("anna", images[0]), ("berta", images[1])):
        assert next_image(server, user) == uid
    with app.asked(second):
        ok(server.submit(images[0], np.zeros(ct().shape)))
        ok(server.ask("POST", f"/activelearning/skip?image={images[1]}", "berta", json={"reason": "blurred"}))
    assert pacs.said(LEASE) == {}


def test_what_was_labelled_at_another_server_a_moment_ago_is_offered_to_nobody(
    server: Server, second: Any, images: list[str], monkeypatch: pytest.MonkeyPatch
):
    """Its lease has ended, and the lists of the other server are seconds old."""
    assert next_image(server) == images[0]
    with app.asked(second):
        assert next_image(server, "berta") == images[1]
        monkeypatch.setattr(second.datastore()._index, "_max_age", 3600)
    ok(server.submit(images[0], np.zeros(ct().shape)))
    with app.asked(second):
        assert next_image(server, "rita") == images[2]


def test_what_made_up_clients_have_is_shared_out_by_any_server(server: Server, second: Any, images: list[str]):
    assert [next_image(server, client_id=f"made-up-{n}") for n in range(3)] == images
    with app.asked(second):
        assert next_image(server, "berta") == images[0]
    assert next_image(server, "rita") == images[1]


def test_a_lease_that_ended_by_itself_is_replaced_by_one_server_only(
    label_app: Any, second: Any, images: list[str], pacs: Pacs
):
    ended = json.dumps(["dora/", time.time() - 1]).encode()
    pacs.metadata = {(uid, LEASE): (7, ended) for uid in images}
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(given, (label_app, second)[n % 2], f"user{n}", "first") for n in range(3)]
        assert sorted(each.result() for each in asked) == images


@pytest.mark.parametrize(
    "text", ["", "{", "7", "[]", '["anna/"]', '["anna/", true]', "[7, 8]", "ä", "[" * 5000, f'["dora/", 1{"0" * 400}]']
)
def test_what_is_no_lease_hinders_nobody(server: Server, images: list[str], pacs: Pacs, text: str):
    pacs.metadata = {(uid, LEASE): (0, text.encode()) for uid in images}
    assert next_image(server) == images[0]
    assert json.loads(pacs.said(LEASE)[images[0]])[0] == "anna/"


@pytest.mark.parametrize(
    "until", [time.time() + 86400, 1e300, float("inf"), float("nan")], ids=["a day", "ages", "for ever", "no number"]
)
def test_a_lease_that_a_wrong_clock_has_written_is_none(
    server: Server, label_app: Any, images: list[str], pacs: Pacs, until: float
):
    """Nobody got the image as long as that, and who found nothing got an error instead of the reason."""
    pacs.metadata = {(uid, LEASE): (0, json.dumps(["dora/", until]).encode()) for uid in images}
    assert label_app.remaining("anna", "")["loans"] == []
    assert next_image(server) == images[0] and label_app.loans().keys() == {images[0]}


def test_a_lease_that_another_server_has_given_to_somebody_else_is_not_taken_back(
    label_app: Any, second: Any, images: list[str], pacs: Pacs
):
    """This one has not heard of it yet."""
    here, there = label_app._leases, second._leases
    for leases in (here, there):
        leases.hear()
    assert here.take(images[0], "anna/pc1") and here.take(images[1], "anna/pc2")
    there._place._metadata._hear_again = 0
    there.hear()
    assert there.share("berta/") and there.take(images[0], "berta/")
    assert here.take(images[2], "anna/pc1")
    assert json.loads(pacs.said(LEASE)[images[0]])[0] == "berta/"


@pytest.mark.parametrize("finds_metadata", [True, False], ids=["SQLite", "PostgreSQL"])
def test_all_leases_are_asked_for_at_once(label_app: Any, server: Server, pacs: Pacs, finds_metadata: bool):
    pacs.finds_metadata = finds_metadata
    pacs.store(*(ct(seed, slices=3) for seed in range(1, 21)))
    for number in range(15):
        given(label_app, f"user{number}", "first")
    pacs.asked.clear()
    next_image(server)
    assert lists(pacs) <= 1
    assert len([each for each in pacs.asked if LEASE in each.path]) == 1, "the new one is written"


def test_where_the_list_takes_long_it_is_asked_for_seldom(label_app: Any, images: list[str], pacs: Pacs, monkeypatch):
    given(label_app, "anna", "first")
    asked = lists(pacs)
    leases = label_app.datastore().leases
    find = leases._orthanc.with_metadata

    def slow(*arguments: Any) -> Any:
        time.sleep(0.2)
        return find(*arguments)

    monkeypatch.setattr(leases._orthanc, "with_metadata", slow)
    leases._hear_again = 0
    for _ in range(5):
        leases.hear()
    assert lists(pacs) == asked + 1


def test_without_a_place_in_orthanc_leases_are_in_a_file(
    server: Server, images: list[str], pacs: Pacs, tmp_path: Path, caplog: Any
):
    pacs.registered.clear()
    assert [next_image(server, user) for user in ("anna", "berta", "anna")] == [images[0], images[1], images[0]]
    assert set(json.loads((tmp_path / "leases.json").read_text())) == set(images[:2])
    assert caplog.text.count("The DICOMweb server keeps no leases") == 1


def test_in_orthanc_leases_are_in_no_file_and_outlive_a_restart(
    server: Server, second: Any, images: list[str], tmp_path: Path
):
    next_image(server)
    assert not list(tmp_path.rglob("leases.json"))
    assert second.loans().keys() == {images[0]}


def test_where_orthanc_does_not_answer_a_sample_says_so_and_a_label_is_kept(
    server: Server, label_app: Any, images: list[str], pacs: Pacs, monkeypatch
):
    assert next_image(server) == images[0]

    def away(*_: Any) -> None:
        raise requests.ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(label_app.datastore().leases._session, "get", away)
        patch.setattr(label_app.datastore().leases._orthanc, "with_metadata", away)
        answer = server.ask("POST", "/activelearning/first", "anna", json={})
        assert answer.status_code == 503 and "does not answer" in answer.json()["detail"]
        label_app._leases.labelled(images[0])
        label_app._leases.give_back(images[0], "anna")
    assert label_app._leases.holder(images[0]) == "anna/", "it ends with time"
    pacs.status = 500
    assert server.ask("POST", "/activelearning/first", "anna", json={}).status_code in (502, 503)


def test_an_image_that_comes_back_under_another_patient_is_lent_anew(server: Server, images: list[str], pacs: Pacs):
    """Orthanc has another name for it then."""
    assert next_image(server) == images[0]
    files = [read(content) for content in pacs.series[images[0]].values()]
    pacs.delete(images[0])
    for file in files:
        file.PatientID = "CORRECTED"
        pacs.take(written(file))
    assert [next_image(server), next_image(server)] == [images[1], images[0]]
    assert pacs.said(LEASE).keys() == {images[0]}


@pytest.mark.parametrize(
    "client", ["x" * 70, {"a": 1}, "\U0001f642" * 4000, "a\nb"], ids=["long", "none", "wide", "lines"]
)
def test_a_client_whose_name_no_label_could_bear_is_lent_nothing(server: Server, images: list[str], pacs: Pacs, client):
    answer = server.ask("POST", "/activelearning/first", "anna", json={"client_id": client})
    assert answer.status_code == 400 and answer.json()["detail"].startswith("Refused: ")
    assert pacs.said(LEASE) == {}


@pytest.mark.parametrize("shared", [True, False])
def test_lists_are_read_anew_for_a_next_image_only_where_other_servers_lend(
    server: Server, pacs: Pacs, images: list[str], monkeypatch: pytest.MonkeyPatch, shared: bool
):
    """With another DICOMweb server that takes seconds, and no other label server has a part in it."""
    read: list[object] = []
    monkeypatch.setattr(PacsImages, "look_again", lambda store: read.append(store))
    if not shared:
        pacs.registered = set()
    ok(server.ask("POST", "/activelearning/random", "anna", json={}))
    assert len(read) == shared

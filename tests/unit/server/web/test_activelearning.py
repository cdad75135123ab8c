"""Which image comes next: through the endpoint, with leases, and what is done ahead."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from label_server.radiology.activelearning.leases import Leases
from label_server.radiology.activelearning.prefetch import Prefetch
from tests.support import offers
from tests.support.ct import ct
from tests.support.dicomweb import Pacs
from tests.support.offers import next_image
from tests.support.waiting import eventually
from tests.support.web import Server


@pytest.fixture
def images(pacs: Pacs) -> list[str]:
    return offers.unlabelled(pacs)


def done(server: Server, uid: str, user: str = "anna") -> None:
    assert server.submit(uid, np.zeros(ct().shape), user).status_code == 200


def test_two_annotators_never_get_the_same_image(server: Server, images: list[str]):
    assert [next_image(server, user) for user in ("anna", "berta", "rita", "admin")] == [*images, None]


def test_who_asks_again_gets_the_same(server: Server, images: list[str]):
    assert {next_image(server) for _ in range(3)} == {images[0]}


def test_several_people_with_one_token_are_told_apart_by_client(server: Server, images: list[str]):
    assert [next_image(server, client_id=client) for client in ("a", "b", "a")] == [images[0], images[1], images[0]]


def test_made_up_clients_do_not_take_every_image(server: Server, images: list[str]):
    """Another user gets one of them, the first that was lent; and who has one only keeps it."""
    assert [next_image(server, client_id=f"made-up-{n}") for n in range(4)] == [*images, None]
    assert next_image(server, "berta") == images[0]
    assert next_image(server, "rita") == images[1]
    assert next_image(server, "admin") is None


def test_a_labelled_image_comes_to_nobody_else(server: Server, images: list[str]):
    first = next_image(server)
    done(server, first)
    assert next_image(server) == images[1]
    assert next_image(server, "berta") == images[2], "what anna has is hers"


def test_when_all_are_labelled_there_is_none(server: Server, images: list[str]):
    for uid in images:
        done(server, uid)
    for strategy in ("first", "random"):
        assert next_image(server, strategy=strategy) is None


def test_by_lot_every_image_comes_to_somebody(server: Server, images: list[str]):
    users = ("anna", "berta", "rita")
    assert sorted(next_image(server, user, "random") for user in users) == images


def test_an_answer_tells_of_the_image(server: Server, images: list[str]):
    answer = server.ask("POST", "/activelearning/first", "anna", json={}).json()
    assert answer["PatientID"] == "SYNTHETIC-PHANTOM" and answer["Modality"] == "CT"
    assert answer["path"].endswith(f"{images[0]}.nii.gz")


def test_the_next_image_is_fetched_while_the_first_is_worked_on(server: Server, images: list[str], tmp_path: Path):
    next_image(server)
    eventually(lambda: list(tmp_path.glob(f"cache/*/{images[1]}.nii.gz")), 5, "the next is there")
    assert not list(tmp_path.glob(f"cache/*/{images[2]}.nii.gz"))


def test_leases_outlive_a_restart_and_end_with_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "leases.json"
    Leases(file, 60).take("1.2", "anna/")
    again = Leases(file, 60)
    assert again.holder("1.2") == "anna/" and again.of_others("berta/") == {"1.2"} and again.of_others("anna/") == set()
    later = time.time() + 61
    monkeypatch.setattr("time.time", lambda: later)
    assert again.holder("1.2") is None and again.of_others("berta/") == set()


def test_who_takes_another_image_gives_the_first_back(tmp_path: Path):
    leases = Leases(tmp_path / "leases.json", 60)
    leases.take("1.2", "anna/")
    leases.take("1.3", "anna/")
    assert leases.of_others("berta/") == {"1.3"}
    leases.end("1.3", "anna/")
    leases.end("1.9", None)
    assert json.loads((tmp_path / "leases.json").read_text()) == {}


@pytest.mark.parametrize("content", ["", "[]", "{", '{"1.2": "anna"}', '{"1.2": 7}'])
def test_leases_that_cannot_be_read_are_none(tmp_path: Path, content: str):
    file = tmp_path / "leases.json"
    file.write_text(content)
    assert Leases(file, 60).of_others("x") == set()


def test_what_made_up_clients_want_is_bounded(monkeypatch: pytest.MonkeyPatch):
    prefetch, go = Prefetch(), threading.Event()
    prefetch.want("anna", go.wait)
    eventually(lambda: not prefetch._errands, 5, "the first has begun")
    for number in range(1000):
        prefetch.want(f"anna/{number}", lambda: None)
    assert len(prefetch._errands) == 100
    go.set()


def test_of_what_waits_the_newest_of_each_owner_is_done():
    ran, go, all_done = [], threading.Event(), threading.Event()
    prefetch = Prefetch()
    prefetch.want("anna", go.wait)
    eventually(lambda: not prefetch._errands, 5, "the first has begun")
    for number in (1, 2, 3):
        prefetch.want("anna", lambda number=number: ran.append(number))
    prefetch.want("berta", lambda: 1 / 0)
    prefetch.want("rita", all_done.set)
    go.set()
    assert all_done.wait(5), "a failure stops nothing"
    assert ran == [3]

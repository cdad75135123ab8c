"""Images that a user puts aside with a reason, and what is said where nothing is left."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monailabel.config import settings

from label_server.radiology.activelearning.skips import Skips
from tests.support import app, web
from tests.support.ct import ct
from tests.support.dicomweb import Pacs
from tests.support.labels import ok
from tests.support.web import Server


@pytest.fixture
def images(pacs: Pacs) -> list[str]:
    """Three images that nobody has labelled; sorted."""
    pacs.store(*(ct(seed) for seed in (1, 2, 3)))
    return sorted(pacs.series)


def sampled(server: Server, user: str = "anna", **params: str) -> dict[str, Any]:
    answer = server.ask("POST", "/activelearning/first", user, json=params)
    ok(answer)
    return answer.json()


def next_image(server: Server, user: str = "anna", **params: str) -> str | None:
    return sampled(server, user, **params).get("id")


def skip(server: Server, uid: str, user: str = "anna", reason: str = "motion") -> Any:
    return server.ask("POST", f"/activelearning/skip?image={uid}", user, json={"reason": reason})


def take_back(server: Server, uid: str, user: str = "anna") -> Any:
    return server.ask("DELETE", f"/activelearning/skip?image={uid}", user)


def listed(server: Server, user: str) -> list[tuple[str, str, str]]:
    told = server.ask("GET", "/activelearning/skipped", user).json()
    return [(each["user"], each["image"], each["reason"]) for each in told]


def done(server: Server, uid: str, user: str = "anna") -> None:
    ok(server.submit(uid, np.zeros(ct().shape), user))


# --- who is offered what ---


def test_a_skipped_image_is_not_offered_to_that_user_again(server: Server, images: list[str]):
    assert next_image(server) == images[0]
    ok(skip(server, images[0]))
    assert [next_image(server), next_image(server)] == [images[1]] * 2
    ok(skip(server, images[1]))
    assert next_image(server) == images[2]
    ok(skip(server, images[2]))
    assert next_image(server) is None


def test_others_get_a_skipped_image_after_all_others(server: Server, images: list[str]):
    ok(skip(server, images[0]))
    assert [next_image(server, user) for user in ("berta", "rita", "admin")] == [images[1], images[2], images[0]]


def test_a_skip_ends_the_lease_of_its_user(server: Server, images: list[str]):
    next_image(server, client_id="reader 1")
    ok(skip(server, images[0]))
    for uid in images[1:]:
        done(server, uid)
    assert next_image(server, "berta") == images[0]


def test_a_skip_leaves_the_lease_of_another(server: Server, images: list[str], label_app: Any):
    next_image(server, "berta")
    ok(skip(server, images[0]))
    assert label_app._leases.holder(images[0]) == "berta/"


def test_what_was_taken_back_is_offered_again(server: Server, images: list[str]):
    ok(skip(server, images[0]))
    ok(skip(server, images[0], "berta"))
    ok(take_back(server, images[0]))
    for uid in images[1:]:
        done(server, uid)
    assert next_image(server, "berta") is None and next_image(server) == images[0]
    assert take_back(server, images[0]).status_code == 404


def test_whoever_labels_a_skipped_image_wants_it(server: Server, images: list[str]):
    ok(skip(server, images[0]))
    ok(skip(server, images[0], "berta"))
    done(server, images[0])
    assert listed(server, "admin") == [("berta", images[0], "motion")]
    ok(server.ask("DELETE", f"/datastore/label?id={images[0]}&tag=final", "admin"))
    for uid in images[1:]:
        done(server, uid)
    assert next_image(server, "berta") is None and next_image(server) == images[0]


def test_nobody_loses_an_image_to_somebody_who_has_skipped_it(server: Server, images: list[str], label_app: Any):
    for client, uid in zip("abc", images, strict=True):
        assert next_image(server, "berta", client_id=client) == uid
    for uid in images:
        ok(skip(server, uid))
    assert next_image(server) is None
    assert len(label_app._leases.of_others("anna/")) == 3


# --- the reasons ---


def test_reasons_are_for_their_user_and_for_reviewers(server: Server, images: list[str]):
    ok(skip(server, images[0], "anna", "~5 mm? größer als <b>sonst</b>: /siehe \\oben"))
    ok(skip(server, images[1], "berta", "  breathing "))
    annas = ("anna", images[0], "~5 mm? größer als <b>sonst</b>: /siehe \\oben")
    bertas = ("berta", images[1], "breathing")
    assert listed(server, "anna") == [annas] and listed(server, "berta") == [bertas]
    assert listed(server, "rita") == listed(server, "admin") == [annas, bertas]
    (told,) = server.ask("GET", "/activelearning/skipped", "anna").json()
    assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(told["at"]) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        *(({"reason": reason}, 400) for reason in ("", "   ", "x" * 201, "a\nb", "a\x00b", "a\u202eb", "a\u2028b")),
        *((body, 422) for body in ({}, {"reason": 7}, {"reason": None}, [], "motion")),
    ],
    ids=lambda each: ascii(each)[:20],
)
def test_a_reason_that_is_none_is_refused(server: Server, images: list[str], body: Any, status: int):
    answer = server.ask("POST", f"/activelearning/skip?image={images[0]}", "anna", json=body)
    assert answer.status_code == status and listed(server, "admin") == []


def test_an_image_that_is_not_there_is_skipped_by_nobody(server: Server, images: list[str]):
    assert skip(server, "1.2.3").status_code == 404 and listed(server, "admin") == []


def test_a_deleted_image_is_forgotten_with_its_reasons(server: Server, images: list[str], pacs: Pacs):
    ok(skip(server, images[0]))
    pacs.delete(images[0])
    sampled(server, "berta")
    assert listed(server, "admin") == []


def test_skips_are_in_the_audit_log_and_their_reasons_are_not(server: Server, images: list[str], tmp_path: Path):
    ok(skip(server, images[0], "anna", "unmistakable"))
    ok(take_back(server, images[0]))
    (changes,) = tmp_path.rglob("changes.jsonl")
    recorded = [json.loads(line) for line in changes.read_text().splitlines()]
    assert [(each["user"], each["action"], each["series"]) for each in recorded] == [
        ("anna", "skip image", images[0]),
        ("anna", "take image back", images[0]),
    ]
    assert "unmistakable" not in changes.read_text()


def test_skips_outlive_a_restart(tmp_path: Path):
    file = tmp_path / "skips.json"
    Skips(file).add("anna", "1.2", "größer")
    again = Skips(file)
    assert again.of("anna") == {"1.2"} and [each["reason"] for each in again.listed()] == ["größer"]


def test_a_users_skips_are_bounded_and_push_nobody_elses_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("label_server.radiology.activelearning.skips._MOST_OF_A_USER", 3)
    skips = Skips(tmp_path / "skips.json")
    skips.add("berta", "1.1", "hers")
    for number in range(5):
        skips.add("anna", f"1.{number}", "x")
    assert skips.of("anna") == {"1.2", "1.3", "1.4"} and skips.of("berta") == {"1.1"}


def test_a_skip_that_cannot_be_written_down_is_none(tmp_path: Path):
    skips = Skips(tmp_path / "missing" / "skips.json")
    with pytest.raises(OSError):
        skips.add("anna", "1.2", "x")
    assert skips.of("anna") == set()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"anna": 7}', '{"anna": {"1.2": "x"}}', '{"anna": {"1.2": 7}}'])
def test_skips_that_cannot_be_read_are_none(tmp_path: Path, content: str):
    (tmp_path / "skips.json").write_text(content)
    assert Skips(tmp_path / "skips.json").listed() == []


# --- nothing left ---


def test_where_nothing_is_left_it_is_said_why(server: Server, images: list[str], pacs: Pacs):
    assert {"labelled", "skipped", "on_loan", "loans"}.isdisjoint(sampled(server))
    done(server, images[0])
    ok(skip(server, images[1]))
    assert next_image(server, "berta", client_id="reader 1") == images[2]
    assert sampled(server) == {"labelled": 1, "skipped": 1, "on_loan": 1}
    pacs.store(ct(4, slices=2))
    told = sampled(server)
    assert set(told) == {"labelled", "skipped", "on_loan", "left_out"} and list(told["left_out"]) == [ct(4, 2).uid]


def test_who_has_what_is_told_to_reviewers_and_admins(server: Server, images: list[str]):
    assert [next_image(server, user) for user in ("anna", "berta")] == images[:2]
    done(server, images[2], "rita")
    for user in ("rita", "admin"):
        told = sampled(server, user)
        assert (told["labelled"], told["skipped"], told["on_loan"]) == (1, 0, 2)
        assert [(each["image"], each["user"]) for each in told["loans"]] == [(images[0], "anna"), (images[1], "berta")]
        until = datetime.fromisoformat(told["loans"][0]["until"])
        assert timedelta(minutes=29) < until - datetime.now(UTC) < timedelta(minutes=31)


def test_an_image_that_is_skipped_and_on_loan_counts_once(server: Server, images: list[str]):
    ok(skip(server, images[0]))
    for uid in images[1:]:
        done(server, uid)
    assert next_image(server, "berta") == images[0]
    assert sampled(server) == {"labelled": 2, "skipped": 1, "on_loan": 0}


def test_an_answer_without_an_image_has_nothing_that_clients_take_for_one(server: Server, images: list[str]):
    """3D Slicer's plugin looks at `id`, upstream's OHIF at the series and its study."""
    for uid in images:
        done(server, uid)
    assert {"id", "path", "StudyInstanceUID", "SeriesInstanceUID"}.isdisjoint(sampled(server, "rita"))


def test_a_folder_of_studies_says_so_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "studies").mkdir()
    monkeypatch.setattr(settings, "MONAI_LABEL_DATASTORE_AUTO_RELOAD", False)
    app.load(tmp_path, str(tmp_path / "studies"), monkeypatch)
    with web.running(web.users(tmp_path)) as server:
        assert sampled(server) == {"labelled": 0, "skipped": 0, "on_loan": 0}

"""What RunPod tells late or another laptop does meanwhile makes no verb report what is not so, nor end what is used."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from labelpod.config.settings import Settings
from labelpod.runpod import resume, tokens
from tests.contract.conftest import TOKEN, Runpod
from tests.contract.unkind_runpod import UnkindRunPod

ADA, A4000 = "NVIDIA RTX 2000 Ada Generation", "NVIDIA RTX A4000"
VOLUME = ["--volume", "nodules", "--create-volume", "10"]


@pytest.fixture
def pod(fake: UnkindRunPod, published: str, runpod: Runpod) -> dict:
    """A pod with a volume runs."""
    assert runpod("launch", "--yes", "--max-price", "0.30", *VOLUME).code == 0
    (pod,) = fake.live()
    return pod


def ago(**time: float) -> str:
    return (datetime.now(UTC) - timedelta(**time)).isoformat()


# --- terminate ---


@pytest.mark.parametrize("date", ["createdAt", "name"])
@pytest.mark.parametrize("env", [True, False], ids=["env listed", "env not listed"])
def test_a_pod_that_is_listed_before_it_is_known_by_its_id_is_ended(
    fake: UnkindRunPod, runpod: Runpod, pod: dict, elsewhere: Path, date: str, env: bool
):
    fake.env_listed = env
    if date == "name":
        pod["createdAt"], fake.document = None, None
    fake.get_lag, fake._made[pod["id"]] = 20, fake.clock.now
    said = runpod("terminate", "--yes", at=elsewhere)
    assert said.code == 0 and fake.live() == [], said


def replaced(fake: UnkindRunPod, runpod: Runpod, monkeypatch: pytest.MonkeyPatch, old: dict) -> dict:
    """The pod that took the old one's place, by a resume that did not come to its end."""

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    assert runpod("stop").code == 0
    fake.full = {ADA}
    with monkeypatch.context() as patch:
        patch.setattr("labelpod.runpod.actions.terminate", kill)
        assert runpod("resume", "--yes").code == 130
    (new,) = fake.billed()
    assert new["id"] != old["id"]
    return new


@pytest.mark.parametrize("which", ["old", "new"])
def test_the_pod_that_was_named_is_ended_before_what_was_left(
    fake: UnkindRunPod, runpod: Runpod, pod: dict, monkeypatch: pytest.MonkeyPatch, which: str
):
    new = replaced(fake, runpod, monkeypatch, pod)
    delete = fake.deletePod

    def refusing(body: object, id: str) -> None:
        if id != pod["id"]:
            delete(body, id)

    monkeypatch.setattr(fake, "deletePod", refusing)
    said = runpod("terminate", "--yes", (new if which == "new" else pod)["id"])
    assert said.code == 1 and pod["id"] in said.err
    assert (f"Pod {new['id']} is ended" in said.out) is (new not in fake.live()) is (which == "new")


# --- stop ---


def interrupted(fake: UnkindRunPod, runpod: Runpod, pod: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Ctrl-C, at the first look after the start was asked for."""

    def kill(*_: object) -> None:
        if fake.calls["podAction"] > 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        look = resume.actions.pods.look
        patch.setattr("labelpod.runpod.pods.look", lambda client, pod: kill() or look(client, pod))
        assert runpod("resume").code == 130


def unanswered(fake: UnkindRunPod, runpod: Runpod, pod: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is lost, and all others are for a while."""
    fake.fail("podAction", status=502, late=20.0)
    interrupted(fake, runpod, pod, monkeypatch)


@pytest.mark.parametrize("ended", [interrupted, unanswered])
def test_a_stop_after_a_start_waits_until_the_start_can_come_no_more(
    fake: UnkindRunPod, runpod: Runpod, pod: dict, monkeypatch: pytest.MonkeyPatch, ended: Callable[..., None]
):
    assert runpod("stop").code == 0
    fake.start_seconds = 3
    ended(fake, runpod, pod, monkeypatch)
    assert pod["status"] == "EXITED"
    said = runpod("stop")
    assert said.code == 0 and "is EXITED" in said.out, said
    for _ in range(3):
        fake.clock.sleep(20)
        fake.pass_time()
    assert pod["status"] == "EXITED" and fake.billed() == []


# --- resume ---


def test_of_two_resumes_the_one_that_waited_at_its_question_takes_the_others_pod(
    fake: UnkindRunPod, runpod: Runpod, pod: dict, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
):
    assert runpod("stop").code == 0
    fake.full, asked = {ADA}, []
    real = resume.confirmed

    def confirmed(*arguments: object) -> bool:
        if not asked:
            asked.append(1)
            assert runpod("resume", "--yes", at=elsewhere).code == 0
        return real(*arguments)

    monkeypatch.setattr(resume, "confirmed", confirmed)
    said = runpod("resume", "--yes")
    assert said.code == 0 and "runs by now; no other is rented" in said.err, said
    assert [each["gpu"]["id"] for each in fake.live()] == [A4000]


def test_one_that_was_started_during_the_question_is_not_replaced(
    fake: UnkindRunPod, runpod: Runpod, pod: dict, monkeypatch: pytest.MonkeyPatch
):
    assert runpod("stop").code == 0
    fake.full, real = {ADA}, resume.confirmed

    def confirmed(*arguments: object) -> bool:
        fake.full = set()
        fake.podAction({"action": "start"}, pod["id"])
        return real(*arguments)

    monkeypatch.setattr(resume, "confirmed", confirmed)
    assert runpod("resume", "--yes").code == 0
    assert fake.live() == [pod] and pod["status"] == "RUNNING"


# --- launch ---


@pytest.mark.parametrize("made", [ago(hours=300), None], ids=["weeks ago", "it does not say"])
def test_a_launch_ends_no_pod_that_was_there_before_it(
    fake: UnkindRunPod, published: str, runpod: Runpod, made: str | None
):
    assert runpod("launch", "--yes").code == 0
    (used,) = fake.live()
    name = "labelpod-1790000000-abcdef"
    env = tokens.environment(Settings(LABEL_SERVER_TOKEN=TOKEN), name, {"admin": "admin"})
    used.update(createdAt=made, name=name, env=used["env"] | env)
    fake.document = None
    older = used | {"id": "older", "status": "EXITED", "actions": ["start"], "createdAt": ago(hours=900)}
    fake.pods["older"] = older
    fake.token_answers = lambda _: (200, {"name": older.update(status="RUNNING", actions=["stop"])})
    said = runpod("launch", "--yes")
    assert used in fake.live() and "was ended" not in said.err, said


def test_anothers_pod_that_is_seen_only_when_ours_is_ready_is_held_against_the_price(
    fake: UnkindRunPod, published: str, runpod: Runpod
):
    def other(_: str):
        if "pod0000" not in fake.pods:
            (ours,) = fake.live()
            fake.pods["pod0000"] = ours | {"id": "pod0000", "createdAt": ago(minutes=1), "cost": 0.74}
        return 200, {}

    fake.token_answers = other
    said = runpod("launch", "--yes", "--max-price", "0.40")
    assert said.code == 1 and "already exists, at $0.74" in said.err, said
    assert [each["id"] for each in fake.live()] == ["pod0000"]

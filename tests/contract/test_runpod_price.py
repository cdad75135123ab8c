"""What is paid is what was agreed to: at a launch, and when a stopped pod needs another host."""

from pathlib import Path

import pytest

from tests.contract.conftest import Runpod
from tests.contract.fake_runpod import NO_CAPACITY
from tests.contract.unkind_runpod import UnkindRunPod

ADA, A4000, RTX_4090 = "NVIDIA RTX 2000 Ada Generation", "NVIDIA RTX A4000", "NVIDIA GeForce RTX 4090"


@pytest.fixture
def stopped(fake: UnkindRunPod, published: str, runpod: Runpod) -> dict:
    """A pod with a volume, for at most $0.30, whose host has no GPU left."""
    said = runpod("launch", "--yes", "--max-price", "0.30", "--volume", "nodules", "--create-volume", "10")
    assert said.code == 0 and runpod("stop").code == 0
    (pod,) = fake.live()
    fake.full = {ADA}
    return pod


@pytest.mark.parametrize("arguments", [["--max-price", "0.40"], []], ids=["asked for", "as shown"])
def test_a_pod_that_is_made_above_the_price_is_ended_and_the_next_is_tried(
    fake: UnkindRunPod, published: str, runpod: Runpod, arguments: list[str]
):
    fake.prices = {ADA: 1.90}
    said = runpod("launch", "--yes", *arguments)
    assert said.code == 0 and "made at $1.90 an hour" in said.err
    assert [pod["gpu"]["id"] for pod in fake.live()] == [A4000]


def test_if_all_are_made_above_the_price_there_is_no_pod(fake: UnkindRunPod, published: str, runpod: Runpod):
    fake.prices = {ADA: 1.90, A4000: 0.41}
    said = runpod("launch", "--yes", "--max-price", "0.40")
    assert said.code == 1 and "none of 2 GPUs can be rented now" in said.err and "$0.41" in said.err
    assert fake.live() == []


def test_one_above_the_price_that_does_not_end_is_told_and_no_other_is_rented(
    fake: UnkindRunPod, published: str, runpod: Runpod
):
    fake.prices, fake.deaf_deletes = {ADA: 1.90}, 99
    said = runpod("launch", "--yes", "--max-price", "0.40")
    assert said.code == 1 and "COSTS $1.90 AN HOUR" in said.err and len(fake.live()) == 1


def test_one_above_the_price_that_is_not_known_yet_is_ended_when_it_is(
    fake: UnkindRunPod, published: str, runpod: Runpod
):
    fake.prices, fake.get_lag, fake.list_lag = {ADA: 1.90}, 8, 12
    assert runpod("launch", "--yes", "--max-price", "0.40").code == 0
    assert [pod["gpu"]["id"] for pod in fake.live()] == [A4000]


def test_a_price_that_is_told_only_when_the_pod_runs_is_looked_at_then(
    fake: UnkindRunPod, published: str, runpod: Runpod
):
    fake.prices = {ADA: 0.0}
    ready = fake.token_answers

    def dearer(token: str):
        for pod in fake.live():
            pod["cost"] = 1.90
        return ready(token)

    fake.token_answers = dearer
    said = runpod("launch", "--yes", "--max-price", "0.40")
    assert said.code == 1 and "made at $1.90" in said.err and fake.live() == []


def test_a_launch_that_was_killed_before_it_saw_the_price_is_made_good_by_the_next(
    fake: UnkindRunPod, published: str, runpod: Runpod, monkeypatch: pytest.MonkeyPatch
):
    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    fake.prices = {ADA: 1.90}
    with monkeypatch.context() as patch:
        patch.setattr("labelpod.runpod.ledger.add", kill)
        assert runpod("launch", "--yes", "--max-price", "0.40").code == 130
    assert len(fake.live()) == 1
    said = runpod("launch", "--yes", "--max-price", "0.40")
    assert said.code == 1 and "made at $1.90" in said.err and fake.live() == []


def test_a_pod_that_exists_and_costs_more_than_was_asked_for_is_no_success(
    fake: UnkindRunPod, published: str, runpod: Runpod
):
    assert runpod("launch", "--yes", "--gpu", "4090").code == 0
    said = runpod("launch", "--yes", "--max-price", "0.30")
    assert said.code == 1 and "already exists, at $0.74" in said.err and len(fake.live()) == 1


def test_anothers_launch_at_the_same_time_that_is_dearer_is_no_success(
    fake: UnkindRunPod, published: str, runpod: Runpod
):
    def other(pod: dict) -> None:
        fake.on_create = lambda _: None
        first = {"id": "pod0000", "name": "labelpod-1-abcdef", "createdAt": "2020-01-01T00:00:00Z", "cost": 0.74}
        fake.pods["pod0000"] = pod | first

    fake.on_create = other
    said = runpod("launch", "--yes", "--max-price", "0.40")
    assert said.code == 1 and "already exists, at $0.74" in said.err
    assert [pod["id"] for pod in fake.live()] == ["pod0000"]


# --- what is advised ---


@pytest.mark.parametrize("status", [400, 403])
def test_a_refusal_that_says_nothing_of_capacity_is_told_in_its_own_words(
    fake: UnkindRunPod, published: str, runpod: Runpod, status: int
):
    fake.fail("createPod", status=status, times=9, detail="the key is read-only")
    said = runpod("launch", "--yes")
    assert said.code == 1 and "the key is read-only" in said.err, said
    assert "can be rented now" not in said.err and "--max-price" not in said.err and fake.live() == []


def test_a_gpu_that_is_not_allowed_gives_way_to_the_next(fake: UnkindRunPod, published: str, runpod: Runpod):
    fake.fail("createPod", status=403, detail="this GPU pool is not allowed")
    assert runpod("launch", "--yes").code == 0
    assert [pod["gpu"]["id"] for pod in fake.live()] == [A4000]


@pytest.mark.parametrize(("price", "enough"), [(0.2449, "0.25"), (0.24, "0.24"), (0.57, "0.57"), (0.29, "0.29")])
def test_the_advised_price_is_enough(fake: UnkindRunPod, published: str, runpod: Runpod, price: float, enough: str):
    fake.catalogue = [each | {"price": {"secure": price, "community": 0.0}} for each in fake.catalogue]
    said = runpod("launch", "--yes", "--max-price", "0.2")
    assert said.code == 1 and f"--max-price {enough}\n" in said.err, said
    assert runpod("launch", "--yes", "--max-price", enough).code == 0
    said = runpod("launch", "--yes", "--max-price", "0.2")
    assert said.code == 1 and f"--max-price {enough}\n" in said.err, said
    assert runpod("launch", "--yes", "--max-price", enough).code == 0


def test_a_price_that_is_told_late_is_not_said_to_be_another_the_next_time(
    fake: UnkindRunPod, published: str, runpod: Runpod
):
    fake.prices = {ADA: 0.0}
    fake.token_answers = lambda _: (200, {"name": [pod.update(cost=1.9001) for pod in fake.live()]})
    said = runpod("launch", "--yes", "--max-price", "0.40")
    assert said.code == 1 and f"would take {ADA} again: --gpu names another, or --max-price 1.91" in said.err, said
    assert runpod("launch", "--yes", "--max-price", "1.91").code == 0


# --- another host ---


def test_another_host_is_asked_for_with_its_gpu_and_price(fake: UnkindRunPod, runpod: Runpod, stopped: dict):
    fake.catalogue = [each for each in fake.catalogue if each["id"] != ADA]
    said = runpod("resume")
    assert said.code == 1 and "RTX A4000 (16 GB) at $0.25 an hour" in said.err and "--yes" in said.err
    assert fake.live() == [stopped] and fake.calls["createPod"] == 1
    assert runpod("resume", "--yes").code == 0
    (pod,) = fake.live()
    assert (pod["gpu"]["id"], pod["mounts"], pod["cost"]) == (A4000, stopped["mounts"], 0.25)


def test_another_host_is_no_dearer_than_was_agreed_to_and_without_one_the_pod_is_kept(
    fake: UnkindRunPod, runpod: Runpod, stopped: dict
):
    fake.catalogue = [each for each in fake.catalogue if each["id"] == RTX_4090]
    said = runpod("resume", "--yes")
    assert said.code == 1 and "nothing in stock for $0.30 an hour" in said.err
    assert f"pod {stopped['id']} is kept" in said.err and fake.live() == [stopped]


@pytest.mark.parametrize(
    "unkindness", [{"full": {ADA, A4000}}, {"prices": {A4000: 3.59, ADA: 3.59}}], ids=["none free", "too dear"]
)
def test_the_old_pod_is_kept_until_the_new_one_is_there_and_within_the_price(
    fake: UnkindRunPod, runpod: Runpod, stopped: dict, unkindness: dict
):
    for name, value in unkindness.items():
        setattr(fake, name, value)
    said = runpod("resume", "--yes")
    assert said.code == 1 and "is kept" in said.err and fake.live() == [stopped] and stopped["status"] == "EXITED"


def test_a_pod_beside_it_is_not_taken_for_a_rival(fake: UnkindRunPod, runpod: Runpod, stopped: dict):
    beside = stopped | {"id": "beside", "status": "RUNNING", "actions": ["stop"], "createdAt": "2020-01-01T00:00:00Z"}
    fake.pods["beside"] = beside
    assert runpod("resume", stopped["id"], "--yes").code == 0
    assert [pod["status"] for pod in fake.live()] == ["RUNNING", "RUNNING"] and beside in fake.live()


@pytest.mark.parametrize("told", ["environment", "record", "neither"])
def test_what_a_pod_was_rented_for_is_told_by_its_environment_or_the_record(
    fake: UnkindRunPod, runpod: Runpod, stopped: dict, tmp_path: Path, told: str
):
    if told != "environment":
        del stopped["env"]["LABELPOD_WISH"]
    if told != "record":
        (tmp_path / ".runpod.json").unlink()
    fake.catalogue = [
        each | {"price": {"secure": 0.29, "community": 0.0}} for each in fake.catalogue if each["id"] == A4000
    ]
    assert runpod("resume", "--yes").code == (told == "neither")
    assert [pod["gpu"]["id"] for pod in fake.live()] == [ADA if told == "neither" else A4000]


def test_the_old_wish_is_kept(fake: UnkindRunPod, published: str, runpod: Runpod):
    arguments = ["--gpu", "4090", "--min-vram", "20", "--volume", "nodules", "--create-volume", "10"]
    assert runpod("launch", "--yes", *arguments).code == 0 and runpod("stop").code == 0
    fake.full = {RTX_4090}
    said = runpod("resume", "--yes")
    assert said.code == 1 and "none of 1 GPUs" in said.err and [pod["status"] for pod in fake.live()] == ["EXITED"]


@pytest.mark.parametrize("status", [400, 500])
def test_that_no_gpu_is_free_may_come_with_400_and_500(fake: UnkindRunPod, runpod: Runpod, stopped: dict, status: int):
    fake.no_gpu_status = status
    assert runpod("resume", "--yes").code == 0
    (pod,) = fake.live()
    assert pod["gpu"]["id"] == A4000


@pytest.mark.parametrize(
    ("status", "detail"), [(400, "the pod is being migrated"), (500, "internal error"), (503, NO_CAPACITY)]
)
def test_other_answers_do_not_mean_that_no_gpu_is_free(
    fake: UnkindRunPod, runpod: Runpod, stopped: dict, status: int, detail: str
):
    fake.full = set()
    fake.fail("podAction", status=status, detail=detail)
    said = runpod("resume", "--yes")
    assert fake.live() == [stopped] and fake.calls["createPod"] == 1
    assert (said.code, stopped["status"]) == ((1, "EXITED") if status == 400 else (0, "RUNNING")), said


@pytest.mark.parametrize("status", [400, 500])
def test_capacity_that_was_lost_since_the_list_gives_way_to_the_next(
    fake: UnkindRunPod, published: str, runpod: Runpod, status: int
):
    fake.no_gpu_status, fake.full = status, {ADA}
    assert runpod("launch", "--yes").code == 0
    assert [pod["gpu"]["id"] for pod in fake.live()] == [A4000]


def test_a_pod_whose_price_has_risen_is_stopped_again(fake: UnkindRunPod, runpod: Runpod, stopped: dict):
    fake.full, fake.prices = set(), {ADA: 1.90}
    said = runpod("resume")
    assert said.code == 1 and "costs $1.90 an hour now" in said.err and stopped["status"] == "EXITED"


def test_a_price_that_a_resumed_pod_tells_only_when_it_runs_is_looked_at_then(
    fake: UnkindRunPod, runpod: Runpod, stopped: dict
):
    fake.full = set()
    fake.token_answers = lambda _: (200, {"name": stopped.update(cost=1.90)})
    said = runpod("resume")
    assert said.code == 1 and "costs $1.90 an hour now" in said.err and stopped["status"] == "EXITED"


def test_a_stopped_pod_that_shows_no_price_is_replaced_at_the_one_that_was_recorded(
    fake: UnkindRunPod, runpod: Runpod, stopped: dict, tmp_path: Path
):
    del stopped["env"]["LABELPOD_WISH"]
    stopped["cost"] = 0.0
    record = tmp_path / ".runpod.json"
    record.write_text(record.read_text().replace('"wish"', '"other"'))
    assert runpod("status").code == 0
    said = runpod("resume", "--yes")
    assert said.code == 1 and "none of 1 GPUs can be rented now" in said.err and fake.live() == [stopped]


def test_what_a_pod_was_rented_for_is_asked_again_if_the_list_leaves_it_out(
    fake: UnkindRunPod, runpod: Runpod, stopped: dict, tmp_path: Path
):
    """The other laptop has no record, and the pod shows a price that it was not rented for."""
    (tmp_path / ".runpod.json").unlink()
    fake.env_listed, stopped["cost"] = False, 1.90
    fake.catalogue = [each for each in fake.catalogue if each["id"] == RTX_4090]
    fake.fail("getPod", status=409, times=2)
    assert runpod("resume", "--yes").code == 1 and fake.live() == [stopped]
    fake.fail("getPod", status=409, times=1)
    assert runpod("resume", "--yes").code == 1 and fake.live() == [stopped]


@pytest.mark.parametrize("verb", ["resume", "terminate"])
def test_a_resume_that_was_killed_between_the_two_pods_is_made_good_by_the_next(
    fake: UnkindRunPod, runpod: Runpod, stopped: dict, monkeypatch: pytest.MonkeyPatch, verb: str
):
    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("labelpod.runpod.actions.terminate", kill)
        assert runpod("resume", "--yes").code == 130
    assert len(fake.live()) == 2 and len(fake.billed()) == 1
    fake.full = set()
    assert runpod("url").code == runpod("stop").code == 0
    said = runpod(verb, "--yes")
    assert said.code == 0 and len(fake.live()) == len(fake.billed()) == (verb == "resume"), said

"""While RunPod does not answer for a while nothing that is paid for is left unsaid, and nothing is given up."""

import pytest

from tests.contract.conftest import Runpod
from tests.contract.unkind_runpod import UnkindRunPod

ADA = "NVIDIA RTX 2000 Ada Generation"
VOLUME = ["--volume", "nodules", "--create-volume", "10"]
AN_OUTAGE = {"status": 503, "times": 4}


@pytest.fixture
def stopped(fake: UnkindRunPod, published: str, runpod: Runpod) -> dict:
    """A pod with a volume, whose host has no GPU left."""
    assert runpod("launch", "--yes", *VOLUME).code == runpod("stop").code == 0
    (pod,) = fake.live()
    fake.full = {ADA}
    return pod


def outage_of(fake: UnkindRunPod, monkeypatch: pytest.MonkeyPatch, operation: str, created: str, **fault: int) -> None:
    """Let an operation fail once something has been created."""
    create = getattr(fake, created)

    def failing(body: dict) -> dict:
        fake.fail(operation, **(AN_OUTAGE | fault))
        return create(body)

    monkeypatch.setattr(fake, created, failing)


@pytest.mark.parametrize("operation", ["getPod", "listPods", "getPodLogs"])
def test_an_outage_just_after_a_pod_was_rented_is_waited_out(
    fake: UnkindRunPod, published: str, runpod: Runpod, monkeypatch: pytest.MonkeyPatch, operation: str
):
    outage_of(fake, monkeypatch, operation, "createPod")
    said = runpod("launch", "--yes", *VOLUME)
    assert said.code == 0 and "is ready" in said.out and "stays and costs" not in said.err, said


def test_a_pod_that_was_rented_is_told_with_its_price_whatever_comes_then(
    fake: UnkindRunPod, published: str, runpod: Runpod, monkeypatch: pytest.MonkeyPatch
):
    outage_of(fake, monkeypatch, "listPods", "createPod", status=401)
    said = runpod("launch", "--yes", *VOLUME)
    (pod,) = fake.live()
    assert said.code == 1 and f"Pod {pod['id']} is rented, at $0.24 an hour" in said.err
    assert "stays and costs" not in said.err, "the pod has the volume"


@pytest.mark.parametrize("operation", ["getPod", "listPods"])
def test_an_outage_in_a_resume_is_waited_out(
    fake: UnkindRunPod, runpod: Runpod, stopped: dict, monkeypatch: pytest.MonkeyPatch, operation: str
):
    outage_of(fake, monkeypatch, operation, "createPod")
    said = runpod("resume", "--yes")
    assert said.code == 0 and len(fake.live()) == len(fake.billed()) == 1, said


@pytest.mark.parametrize(
    ("operation", "status"), [("listPods", 401), ("createPod", 502)], ids=["not allowed", "lost answer"]
)
def test_a_second_pod_is_advised_only_if_none_was_ordered(
    fake: UnkindRunPod, runpod: Runpod, stopped: dict, monkeypatch: pytest.MonkeyPatch, operation: str, status: int
):
    if operation == "createPod":
        fake.fail("createPod", status=502, done=False)
    else:
        outage_of(fake, monkeypatch, operation, "createPod", status=status)
    said = runpod("resume", "--yes")
    assert said.code == 1 and f"pod {stopped['id']} is kept" in said.err and "launch --force" not in said.err, said


@pytest.mark.parametrize("lost", [False, True], ids=["made", "answer lost"])
def test_a_volume_that_was_made_is_told_whatever_comes_then(
    fake: UnkindRunPod, published: str, runpod: Runpod, monkeypatch: pytest.MonkeyPatch, lost: bool
):
    outage_of(fake, monkeypatch, "listNetworkVolumes", "createNetworkVolume")
    if lost:
        fake.fail("createNetworkVolume", status=502, done=True)
    assert runpod("launch", "--yes", *VOLUME).code == 0 and len(fake.volumes) == len(fake.live()) == 1


def test_a_volume_is_told_with_its_price_before_anything_can_go_wrong(
    fake: UnkindRunPod, published: str, runpod: Runpod, monkeypatch: pytest.MonkeyPatch
):
    outage_of(fake, monkeypatch, "listNetworkVolumes", "createNetworkVolume", status=401)
    said = runpod("launch", "--yes", *VOLUME)
    (volume,) = fake.volumes
    assert said.code == 1 and "$0.70 a month" in said.err and f"volumes delete {volume}" in said.err, said


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 0}], ids=["503", "no answer"])
def test_an_outage_while_the_pod_starts_is_waited_out(
    fake: UnkindRunPod, published: str, runpod: Runpod, monkeypatch: pytest.MonkeyPatch, fault: dict
):
    fake.polls_until_ready, looked = 5, []

    def logs(*_: object, **__: object) -> list[str]:
        looked.append(1)
        if len(looked) < 3:
            fake.fail("getPod", times=4, **fault)
        return []

    monkeypatch.setattr(fake, "getPodLogs", logs)
    said = runpod("launch", "--yes")
    assert said.code == 0 and "is ready" in said.out, said


def test_an_outage_that_does_not_end_is_told_with_the_price(fake: UnkindRunPod, published: str, runpod: Runpod):
    fake.polls_until_ready = 10**6
    fake.system_log = []
    assert runpod("launch", "--yes", "--minutes", "0.005").code == 1
    (pod,) = fake.live()
    get, calls = fake.getPod, []

    def failing(body: object, id: str) -> dict:
        calls.append(1)
        if len(calls) == 4:
            fake.fail("getPod", status=503, times=10**6)
        return get(body, id)

    fake.getPod = failing
    said = runpod("launch", "--yes", "--minutes", "0.02")
    assert said.code == 1 and f"pod {pod['id']} is not ready" in said.err and "it costs $0.24 an hour" in said.err, said


def test_a_pod_that_is_known_by_its_id_only_after_the_lag_is_waited_for(
    fake: UnkindRunPod, published: str, runpod: Runpod
):
    fake.get_lag = 45
    said = runpod("launch", "--yes")
    assert said.code == 0 and "is ready" in said.out, said


@pytest.mark.parametrize("verb", ["stop", "reap", "status"])
def test_a_pod_of_the_record_for_which_nobody_answers_stops_no_verb(
    fake: UnkindRunPod, published: str, runpod: Runpod, monkeypatch: pytest.MonkeyPatch, verb: str
):
    assert runpod("launch", "--yes").code == 0
    (pod,) = fake.live()
    monkeypatch.setattr(fake, "listPods", lambda _: {"pods": []})
    fake.fail("getPod", status=0, times=4)
    said = runpod(verb)
    assert said.code == 0, said
    assert (pod["status"] == "EXITED") is (verb == "stop")

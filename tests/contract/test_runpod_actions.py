"""stop, resume, terminate and reap report what RunPod says afterwards, whatever became of their requests."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.contract.conftest import Runpod
from tests.contract.unkind_runpod import UnkindRunPod


@pytest.fixture
def pod(fake: UnkindRunPod, published: str, runpod: Runpod) -> dict:
    """A pod with a volume runs."""
    assert runpod("launch", "--yes", "--volume", "nodules", "--create-volume", "10").code == 0
    (pod,) = fake.live()
    return pod


def aged(pod: dict, hours: float) -> dict:
    pod["startedAt"] = pod["createdAt"] = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    return pod


def copied(fake: UnkindRunPod, pod: dict, name: str, **fields: object) -> dict:
    """Another pod of the stack's, as --force rents."""
    fake.pods[name] = pod | {"id": name} | fields
    return fake.pods[name]


FAULTS = {
    "not answered": {"status": 0},
    "500 and not done": {"status": 500},
    "502 and done": {"status": 502, "done": True},
    "504 and done later": {"status": 504, "late": 20.0},
    "409": {"status": 409},
    "429": {"status": 429},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_stop_ends_when_the_pod_has_stopped(fake: UnkindRunPod, runpod: Runpod, pod: dict, fault: dict):
    fake.fail("podAction", **fault)
    said = runpod("stop")
    assert said.code == 0 and "is EXITED" in said.out and pod["status"] == "EXITED", said


def test_a_stop_that_is_accepted_without_effect_is_repeated(fake: UnkindRunPod, runpod: Runpod, pod: dict):
    fake.deaf = 3
    assert runpod("stop").code == 0 and pod["status"] == "EXITED" and fake.calls["podAction"] == 4


def test_a_stop_that_takes_a_minute_is_waited_for(fake: UnkindRunPod, runpod: Runpod, pod: dict):
    fake.stop_seconds = 60
    assert runpod("stop").code == 0 and pod["status"] == "EXITED"


@pytest.mark.parametrize(
    ("unkindness", "words"),
    [({"deaf": 99}, "still RUNNING"), ({"faults": {"status": 500, "times": 999}}, "RunPod did not answer")],
    ids=["deaf", "500"],
)
def test_a_pod_that_does_not_stop_is_told_with_its_price(
    fake: UnkindRunPod, runpod: Runpod, pod: dict, unkindness: dict, words: str
):
    fake.deaf = unkindness.get("deaf", 0)
    if fault := unkindness.get("faults"):
        fake.fail("podAction", **fault)
    start = fake.clock.now
    said = runpod("stop")
    assert said.code == 1 and words in said.err and "COSTS $0.24 AN HOUR" in said.err
    assert f"runpod stop {pod['id']}" in said.err and "console" in said.err and fake.clock.now < start + 300


def test_a_pod_with_an_error_is_not_called_stopped(fake: UnkindRunPod, runpod: Runpod, pod: dict):
    pod.update(status="ERROR", actions=["start", "terminate"])
    said = runpod("stop")
    assert said.code == 1 and "still ERROR" in said.err and f"runpod terminate {pod['id']}" in said.err


@pytest.mark.parametrize("status", ["PROVISIONING", "STARTING"])
def test_a_pod_that_is_starting_is_stopped(fake: UnkindRunPod, runpod: Runpod, pod: dict, status: str):
    pod.update(status=status, actions=["stop", "terminate"], startedAt=None)
    assert runpod("stop").code == 0 and pod["status"] == "EXITED"


def test_which_of_several_pods_stops_can_be_said(fake: UnkindRunPod, runpod: Runpod, pod: dict):
    other = copied(fake, pod, "other")
    said = runpod("stop")
    assert said.code == 1 and "has 2 pods" in said.err and "runpod stop POD" in said.err
    assert runpod("stop", "other").code == 0
    assert (pod["status"], other["status"]) == ("RUNNING", "EXITED")


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_terminate_ends_when_the_pod_is_gone(fake: UnkindRunPod, runpod: Runpod, pod: dict, fault: dict):
    fake.fail("deletePod", **fault)
    assert runpod("terminate", "--yes").code == 0 and fake.live() == []


def test_a_terminate_that_is_accepted_without_effect_is_repeated_and_then_told(
    fake: UnkindRunPod, runpod: Runpod, pod: dict
):
    fake.deaf_deletes = 99
    said = runpod("terminate", "--yes")
    assert said.code == 1 and "COSTS $0.24 AN HOUR" in said.err and "is ended" not in said.out
    fake.deaf_deletes = 2
    assert runpod("terminate", "--yes").code == 0 and fake.live() == []


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_resume_ends_when_the_pod_runs(fake: UnkindRunPod, runpod: Runpod, pod: dict, fault: dict):
    runpod("stop")
    fake.fail("podAction", **fault)
    said = runpod("resume")
    assert said.code == 0 and pod["status"] == "RUNNING" and len(fake.live()) == 1, said


def test_a_resume_that_takes_a_second_is_waited_for(fake: UnkindRunPod, runpod: Runpod, pod: dict):
    runpod("stop")
    fake.start_seconds = 1
    said = runpod("resume")
    assert said.code == 0 and pod["status"] == "RUNNING" and len(fake.live()) == 1, said


def test_a_pod_that_does_not_start_is_told(fake: UnkindRunPod, runpod: Runpod, pod: dict):
    runpod("stop")
    fake.deaf = 99
    said = runpod("resume")
    assert said.code == 1 and "does not start: it is still EXITED" in said.err and "$0.24 an hour" in said.err


# --- reap ---


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_reap_looks_at_what_it_has_stopped(fake: UnkindRunPod, runpod: Runpod, pod: dict, fault: dict):
    aged(pod, 20)
    fake.fail("podAction", **fault)
    said = runpod("reap")
    assert said.code == 0 and "stopped after 20.0 h" in said.out and pod["status"] == "EXITED"


def test_one_pod_that_cannot_be_stopped_keeps_reap_from_no_other(fake: UnkindRunPod, runpod: Runpod, pod: dict):
    aged(pod, 20)
    others = [copied(fake, pod, name) for name in ("other1", "other2", "other3")]
    others[0]["locked"] = True
    real = fake.podAction
    fake.podAction = lambda body, id: pod if id == "other1" else real(body, id)
    fake.fail("podAction", status=403)
    said = runpod("reap")
    assert said.code == 1 and "2 pods of labelpod STILL COST MONEY" in said.err
    assert said.out.count("stopped after") == 2 and "does not allow it" in said.out and "neither stopped" in said.out
    assert [each["status"] for each in fake.live()].count("EXITED") == 2


@pytest.mark.parametrize("status", ["PROVISIONING", "STARTING", "ERROR"])
def test_reap_counts_pods_that_never_ran(fake: UnkindRunPod, runpod: Runpod, pod: dict, status: str):
    aged(pod, 20).update(status=status, startedAt=None, actions=["stop", "terminate"])
    if status == "ERROR":
        pod["actions"] = ["start", "terminate"]
    said = runpod("reap")
    assert said.code == 0 and pod["id"] in said.out and fake.billed() == []


@pytest.mark.parametrize("date", ["yesterday", None, "2026-11-20T00:00:00", 17])
def test_dates_that_cannot_be_read_keep_nobody_from_anything(
    fake: UnkindRunPod, runpod: Runpod, pod: dict, date: object
):
    fake.document = None
    pod.update(startedAt=date, createdAt=date)
    assert runpod("status").code == runpod("cost").code == 0
    assert "Traceback" not in runpod("reap").err
    pod["name"] = "started-in-the-console"
    said = runpod("reap")
    odd = date != "2026-11-20T00:00:00"
    assert said.code == odd and ("does not say since when" in said.out) is odd
    assert runpod("stop").code == 0

"""A pod's life after its launch: status, url, logs, stop, resume, terminate, cost, reap."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from labelpod.config.settings import Settings
from labelpod.runpod import tokens
from tests.contract.conftest import IMAGE, TOKEN, Runpod
from tests.contract.fake_runpod import FakeRunPod


@pytest.fixture
def pod(fake: FakeRunPod, published: str, runpod: Runpod) -> dict:
    """A pod without a volume runs."""
    assert runpod("launch", "--yes").code == 0
    (pod,) = fake.live()
    return pod


@pytest.fixture
def on_volume(fake: FakeRunPod, published: str, runpod: Runpod) -> dict:
    """A pod with a volume runs."""
    assert runpod("launch", "--yes", "--volume", "nodules", "--create-volume", "50").code == 0
    (pod,) = fake.live()
    return pod


def started(pod: dict, hours: float) -> None:
    pod["startedAt"] = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()


def test_the_status_says_what_runs_since_when_and_for_how_much(fake: FakeRunPod, runpod: Runpod, pod: dict):
    started(pod, 2)
    state = json.loads(runpod("status", "--json").out)
    assert state["template"]["image"] == IMAGE
    (known,) = state["pods"]
    assert known["id"] == pod["id"] and known["usd_per_hour"] == 0.24 and known["usd_so_far"] == 0.48
    assert TOKEN not in json.dumps(state)
    words = runpod("status").out
    assert pod["id"] in words and "$0.24 an hour; 2.0 h, $0.48" in words and "no volume" in words


def test_without_anything_the_status_says_so(fake: FakeRunPod, runpod: Runpod):
    said = runpod("status")
    assert said.code == 0 and "No template" in said.out and "No pod: nothing is billed" in said.out
    assert "has no pod" in runpod("stop").err and "has no pod" in runpod("url").err


def test_the_url_is_ready_to_paste(fake: FakeRunPod, runpod: Runpod, pod: dict):
    token = tokens.of(pod, Settings(LABEL_SERVER_TOKEN=TOKEN))["admin"]
    assert runpod("url").out.strip() == f"{fake.url}/proxy/{pod['id']}/{token}/"
    real = runpod("url", RUNPOD_PROXY_URL="").out.strip()
    assert real == f"https://{pod['id']}-8000.proxy.runpod.net/{token}/"


def test_the_logs_are_shown(fake: FakeRunPod, runpod: Runpod, pod: dict):
    fake.system_log = ["pulling", "started"]
    assert runpod("logs", "--system").out.splitlines() == ["pulling", "started"]


def test_a_stopped_pod_costs_nothing_more_whatever_it_shows(fake: FakeRunPod, runpod: Runpod, pod: dict):
    said = runpod("stop")
    assert said.code == 0 and "is EXITED; what was trained on it is gone" in said.out
    assert runpod("stop").code == 0 and fake.calls["podAction"] == 1
    (known,) = json.loads(runpod("status", "--json").out)["pods"]
    assert pod["cost"] == 0.24 and known["usd_per_hour"] == 0 and known["url"] is None


def test_a_stop_that_was_not_answered_is_looked_after(fake: FakeRunPod, runpod: Runpod, pod: dict):
    fake.fail("podAction", status=0, done=True)
    assert "is EXITED" in runpod("stop").out


def test_a_locked_pod_says_so(fake: FakeRunPod, runpod: Runpod, pod: dict):
    pod["locked"] = True
    assert "is locked" in runpod("stop").err and pod["status"] == "RUNNING"


def test_resume_starts_the_same_pod(fake: FakeRunPod, runpod: Runpod, pod: dict):
    runpod("stop")
    said = runpod("resume")
    assert said.code == 0 and "is ready" in said.out and pod["status"] == "RUNNING" and len(fake.live()) == 1


def test_where_the_host_is_full_another_pod_takes_the_volume(fake: FakeRunPod, runpod: Runpod, on_volume: dict):
    runpod("stop")
    fake.full = {on_volume["gpu"]["id"]}
    said = runpod("resume", "--yes")
    assert said.code == 0 and "another pod takes its volume" in said.err, said.err
    (other,) = fake.live()
    assert other["id"] != on_volume["id"] and other["mounts"] == on_volume["mounts"]


def test_where_the_host_is_full_and_there_is_no_volume_nothing_is_lost(fake: FakeRunPod, runpod: Runpod, pod: dict):
    runpod("stop")
    fake.full = {pod["gpu"]["id"]}
    said = runpod("resume")
    assert said.code == 1 and "has no GPU left" in said.err and fake.live() == [pod]


def test_terminate_guards_what_is_only_on_the_pod(fake: FakeRunPod, runpod: Runpod, pod: dict):
    said = runpod("terminate", "--yes")
    assert said.code == 1 and "has no volume" in said.err and fake.live() == [pod]
    assert runpod("terminate", "--yes", "--force").code == 0 and fake.live() == []


def test_terminate_leaves_the_volume_and_asks(fake: FakeRunPod, runpod: Runpod, on_volume: dict):
    assert "nothing was ended" in runpod("terminate").err and len(fake.live()) == 1
    assert runpod("terminate", "--yes").code == 0 and fake.live() == [] and len(fake.volumes) == 1


def test_a_pod_that_is_gone_already_is_ended(fake: FakeRunPod, runpod: Runpod, on_volume: dict):
    fake.fail("deletePod", status=404)
    assert runpod("terminate", on_volume["id"], "--yes").code == 0


def test_the_cost_is_by_day_with_volumes_and_pods_that_are_gone(fake: FakeRunPod, runpod: Runpod, on_volume: dict):
    (volume,) = fake.volumes
    day = {"startTime": "2026-11-20T00:00:00Z", "endTime": "2026-11-21T00:00:00Z"}
    fake.bills = [
        day | {"podId": on_volume["id"], "totalAmount": 1.5},
        day | {"podId": "somebody-elses", "totalAmount": 99.0},
        day | {"networkVolumeId": volume, "totalAmount": 0.12},
    ]
    runpod("terminate", "--yes")
    found = json.loads(runpod("cost", "--json").out)
    assert found["days"] == {"2026-11-20": {"pods": 1.5, "volumes": 0.12}}
    assert found["total"] == pytest.approx(1.62) and found["hourly"] == 0
    assert "together $1.62" in runpod("cost").out


def test_reap_stops_what_runs_too_long_and_nothing_else(fake: FakeRunPod, runpod: Runpod, pod: dict):
    fake.pods["other"] = pod | {"id": "other", "name": "not-ours", "env": {}, "startedAt": "2020-01-01T00:00:00Z"}
    started(pod, 5)
    assert runpod("reap").out == "" and pod["status"] == "RUNNING"
    started(pod, 13)
    assert runpod("reap", MAX_HOURS="0").out == "" and pod["status"] == "RUNNING"
    assert f"{pod['id']} stopped after 13.0 h" in runpod("reap").out and pod["status"] == "EXITED"
    assert fake.pods["other"]["status"] == "RUNNING" and runpod("reap").out == ""


def test_reap_ends_what_cannot_be_stopped_only_if_its_data_stays(fake: FakeRunPod, runpod: Runpod, on_volume: dict):
    started(on_volume, 13)
    on_volume["actions"] = ["terminate"]
    mounts, on_volume["mounts"] = on_volume["mounts"], {}
    assert "can be neither stopped nor ended" in runpod("reap").out and len(fake.live()) == 1
    on_volume["mounts"] = mounts
    assert "its volume stays" in runpod("reap").out and fake.live() == []

"""Answers that are not as RunPod's document says end no verb with a traceback, and hide no pod that costs."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.contract.conftest import Runpod
from tests.contract.unkind_runpod import UnkindRunPod

ADA = "NVIDIA RTX 2000 Ada Generation"
VOLUME = ["--volume", "nodules", "--create-volume", "10"]


@pytest.fixture
def pod(fake: UnkindRunPod, published: str, runpod: Runpod) -> dict:
    """A pod with a volume runs, at a service that has stopped to keep to its document."""
    assert runpod("launch", "--yes", *VOLUME).code == 0
    (pod,) = fake.live()
    fake.document = None
    return pod


def without(answer: dict, names: tuple[str, ...]) -> dict:
    return {name: value for name, value in answer.items() if name not in names}


def shown_without(fake: UnkindRunPod, monkeypatch: pytest.MonkeyPatch, operation: str, *names: str) -> None:
    """Let answers leave fields out, behind the back of the fake's own contract."""
    real = fake.answer

    def answer(method: str, target: str, key: str, body: Any) -> tuple:
        status, told, headers = real(method, target, key, body)
        path = target.split("?")[0].rstrip("/").split("/")
        found = {"POST pods": "createPod", "POST network-volumes": "createNetworkVolume"}.get(f"{method} {path[-1]}")
        found = found or ("getPod" if method == "GET" and path[-2] == "pods" else "")
        return status, without(told, names) if found == operation and status < 300 else told, headers

    monkeypatch.setattr(fake, "answer", answer)


@pytest.mark.parametrize("names", [("id",), ("name",), ("id", "name")], ids="+".join)
@pytest.mark.parametrize("operation", ["createPod", "createNetworkVolume"])
def test_what_was_made_and_does_not_say_its_id_or_name_is_found(
    fake: UnkindRunPod,
    published: str,
    runpod: Runpod,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    names: tuple[str, ...],
):
    shown_without(fake, monkeypatch, operation, *names)
    said = runpod("launch", "--yes", *VOLUME)
    assert said.code == 0 and len(fake.live()) == len(fake.volumes) == 1, said


@pytest.mark.parametrize("names", [("id",), ("status",), ("id", "status", "name")], ids="+".join)
def test_a_pod_that_does_not_say_what_it_is_raises_nothing(
    fake: UnkindRunPod, runpod: Runpod, pod: dict, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
):
    shown_without(fake, monkeypatch, "getPod", *names)
    for verb in (["status"], ["cost"], ["reap"], ["volumes"], ["stop"], ["terminate", "--yes"]):
        said = runpod(*verb)
        assert said.code in (0, 1) and "Traceback" not in said.err and "Error(" not in said.err, said
    assert fake.live() == []


ODD = {
    "actions": {"actions": None},
    "actions are a number": {"actions": 5},
    "mounts": {"mounts": None},
    "a mount of nothing": {"mounts": {"network": [{}]}},
    "mounts are a list": {"mounts": []},
    "env": {"env": None},
    "values of env": {"env": {"LABELPOD_WISH": 5, "LABELPOD_INSTEAD_OF": {}}},
    "gpu": {"gpu": None},
    "gpu is a text": {"gpu": "RTX"},
    "cost": {"cost": None},
    "cost is a list": {"cost": [1]},
    "runtime is a text": {"runtime": "now"},
    "ports": {"runtime": {"uptime": None, "ports": [None, {"private": 22, "type": "tcp", "ip": "1", "public": "x"}]}},
    "template": {"template": {"id": "tpl0001"}},
    "dates": {"createdAt": {}, "startedAt": []},
    "name": {"name": None},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_odd_pod_is_shown_and_stopped_and_ended(
    fake: UnkindRunPod, runpod: Runpod, pod: dict, monkeypatch: pytest.MonkeyPatch, odd: dict
):
    listed, get = fake.listPods, fake.getPod
    monkeypatch.setattr(fake, "listPods", lambda _: {"pods": [each | odd for each in listed(_)["pods"]]})
    monkeypatch.setattr(fake, "getPod", lambda _, id: get(_, id) | odd)
    for verb in (["status"], ["cost"], ["reap"], ["volumes"]):
        said = runpod(*verb)
        assert said.code in (0, 1) and "Traceback" not in said.err, (verb, said)
    assert runpod("status").code == 0 and pod["id"] in runpod("status").out
    assert runpod("stop").code == 0 and pod["status"] == "EXITED"
    assert runpod("terminate", "--yes", "--force").code == 0 and fake.live() == []


@pytest.mark.parametrize("missing", ["id", "name", "status"])
def test_one_odd_entry_keeps_reap_from_no_other(fake: UnkindRunPod, runpod: Runpod, pod: dict, missing: str):
    pod["startedAt"] = pod["createdAt"] = (datetime.now(UTC) - timedelta(hours=20)).isoformat()
    odd = without(pod | {"id": "odd", "env": {"OTHER": "1"}}, (missing,))
    fake.listPods = lambda _: {"pods": [odd, None, 5, *fake.pods.values()]}
    said = runpod("reap")
    assert f"{pod['id']} stopped after 20.0 h" in said.out and pod["status"] == "EXITED", said


@pytest.mark.parametrize("found", [5, {}, "pods", None], ids=str)
@pytest.mark.parametrize("operation", ["listPods", "listTemplates", "listNetworkVolumes", "listGpuTypes"])
def test_a_list_that_is_none_is_not_taken_for_an_empty_one(
    fake: UnkindRunPod, published: str, runpod: Runpod, monkeypatch: pytest.MonkeyPatch, operation: str, found: object
):
    fake.document = None
    (name,) = getattr(fake, operation)(None)
    monkeypatch.setattr(fake, operation, lambda _: {name: found})
    said = runpod("launch", "--yes", *VOLUME)
    assert said.code == 1 and "answer cannot be read" in said.err and fake.live() == [], said


@pytest.mark.parametrize("operation", ["listTemplates", "listNetworkVolumes", "listGpuTypes"])
def test_an_entry_that_says_nothing_is_passed_over(
    fake: UnkindRunPod, published: str, runpod: Runpod, monkeypatch: pytest.MonkeyPatch, operation: str
):
    fake.document = None
    real = getattr(fake, operation)

    def more(body: object) -> dict:
        ((name, found),) = real(body).items()
        return {name: [None, {}, {"id": None}, {"id": "odd"}, *found]}

    monkeypatch.setattr(fake, operation, more)
    said = runpod("launch", "--yes", *VOLUME)
    assert said.code == 0, said
    assert runpod("status").code == runpod("cost").code == runpod("volumes").code == 0


@pytest.mark.parametrize("cost", [None, "much"], ids=str)
def test_a_pod_that_is_not_ready_and_has_no_price_is_told(
    fake: UnkindRunPod, published: str, runpod: Runpod, cost: object
):
    fake.document, fake.polls_until_ready = None, 10**6
    fake.prices, get = {ADA: cost}, fake.getPod
    fake.getPod = lambda body, id: get(body, id) | {"runtime": {"uptime": None}}
    fake.token_answers = lambda _: (404, {})
    said = runpod("launch", "--yes", "--minutes", "0.005")
    assert said.code == 1 and "is not ready: no answer after" in said.err, said


@pytest.mark.parametrize(
    "records",
    [5, [None], [{}], [{"startTime": "2026-11-20", "totalAmount": "much"}], [{"startTime": [], "totalAmount": []}]],
    ids=str,
)
@pytest.mark.parametrize("operation", ["listPodBilling", "listNetworkVolumeBilling"])
def test_a_bill_that_cannot_be_read_is_not_taken_for_a_small_one(
    fake: UnkindRunPod, runpod: Runpod, pod: dict, monkeypatch: pytest.MonkeyPatch, operation: str, records: object
):
    monkeypatch.setattr(fake, operation, lambda _: {"records": records})
    said = runpod("cost")
    assert said.code == 1 and "bill cannot be read" in said.err and "Traceback" not in said.err, said


# --- prices and dates ---


def test_a_price_that_is_a_text_is_a_price(fake: UnkindRunPod, published: str, runpod: Runpod):
    fake.document, fake.prices = None, {ADA: "1.90"}
    said = runpod("launch", "--yes", "--max-price", "0.30")
    assert said.code == 0 and "made at $1.90 an hour" in said.err, said
    assert [pod["gpu"]["id"] for pod in fake.live()] == ["NVIDIA RTX A4000"]


@pytest.mark.parametrize("cost", [0, None, "much", float("nan"), -1], ids=str)
def test_a_price_that_is_not_told_is_said_when_the_pod_runs(
    fake: UnkindRunPod, published: str, runpod: Runpod, cost: object
):
    fake.document, fake.prices = None, {ADA: cost}
    said = runpod("launch", "--yes", "--max-price", "0.30")
    (pod,) = fake.live()
    assert said.code == 0 and f"does not say what pod {pod['id']} costs" in said.err, said


@pytest.mark.parametrize("date", ["2999-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"])
@pytest.mark.parametrize("key", ["startedAt", "createdAt"])
def test_a_date_that_cannot_be_is_none(fake: UnkindRunPod, runpod: Runpod, pod: dict, date: str, key: str):
    long_ago = (datetime.now(UTC) - timedelta(hours=20)).isoformat()
    now = datetime.now(UTC).isoformat()
    pod.update(startedAt=None, createdAt=now)
    pod[key] = date
    assert runpod("reap").out == "" and pod["status"] == "RUNNING"
    assert json.loads(runpod("status", "--json").out)["pods"][0]["usd_so_far"] < 1
    pod.update(createdAt=long_ago, startedAt=date)
    assert "stopped after 20.0 h" in runpod("reap").out and pod["status"] == "EXITED"

"""Volumes: none is forgotten, none is deleted that somebody needs."""

import json
from pathlib import Path

import pytest

from tests.contract.conftest import Runpod
from tests.contract.unkind_runpod import UnkindRunPod

LAUNCH = ["launch", "--yes", "--volume", "nodules", "--create-volume", "20"]


@pytest.fixture
def unused(fake: UnkindRunPod, published: str, runpod: Runpod) -> dict:
    """The volume of a pod that was ended."""
    assert runpod(*LAUNCH).code == 0 and runpod("terminate", "--yes").code == 0
    (volume,) = fake.volumes.values()
    return volume


def test_a_volume_that_nothing_uses_is_named_by_cost_and_status(runpod: Runpod, unused: dict):
    for verb in ("cost", "status"):
        said = runpod(verb).out
        assert "nodules" in said and "no pod uses it, $1.40 a month" in said
        assert f"runpod volumes delete {unused['id']}" in said
    assert [each["id"] for each in json.loads(runpod("status", "--json").out)["volumes"]] == [unused["id"]]
    assert [each["id"] for each in json.loads(runpod("cost", "--json").out)["unused"]] == [unused["id"]]


def test_the_list_says_what_there_is_what_it_costs_and_who_uses_it(fake: UnkindRunPod, published: str, runpod: Runpod):
    assert "No network volume" in runpod("volumes").out
    assert runpod(*LAUNCH).code == 0
    (volume,), (pod,) = fake.volumes.values(), fake.live()
    fake.volumes["vol9"] = volume | {"id": "vol9", "name": "films", "size": 100}
    line, foreign = runpod("volumes").out.splitlines()[1:]
    for words in ("nodules", volume["id"], "20", "EU-RO-1", "$1.40", pod["id"]):
        assert words in line
    assert "films" in foreign and "$7.00" in foreign and "not made from here" in foreign
    used = {each["name"]: (each["used_by"], each["ours"]) for each in json.loads(runpod("volumes", "--json").out)}
    assert used == {"nodules": ([pod["id"]], True), "films": ([], False)}


def test_a_volume_is_deleted_after_asking(fake: UnkindRunPod, runpod: Runpod, unused: dict):
    assert "nothing was deleted" in runpod("volumes", "delete", "nodules").err and fake.volumes
    said = runpod("volumes", "delete", "nodules", "--yes")
    assert said.code == 0 and "is deleted" in said.out and fake.volumes == {}
    assert "no network volume" in runpod("volumes", "delete", "nodules", "--yes").err


@pytest.mark.parametrize(
    "fault", [{"status": 0, "times": 5}, {"status": 500, "times": 5}, {"status": 502, "done": True}, {"status": 409}]
)
def test_a_volume_is_deleted_when_it_is_gone(fake: UnkindRunPod, runpod: Runpod, unused: dict, fault: dict):
    fake.fail("deleteNetworkVolume", **fault)
    assert runpod("volumes", "delete", unused["id"], "--yes").code == 0 and fake.volumes == {}


def test_a_volume_that_stays_is_told(fake: UnkindRunPod, runpod: Runpod, unused: dict):
    fake.fail("deleteNetworkVolume", status=500, times=999)
    said = runpod("volumes", "delete", "nodules", "--yes")
    assert said.code == 1 and "still there and is billed" in said.err and "is deleted" not in said.out


def test_what_a_pod_uses_or_is_not_ours_is_not_deleted(
    fake: UnkindRunPod, published: str, runpod: Runpod, tmp_path: Path
):
    assert runpod(*LAUNCH).code == 0 and runpod("stop").code == 0
    (volume,) = fake.volumes.values()
    said = runpod("volumes", "delete", "nodules", "--yes", "--force")
    assert said.code == 1 and "uses the volume" in said.err
    fake.volumes["vol9"] = volume | {"id": "vol9", "name": "films"}
    said = runpod("volumes", "delete", "films", "--yes")
    assert said.code == 1 and "was not made from here" in said.err and len(fake.volumes) == 2
    assert runpod("volumes", "delete", "films", "--yes", "--force").code == 0
    fake.volumes["vol8"] = volume | {"id": "vol8"}
    assert "give the id" in runpod("volumes", "delete", "nodules", "--yes").err and len(fake.volumes) == 2


def test_a_volume_made_for_a_launch_that_failed_is_told(fake: UnkindRunPod, published: str, runpod: Runpod):
    fake.full = {each["id"] for each in fake.catalogue}
    said = runpod(*LAUNCH)
    (volume,) = fake.volumes.values()
    assert said.code == 1 and f"nodules ({volume['id']}) stays and costs $1.40 a month" in said.err
    assert f"runpod volumes delete {volume['id']}" in said.err
    fake.full = set()
    assert runpod(*LAUNCH).code == 0 and len(fake.volumes) == 1


def test_a_volume_of_a_launch_that_was_killed_is_told(
    fake: UnkindRunPod, published: str, runpod: Runpod, monkeypatch: pytest.MonkeyPatch
):
    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("labelpod.runpod.ledger.add_volume", kill)
        assert runpod(*LAUNCH).code == 130
    (volume,) = fake.volumes
    assert f"runpod volumes delete {volume}" in runpod("status").out
    assert f"runpod volumes delete {volume}" in runpod("cost").out


def test_a_volume_without_a_name_has_the_stacks(fake: UnkindRunPod, published: str, runpod: Runpod):
    assert runpod("launch", "--yes", "--create-volume", "10").code == 0
    (volume,), (pod,) = fake.volumes.values(), fake.live()
    assert volume["name"] == "labelpod" and volume["id"] in str(pod["mounts"])


@pytest.mark.parametrize("size", ["0", "9", "-5", "4097", "ten"])
def test_a_size_that_runpod_does_not_have_is_refused_before_anything(
    fake: UnkindRunPod, published: str, runpod: Runpod, size: str
):
    before = sum(fake.calls.values())
    said = runpod("launch", "--yes", "--volume", "nodules", "--create-volume", size)
    assert said.code == 2 and "--create-volume" in said.err and sum(fake.calls.values()) == before


@pytest.mark.parametrize("fault", [{"status": 0}, {"status": 502, "page": True}, {"status": 500}])
@pytest.mark.parametrize("lag", [0, 10])
def test_a_volume_whose_creation_was_not_answered_is_looked_for(
    fake: UnkindRunPod, published: str, runpod: Runpod, fault: dict, lag: float
):
    fake.list_lag = lag
    fake.fail("createNetworkVolume", done=True, **fault)
    assert runpod(*LAUNCH).code == 0 and len(fake.volumes) == len(fake.live()) == 1


def test_a_volume_that_was_made_late_is_found_by_the_next_launch(fake: UnkindRunPod, published: str, runpod: Runpod):
    fake.fail("createNetworkVolume", status=502, late=40.0)
    said = runpod(*LAUNCH)
    assert said.code == 1 and "did not say whether it made the volume" in said.err and fake.live() == []
    assert runpod(*LAUNCH).code == 0 and len(fake.volumes) == len(fake.live()) == 1


@pytest.mark.parametrize("more", [[], ["--data-center", "EU-RO-1"]], ids=["anywhere", "in one data center"])
def test_a_volume_is_not_made_for_the_community_cloud(
    fake: UnkindRunPod, published: str, runpod: Runpod, more: list[str]
):
    said = runpod("launch", "--yes", "--community", "--create-volume", "10", *more)
    assert said.code == 1 and "the community cloud has no network volumes" in said.err, said
    assert "leave out --community or --create-volume" in said.err and fake.volumes == {} and fake.live() == []

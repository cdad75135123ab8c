"""A pod is found whatever has changed since its launch, and another's is not ours."""

import json
from pathlib import Path

import pytest

from labelpod.runpod import keys
from tests.contract.conftest import Runpod
from tests.contract.fake_runpod import FakeRunPod
from tests.contract.unkind_runpod import UnkindRunPod

OTHER_TOKEN = {"LABEL_SERVER_TOKEN": "another-token-of-32-letters-0000"}


@pytest.fixture
def pod(fake: UnkindRunPod, published: str, runpod: Runpod) -> dict:
    assert runpod("launch", "--yes").code == 0
    (pod,) = fake.live()
    return pod


def found(runpod: Runpod, **more: object) -> list[str]:
    said = runpod("status", "--json", **more)
    assert said.code == 0, said.err
    return [each["id"] for each in json.loads(said.out)["pods"]]


@pytest.mark.parametrize("change", [OTHER_TOKEN, {"RUNPOD_STACK": "other"}, OTHER_TOKEN | {"RUNPOD_STACK": "other"}])
def test_after_a_change_of_env_it_is_found_by_the_record(
    fake: UnkindRunPod, runpod: Runpod, pod: dict, change: dict[str, str]
):
    assert found(runpod, **change) == [pod["id"]]
    said = runpod("launch", "--yes", **change)
    assert said.code == 1 and f"runpod terminate {pod['id']}" in said.err and len(fake.live()) == 1
    assert runpod("stop", **change).code == 0 and pod["status"] == "EXITED"


def test_without_a_record_it_is_found_by_its_ssh_key(fake: UnkindRunPod, runpod: Runpod, pod: dict, elsewhere: Path):
    (elsewhere / "secrets").mkdir()
    (elsewhere / "secrets" / f"{keys.PRIVATE}.pub").write_text(f"{pod['env']['PUBLIC_KEY']}\n")
    assert found(runpod, at=elsewhere, RUNPOD_STACK="other", **OTHER_TOKEN) == [pod["id"]]


def test_another_laptop_with_the_same_settings_finds_it(runpod: Runpod, pod: dict, elsewhere: Path):
    assert found(runpod, at=elsewhere) == [pod["id"]]
    assert runpod("stop", at=elsewhere).code == 0 and pod["status"] == "EXITED"


@pytest.mark.parametrize("told", ["no environment in the list", "no environment at all"])
def test_without_its_environment_it_is_found_by_its_name(
    fake: UnkindRunPod, runpod: Runpod, pod: dict, elsewhere: Path, told: str
):
    fake.env_listed = False
    if told == "no environment at all":
        pod["env"] = {}
    assert found(runpod, at=elsewhere) == [pod["id"]]
    (elsewhere / "third").mkdir()
    assert found(runpod, at=elsewhere / "third", **OTHER_TOKEN) == []


@pytest.mark.parametrize("by", ["template", "environment"])
def test_one_that_was_started_in_the_console_is_found_by_its_template(
    fake: UnkindRunPod, published: str, runpod: Runpod, by: str
):
    (template,) = fake.templates.values()
    body = {"name": "my pod", "templateId": template["id"], "gpu": {"id": "NVIDIA RTX A4000", "count": 1}}
    started = fake.createPod(body)
    if by == "template":
        started.update(template=template["id"], env={})
    assert found(runpod) == [started["id"]]
    assert runpod("stop").code == 0 and started["status"] == "EXITED"


def test_anothers_pod_in_the_same_account_is_not_ours(fake: UnkindRunPod, runpod: Runpod, pod: dict, elsewhere: Path):
    theirs = {"LABELPOD_STACK": "labelpod", "LABELPOD_OWNER": "theirs"}
    fake.pods["theirs"] = pod | {"id": "theirs", "name": "comfyui", "env": theirs, "template": "tpl9"}
    assert found(runpod) == [pod["id"]] and found(runpod, at=elsewhere, **OTHER_TOKEN) == []
    for arguments in (["terminate", "theirs", "--yes", "--force"], ["stop", "theirs"], ["terminate", "nowhere"]):
        said = runpod(*arguments)
        assert said.code == 1 and f"pod {arguments[1]} is not of this stack" in said.err
    assert len(fake.live()) == 2 and fake.pods["theirs"]["status"] == "RUNNING"


def test_two_templates_of_one_name_keep_nobody_from_stopping(fake: UnkindRunPod, runpod: Runpod, pod: dict):
    (template,) = fake.templates.values()
    fake.templates["tpl9999"] = template | {"id": "tpl9999"}
    assert runpod("status").code == runpod("stop").code == 0


def test_one_that_is_not_listed_yet_is_found_by_the_record(fake: UnkindRunPod, published: str, runpod: Runpod):
    fake.list_lag = 1e9
    assert runpod("launch", "--yes").code == 0
    assert runpod("launch", "--yes").code == 0 and len(fake.live()) == 1
    assert runpod("stop").code == 0 and fake.billed() == []


def test_one_that_is_not_answered_for_is_shown_all_the_same(fake: UnkindRunPod, runpod: Runpod, pod: dict):
    fake.list_lag = 1e9
    fake.fail("getPod", status=503, times=4)
    assert "UNKNOWN" in runpod("status").out


@pytest.mark.parametrize("fault", [{"status": 0}, {"status": 502}])
@pytest.mark.parametrize("lag", [0, 20])
def test_an_order_that_is_carried_out_late_is_found_by_the_next_verb(
    fake: UnkindRunPod, published: str, runpod: Runpod, fault: dict, lag: float
):
    """Nothing is listed while the launch looks for it."""
    fake.list_lag = lag
    fake.fail("createPod", late=35.0, **fault)
    assert runpod("launch", "--yes").code == 1
    assert runpod("stop").code == 0 and len(fake.live()) == 1 and fake.billed() == []


@pytest.mark.parametrize("lag", [5, 20])
def test_a_pod_that_is_listed_and_known_late_is_waited_for(
    fake: UnkindRunPod, published: str, runpod: Runpod, lag: float
):
    fake.list_lag, fake.get_lag = lag, lag / 2
    said = runpod("launch", "--yes")
    assert said.code == 0 and "is ready" in said.out and len(fake.live()) == 1, said


def test_one_that_was_ended_and_is_still_listed_is_gone(fake: UnkindRunPod, runpod: Runpod, pod: dict):
    assert runpod("terminate", "--yes", "--force").code == 0
    fake.listPods = lambda _: {"pods": [*fake.pods.values(), pod]}
    assert found(runpod) == []


def test_what_is_in_the_record_of_another_account_is_passed_over(runpod: Runpod, fake: FakeRunPod, tmp_path: Path):
    (tmp_path / ".runpod.json").write_text(json.dumps({"pods": {"gone1": {"name": "labelpod-1"}, "odd": 3}}))
    assert found(runpod) == []
    assert json.loads((tmp_path / ".runpod.json").read_text())["pods"]["gone1"]["ended"]


@pytest.mark.parametrize("content", ['{"pods": {"pod1', "[]", "", "\x80"], ids=["cut off", "a list", "empty", "odd"])
def test_a_record_that_cannot_be_read_is_kept_beside_the_new_one(
    fake: UnkindRunPod, published: str, runpod: Runpod, tmp_path: Path, content: str
):
    record = tmp_path / ".runpod.json"
    record.write_bytes(content.encode("latin-1"))
    said = runpod("launch", "--yes")
    (aside,) = tmp_path.glob(".runpod.json.unreadable-*")
    assert said.code == 0 and aside.read_bytes() == content.encode("latin-1") and aside.name in said.err, said
    assert list(json.loads(record.read_text())["pods"]) == [pod["id"] for pod in fake.live()]

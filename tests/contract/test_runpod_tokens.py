"""A pod's own tokens: what goes through RunPod's hands opens nothing at home."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from label_server import users as server_users
from label_server.users import Role
from labelpod.config.settings import Settings
from labelpod.runpod import tokens
from labelpod.security import users
from tests.contract.conftest import TOKEN, Runpod
from tests.contract.fake_runpod import FakeRunPod


@pytest.fixture
def heard(fake: FakeRunPod, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """All that was sent, to the API and through the proxy."""
    sent: list[str] = []
    real = fake.answer

    def answer(method: str, target: str, key: str, body: object) -> object:
        sent.append(f"{method} {target} {key} {json.dumps(body)}")
        return real(method, target, key, body)

    monkeypatch.setattr(fake, "answer", answer)
    return sent


def the_pod(fake: FakeRunPod) -> dict:
    (pod,) = fake.live()
    return pod


def test_the_home_servers_tokens_are_sent_nowhere(
    fake: FakeRunPod, published: str, runpod: Runpod, heard: list[str], tmp_path: Path
):
    users.follow_admin(TOKEN, tmp_path / "secrets")
    annas = users.add("anna", "annotator", tmp_path / "secrets")
    fake.token_answers = lambda _: (200, {"stops_at": "2026-12-01T10:00:00+00:00"})
    for verb in (["launch", "--yes"], ["launch", "--yes"], ["status"], ["url"], ["url", "--user", "anna"], ["stop"]):
        said = runpod(*verb)
        assert said.code == 0 and TOKEN not in said.out + said.err and annas not in said.out, (verb, said)
    assert runpod("resume").code == runpod("terminate", "--yes", "--force").code == 0
    digests = [hashlib.sha256(token.encode()).hexdigest() for token in (TOKEN, annas)]
    assert len(heard) > 20 and not [line for line in heard for word in (TOKEN, annas, *digests) if word in line]


def test_each_user_of_the_home_server_has_a_token_at_the_pod(
    fake: FakeRunPod, published: str, runpod: Runpod, tmp_path: Path
):
    secrets = tmp_path / "secrets"
    users.follow_admin(TOKEN, secrets)
    users.add("anna", "annotator", secrets)
    users.add("rita", "reviewer", secrets)
    assert runpod("launch", "--yes").code == 0
    pod = the_pod(fake)
    known = server_users.from_environment(pod["env"])
    for name, role in (("admin", Role.ADMIN), ("anna", Role.ANNOTATOR), ("rita", Role.REVIEWER)):
        url = runpod("url", "--user", name).out.strip()
        assert known.find(url.rstrip("/").rpartition("/")[2]) == server_users.User(name, role)
    assert len(known.all()) == 3 and "{{" not in pod["env"][tokens.USERS]
    said = runpod("url", "--user", "eve")
    assert said.code == 1 and "has no user eve: " in said.err and "anna" in said.err


def test_they_end_with_the_pod_and_the_next_has_others(fake: FakeRunPod, published: str, runpod: Runpod):
    assert runpod("launch", "--yes").code == 0
    first = runpod("url").out.strip().rstrip("/").rpartition("/")[2]
    assert runpod("terminate", "--yes", "--force").code == 0
    assert runpod("launch", "--yes").code == 0
    assert server_users.from_environment(the_pod(fake)["env"]).find(first) is None


def test_each_pod_and_each_user_has_a_token_of_their_own():
    values = Settings(LABEL_SERVER_TOKEN=TOKEN)
    people = {"admin": "admin", "anna": "annotator"}
    pods = [{"name": name, "env": tokens.environment(values, name, people)} for name in ("a-1", "a-2", "a-1a")]
    known = [token for pod in pods for token in tokens.of(pod, values).values()]
    assert len(set(known)) == 6 and min(map(len, known)) >= 32
    assert not [token for token in known if token in str(pods)]


def test_another_laptop_with_the_same_settings_knows_them(
    fake: FakeRunPod, published: str, runpod: Runpod, tmp_path: Path
):
    assert runpod("launch", "--yes").code == 0
    here = runpod("url").out
    for kept in tmp_path.iterdir():
        shutil.rmtree(kept) if kept.is_dir() else kept.unlink()
    assert runpod("url").out == here


def test_a_pod_of_another_token_is_said_to_be_one(fake: FakeRunPod, published: str, runpod: Runpod):
    assert runpod("launch", "--yes").code == 0
    for verb in (["url"], ["launch", "--yes"]):
        said = runpod(*verb, LABEL_SERVER_TOKEN="t" * 32)
        assert said.code == 1 and "another LABELPOD_LABEL_SERVER_TOKEN" in said.err and "terminate" in said.err
    assert runpod("status", LABEL_SERVER_TOKEN="t" * 32).code == 0, "what a pod costs is shown in any case"
    assert len(fake.live()) == 1


def test_a_pod_that_was_renamed_in_the_console_is_used_as_before(
    fake: FakeRunPod, published: str, runpod: Runpod, tmp_path: Path
):
    assert runpod("launch", "--yes").code == 0
    here = runpod("url").out
    the_pod(fake)["name"] = "anna's pod"
    assert runpod("url").out == here and runpod("launch", "--yes").code == 0
    (tmp_path / "elsewhere").mkdir()
    assert runpod("url", at=tmp_path / "elsewhere").out == here


@pytest.mark.parametrize("verb", [["url"], ["launch", "--yes"]], ids=" ".join)
def test_a_pod_from_the_console_is_said_to_have_its_own_token(
    fake: FakeRunPod, published: str, runpod: Runpod, verb: list[str]
):
    (template,) = fake.templates.values()
    fake.createPod({"name": "my pod", "templateId": template["id"], "gpu": {"id": "NVIDIA RTX A4000", "count": 1}})
    said = runpod(*verb)
    assert said.code == 1 and "was started in RunPod's console: its token is its secret labelpod_token" in said.err
    assert "another LABELPOD_LABEL_SERVER_TOKEN" not in said.err and len(fake.live()) == 1


def test_users_that_cannot_be_read_are_said_before_anything_costs(
    fake: FakeRunPod, published: str, runpod: Runpod, tmp_path: Path
):
    (tmp_path / "secrets" / "users").mkdir(parents=True)
    (tmp_path / "secrets" / "users" / "users.json").write_text("{")
    said = runpod("launch", "--yes", "--volume", "nodules", "--create-volume", "50")
    assert said.code == 1 and "cannot be read" in said.err and "Traceback" not in said.err
    assert fake.live() == [] and fake.volumes == {}

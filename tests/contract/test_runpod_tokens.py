"""A pod's own tokens: what goes through RunPod's hands opens nothing at home."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from label_server import users as server_users
from label_server.users import Role
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
    file = secrets / tokens.FILE
    assert file.stat().st_mode & 0o777 == 0o600
    pod = the_pod(fake)
    known = server_users.from_environment(pod["env"])
    for name, role in (("admin", Role.ADMIN), ("anna", Role.ANNOTATOR), ("rita", Role.REVIEWER)):
        url = runpod("url", "--user", name).out.strip()
        assert known.find(url.rstrip("/").rpartition("/")[2]) == server_users.User(name, role)
    assert len(known.all()) == 3 and "{{" not in pod["env"][tokens.USERS]
    said = runpod("url", "--user", "eve")
    assert said.code == 1 and "has no user eve: " in said.err and "anna" in said.err


def test_they_end_with_the_pod_and_the_next_has_others(
    fake: FakeRunPod, published: str, runpod: Runpod, tmp_path: Path
):
    assert runpod("launch", "--yes").code == 0
    first = runpod("url").out.strip().rstrip("/").rpartition("/")[2]
    assert runpod("terminate", "--yes", "--force").code == 0
    assert first not in (tmp_path / "secrets" / tokens.FILE).read_text()
    assert runpod("launch", "--yes").code == 0
    assert server_users.from_environment(the_pod(fake)["env"]).find(first) is None


def test_two_pods_have_tokens_of_their_own(tmp_path: Path):
    pods = [{"id": f"pod{number}", "env": tokens.make(tmp_path)} for number in range(105)]
    assert tokens.find(pods[4], tmp_path) is None, "those of pods that ended by themselves are forgotten at last"
    kept = [tokens.of(pod, tmp_path)["admin"] for pod in pods[5:]]
    assert len(set(kept)) == 100
    tokens.forget(pods[7], tmp_path)
    assert tokens.find(pods[7], tmp_path) is None and tokens.find(pods[8], tmp_path)


def test_a_pod_that_another_machine_has_launched_is_said(
    fake: FakeRunPod, published: str, runpod: Runpod, tmp_path: Path
):
    assert runpod("launch", "--yes").code == 0
    (tmp_path / "secrets" / tokens.FILE).unlink()
    for verb in (["url"], ["launch", "--yes"]):
        said = runpod(*verb)
        assert (
            said.code == 1
            and "another machine, or an older labelpod, has launched it" in said.err
            and "copy that file" in said.err
        )
    assert runpod("status").code == 0
    assert len(fake.live()) == 1


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"pods": 3}', '{"pods": [1]}'])
def test_a_broken_file_is_said_in_one_line_and_kept(
    fake: FakeRunPod, published: str, runpod: Runpod, tmp_path: Path, text: str
):
    assert runpod("launch", "--yes").code == 0
    (tmp_path / "secrets" / tokens.FILE).write_text(text)
    said = runpod("url")
    assert said.code == 1 and "runpod_tokens.json cannot be read" in said.err and "Traceback" not in said.err
    assert runpod("status").code == 0, "what a pod costs is shown in any case"
    assert (tmp_path / "secrets" / tokens.FILE).read_text() == text
    assert runpod("terminate", "--yes", "--force").code == 0 and fake.live() == []
    said = runpod("launch", "--yes", "--volume", "nodules", "--create-volume", "50")
    assert said.code == 1 and "cannot be read" in said.err and fake.live() == [] and fake.volumes == {}

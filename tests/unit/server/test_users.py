"""Who the gateway lets in, from the users' file and the environment."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from label_server import users
from label_server.users import Role, User, Users

TOKEN = "t" * 32


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def entry(name: str, role: str, token: str) -> dict[str, str]:
    return {"name": name, "role": role, "sha256": digest(token)}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(users, "_LOOK_SECONDS", -1)  # looks at the file each time
    return tmp_path / "users.json"


def write(file: Path, *entries: dict[str, str]) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps({"users": entries}))
    draft.replace(file)


def test_a_token_is_its_users(file):
    write(file, entry("anna", "annotator", TOKEN), entry("rita", "reviewer", "r" * 32))
    known = Users(file, digest("a" * 32))
    assert known.find(TOKEN) == User("anna", Role.ANNOTATOR)
    assert known.find("r" * 32) == User("rita", Role.REVIEWER)
    assert known.find("a" * 32) == User("admin", Role.ADMIN)


@pytest.mark.parametrize("token", ["", "t", TOKEN[:-1], TOKEN + "t", TOKEN.upper(), "ü" * 32])
def test_any_other_token_is_nobodys(file, token):
    write(file, entry("anna", "annotator", TOKEN))
    assert Users(file, "").find(token) is None


def test_a_changed_file_counts_at_once(file):
    known = Users(file, "")
    assert known.find(TOKEN) is None
    write(file, entry("anna", "annotator", TOKEN))
    assert known.find(TOKEN)
    write(file)
    assert known.find(TOKEN) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"users": [{"name": "x"}]}', '{"users": 3}', '{"users": ["x"]}', "null"]
)
def test_a_file_that_cannot_be_understood_lets_nobody_in(file, text):
    write(file, entry("anna", "annotator", TOKEN))
    known = Users(file, digest("a" * 32))
    assert known.find(TOKEN)
    file.write_text(text)
    os.utime(file, (1, 1))
    assert known.find(TOKEN) is None and known.find("a" * 32)


def test_a_role_that_there_is_not_lets_nobody_in(file):
    write(file, entry("anna", "emperor", TOKEN))
    assert Users(file, "").find(TOKEN) is None


def test_the_environment_may_hold_the_token_or_name_its_file(file, tmp_path):
    secret = tmp_path / "token"
    secret.write_text(f"{TOKEN}\n")
    for environment in ({"LABEL_SERVER_TOKEN": TOKEN}, {"LABEL_SERVER_TOKEN_FILE": str(secret)}):
        known = users.from_environment(environment | {"USERS_FILE": str(file)})
        assert known.find(TOKEN) == User("admin", Role.ADMIN)
    assert not users.from_environment({"USERS_FILE": str(file)}).all()


def test_a_machine_that_knows_the_digest_alone_lets_the_token_in():
    known = users.from_environment({"LABEL_SERVER_TOKEN": "", "LABEL_SERVER_TOKEN_SHA256": digest(TOKEN)})
    assert known.find(TOKEN) == User("admin", Role.ADMIN)
    assert known.find(digest(TOKEN)) is None


@pytest.mark.parametrize("text", ["t" * 64, "0" * 63, digest(TOKEN).upper(), TOKEN])
def test_what_is_no_digest_is_refused(text):
    with pytest.raises(ValueError, match="LABEL_SERVER_TOKEN_SHA256"):
        users.from_environment({"LABEL_SERVER_TOKEN_SHA256": text})


def test_the_digest_wins_over_whatever_token_the_template_says():
    for token in ("o" * 32, "{{ RUNPOD_SECRET_labelpod_token }}", ""):
        environment = {"LABEL_SERVER_TOKEN": token, "LABEL_SERVER_TOKEN_SHA256": digest(TOKEN)}
        known = users.from_environment(environment)
        assert known.find(TOKEN) == User("admin", Role.ADMIN) and known.find(token) is None


@pytest.mark.parametrize("token", ["{{ RUNPOD_SECRET_labelpod_token }}", "{{x}}", "t" * 32 + "{{"])
def test_a_token_that_is_a_placeholder_is_refused(token: str, tmp_path: Path):
    (tmp_path / "token").write_text(token)
    for environment in ({"LABEL_SERVER_TOKEN": token}, {"LABEL_SERVER_TOKEN_FILE": str(tmp_path / "token")}):
        with pytest.raises(ValueError, match="LABEL_SERVER_TOKEN is no token"):
            users.from_environment(environment)


@pytest.mark.parametrize("token", ["undefined", "null", "t" * 19])
def test_in_a_pod_what_may_stand_for_a_missing_secret_is_no_token(token: str):
    assert users.from_environment({"LABEL_SERVER_TOKEN": token}).find(token)
    with pytest.raises(ValueError, match="LABEL_SERVER_TOKEN is no token"):
        users.from_environment({"LABEL_SERVER_TOKEN": token, "RUNPOD_POD_ID": "pod1"})


def test_a_pod_knows_its_users_from_its_environment():
    others = json.dumps({"users": [entry("anna", "annotator", "n" * 32), entry("rita", "reviewer", "r" * 32)]})
    known = users.from_environment({"LABEL_SERVER_TOKEN_SHA256": digest(TOKEN), "LABEL_SERVER_USERS": others})
    assert known.find("n" * 32) == User("anna", Role.ANNOTATOR)
    assert known.find("r" * 32) == User("rita", Role.REVIEWER)
    assert known.find(TOKEN) == User("admin", Role.ADMIN) and len(known.all()) == 3


@pytest.mark.parametrize("text", ["{", "[]", '{"users": [{"name": "x"}]}', "null"])
def test_users_of_the_environment_that_cannot_be_understood_are_refused(text: str):
    with pytest.raises(ValueError, match="LABEL_SERVER_USERS cannot be read"):
        users.from_environment({"LABEL_SERVER_TOKEN_SHA256": digest(TOKEN), "LABEL_SERVER_USERS": text})

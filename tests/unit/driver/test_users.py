"""Who is let in: added, listed and revoked, by one or many at once."""

import hashlib
import json
import stat
import threading
from pathlib import Path

import pytest

from labelpod import cli
from labelpod.docker.stack import Stack
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod.security import users


def entries(folder: Path) -> dict[str, dict]:
    content = json.loads((folder / "users" / "users.json").read_text())
    return {each["name"]: each for each in content["users"]}


def test_who_is_added_has_a_token_of_which_only_the_digest_is_stored(tmp_path):
    token = users.add("anna", "reviewer", tmp_path)
    digest = hashlib.sha256(token.encode()).hexdigest()
    assert entries(tmp_path) == {"anna": {"name": "anna", "role": "reviewer", "sha256": digest}}
    assert len(token) >= 32 and token not in str([path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()])


def test_two_users_get_two_tokens(tmp_path):
    assert users.add("anna", "annotator", tmp_path) != users.add("ben", "annotator", tmp_path)


def test_a_list_shows_names_and_roles_and_nothing_else(tmp_path):
    assert users.known(tmp_path) == []
    users.add("anna", "reviewer", tmp_path)
    assert users.known(tmp_path) == [{"name": "anna", "role": "reviewer"}]


@pytest.mark.parametrize("name", ["anna", "ANNA", "admin", "Admin"])
def test_a_name_that_somebody_has_is_refused(tmp_path, name):
    users.add("anna", "annotator", tmp_path)
    before = entries(tmp_path)
    with pytest.raises(DeployError, match="already"):
        users.add(name, "admin", tmp_path)
    assert entries(tmp_path) == before


@pytest.mark.parametrize("name", ["", "-anna", ".", "an na", "anna\n", "../x", "a" * 65, "änna", "a/b", "a\x00"])
def test_what_cannot_be_a_name_is_refused_and_nothing_is_written(tmp_path, name):
    with pytest.raises(DeployError, match="cannot be a user's name"):
        users.add(name, "annotator", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "anna.b@clinic-1.org", "R2_d2", "a" * 64])
def test_names_as_people_and_mail_have_them_are_accepted(tmp_path, name):
    users.add(name, "annotator", tmp_path)
    assert list(entries(tmp_path)) == [name]


def test_who_is_revoked_is_gone_and_the_others_stay(tmp_path):
    for name in ("anna", "ben"):
        users.add(name, "annotator", tmp_path)
    users.revoke("anna", tmp_path)
    assert list(entries(tmp_path)) == ["ben"]


def test_a_revoked_name_can_be_used_again_with_another_token(tmp_path):
    token = users.add("anna", "annotator", tmp_path)
    users.revoke("anna", tmp_path)
    assert users.add("anna", "annotator", tmp_path) != token


def test_who_is_not_there_cannot_be_revoked(tmp_path):
    with pytest.raises(DeployError, match="no user anna"):
        users.revoke("anna", tmp_path)


def test_admin_is_revoked_in_the_settings_and_nowhere_else(tmp_path):
    users.follow_admin("t" * 32, tmp_path)
    with pytest.raises(DeployError, match="LABEL_SERVER_TOKEN"):
        users.revoke("admin", tmp_path)
    assert list(entries(tmp_path)) == ["admin"]


def test_admin_follows_the_setting_and_the_others_stay(tmp_path):
    users.add("anna", "annotator", tmp_path)
    for token in ("t" * 32, "u" * 32):
        users.follow_admin(token, tmp_path)
        assert entries(tmp_path)["admin"]["sha256"] == hashlib.sha256(token.encode()).hexdigest()
        assert sorted(entries(tmp_path)) == ["admin", "anna"]


def test_a_file_that_would_be_the_same_is_not_touched(tmp_path):
    users.follow_admin("t" * 32, tmp_path)
    identity = (tmp_path / "users" / "users.json").stat().st_ino
    users.follow_admin("t" * 32, tmp_path)
    assert (tmp_path / "users" / "users.json").stat().st_ino == identity


def test_two_at_once_do_not_lose_each_others_work(tmp_path):
    work = [threading.Thread(target=users.add, args=(f"user{n}", "annotator", tmp_path)) for n in range(12)]
    for each in work:
        each.start()
    for each in work:
        each.join()
    assert len(entries(tmp_path)) == 12


def test_modes_of_the_users_file(tmp_path):
    users.add("anna", "annotator", tmp_path / "secrets")
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "secrets", tmp_path / "secrets/users", tmp_path / "secrets/users/users.json")
    }
    assert modes == {"secrets": 0o700, "users": 0o755, "users.json": 0o644}


@pytest.mark.parametrize("content", ["", "[]", '{"users": [{"name": "anna"}]}', '{"users": 1}', "\x00"])
def test_a_file_that_cannot_be_understood_is_said_and_stays(tmp_path, content):
    (tmp_path / "users").mkdir()
    (tmp_path / "users" / "users.json").write_text(content)
    with pytest.raises(DeployError, match=r"users\.json cannot be read"):
        users.add("anna", "annotator", tmp_path)
    assert (tmp_path / "users" / "users.json").read_text() == content


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run `deploy.py users ...` with a secrets folder of its own; what it printed."""
    monkeypatch.setenv("LABELPOD_LABEL_SERVER_PORT", "8123")
    monkeypatch.setattr(Stack, "containers", lambda self: {})

    def run(*arguments: str) -> str:
        assert cli.main(["users", *arguments], Project(tmp_path)) == 0
        return capsys.readouterr().out

    return run


def test_the_url_is_printed_once_and_ready_to_paste(command):
    printed = command("add", "anna")
    assert "http://127.0.0.1:8123/" in printed and "annotator" in printed and "cannot be shown again" in printed
    token = printed.split("/")[3]
    assert token not in command("list") and token not in command("list", "--json")


def test_programs_get_name_role_url_and_token(command):
    made = json.loads(command("add", "anna", "--role", "admin", "--json"))
    assert made == {
        "name": "anna",
        "role": "admin",
        "url": f"http://127.0.0.1:8123/{made['token']}/",
        "token": made["token"],
    }
    listed = {"name": "anna", "role": "admin", "last_seen": None, "labels_stored": None}
    assert json.loads(command("list", "--json")) == [listed]
    command("revoke", "anna")
    assert json.loads(command("list", "--json")) == []


@pytest.mark.parametrize(("address", "told"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)])
def test_an_address_that_works_on_this_machine_only_is_said_to_be_one(tmp_path, capsys, monkeypatch, address, told):
    monkeypatch.setenv("LABELPOD_BIND_ADDRESS", address)
    assert cli.main(["users", "add", "anna"], Project(tmp_path)) == 0
    assert ("works on this machine only" in " ".join(capsys.readouterr().err.split())) is told

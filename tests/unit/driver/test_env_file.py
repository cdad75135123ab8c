"""How `.env` is made and completed."""

import os
import stat
from pathlib import Path

import pytest

from labelpod import env_file, settings
from labelpod.errors import DeployError

# What would be added where it is missing.
KEPT = f"LABEL_SERVER_TOKEN={'t' * 32}\nORTHANC_USERNAME=ward\n"


@pytest.fixture
def path(tmp_path, monkeypatch) -> Path:
    for name in env_file.GENERATED:
        monkeypatch.delenv(name, raising=False)
    return tmp_path / ".env"


def password(path: Path) -> str:
    return settings.load(path, {}).ORTHANC_PASSWORD


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_run_makes_it_from_the_example_with_secrets_for_its_owner_alone(path):
    assert env_file.ensure(path) is True
    assert mode(path) == 0o600
    values = settings.load(path, {})
    assert len(values.ORTHANC_PASSWORD) >= 32 and len(values.LABEL_SERVER_TOKEN) >= 32
    made = settings.example().replace("ORTHANC_PASSWORD=", f"ORTHANC_PASSWORD={values.ORTHANC_PASSWORD}")
    assert path.read_text() == made.replace("LABEL_SERVER_TOKEN=", f"LABEL_SERVER_TOKEN={values.LABEL_SERVER_TOKEN}")


def test_a_umask_that_lets_others_read_does_not_matter(path):
    before = os.umask(0)
    try:
        env_file.ensure(path)
    finally:
        os.umask(before)
    assert mode(path) == 0o600


def test_two_machines_get_two_passwords(path, tmp_path):
    env_file.ensure(path)
    env_file.ensure(tmp_path / "other")
    assert password(path) != password(tmp_path / "other")


def test_the_second_run_changes_nothing(path):
    env_file.ensure(path)
    before, identity = path.read_text(), path.stat().st_ino
    assert env_file.ensure(path) is False
    assert (path.read_text(), path.stat().st_ino) == (before, identity)


@pytest.mark.parametrize("empty", ["", "  ", '""', "''"])
def test_an_empty_secret_is_filled_in_and_every_other_line_stays(path, empty):
    rest = f"COMPOSE_PROJECT_NAME=ward\n{KEPT}"
    path.write_text(f"# mine\n\nDEVICE=cpu # no card\nORTHANC_PASSWORD={empty}\n{rest}")
    path.chmod(0o644)
    assert env_file.ensure(path) is True
    secret = password(path)
    assert secret and path.read_text() == f"# mine\n\nDEVICE=cpu # no card\nORTHANC_PASSWORD={secret}\n{rest}"
    assert mode(path) == 0o600


@pytest.mark.parametrize("text", ["DEVICE=cpu\n", "DEVICE=cpu", "# ORTHANC_PASSWORD=\nDEVICE=cpu\n\n", ""])
def test_a_secret_that_is_not_mentioned_is_added_at_the_end(path, text):
    path.write_text(text)
    assert env_file.ensure(path) is True
    assert path.read_text().startswith(text.rstrip())
    assert password(path)
    added = f"\nORTHANC_PASSWORD={password(path)}\nORTHANC_USERNAME=labelpod\n"
    assert path.read_text().endswith(added), "plain Compose would not know that there is a .env"


@pytest.mark.parametrize("line", ["ORTHANC_PASSWORD=mine", "ORTHANC_PASSWORD='mine'"])
def test_a_secret_of_the_users_own_is_kept(path, line):
    path.write_text(f"{line}\n{KEPT}")
    assert env_file.ensure(path) is False
    assert password(path) == "mine"


def test_a_secret_in_the_environment_needs_none_in_the_file(path, monkeypatch):
    for name in env_file.GENERATED:
        monkeypatch.setenv(name, "mine")
    env_file.ensure(path)
    assert path.read_text() == settings.example()


def refuse(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


# Root may write anywhere, so that a folder without rights would not do.
@pytest.mark.parametrize("step", ["os.open", "pathlib.Path.replace"])
@pytest.mark.parametrize("before", [None, "DEVICE=cpu\n"])
def test_a_folder_that_cannot_be_written_is_an_error_and_changes_nothing(path, monkeypatch, step, before):
    if before:
        path.write_text(before)
    monkeypatch.setattr(step, refuse)
    with pytest.raises(DeployError, match=r"\.env cannot be written: Permission denied") as caught:
        env_file.ensure(path)
    monkeypatch.undo()
    assert "writable" in caught.value.remedy
    assert (path.read_text() if path.exists() else None) == before
    assert [each.name for each in path.parent.iterdir()] == ([".env"] if before else [])


def test_a_folder_that_is_not_there_is_an_error(tmp_path, path):
    with pytest.raises(DeployError, match="cannot be written: No such file"):
        env_file.ensure(tmp_path / "absent" / ".env")


def test_a_draft_of_an_interrupted_run_is_in_nobodys_way(path):
    left = path.with_name("..env.k1ll3d.draft")
    left.write_text("half")
    os.utime(left, (0, 0))
    env_file.ensure(path)
    assert password(path) and [each.name for each in path.parent.iterdir()] == [".env"]


def test_a_file_that_is_not_text_is_an_error_and_stays(path):
    path.write_bytes(b"\x89PNG\xff")
    with pytest.raises(DeployError, match="cannot be read"):
        env_file.ensure(path)
    assert path.read_bytes() == b"\x89PNG\xff"

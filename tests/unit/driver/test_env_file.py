"""How `.env` is made and completed."""

import os
import stat
from pathlib import Path

import pytest

from labelpod.config import env_file, settings, settings_text
from labelpod.errors import DeployError
from labelpod_common import atomic_file

# What would be added where it is missing.
KEPT = f"LABELPOD_LABEL_SERVER_TOKEN={'t' * 32}\nLABELPOD_ORTHANC_USERNAME=ward\n"


@pytest.fixture
def path(tmp_path, monkeypatch) -> Path:
    for name in env_file.GENERATED:
        monkeypatch.delenv(name, raising=False)
    return tmp_path / ".env"


def password(path: Path) -> str:
    return settings.load(path, {}).ORTHANC_PASSWORD.get_secret_value()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_run_makes_it_from_the_example(path):
    assert env_file.ensure(path) is True
    assert mode(path) == 0o600
    values = settings.load(path, {})
    assert len(values.ORTHANC_PASSWORD) >= 32 and len(values.LABEL_SERVER_TOKEN) >= 32
    made = settings_text.example().replace("ORTHANC_PASSWORD=", f"ORTHANC_PASSWORD={password(path)}")
    token = values.LABEL_SERVER_TOKEN.get_secret_value()
    assert path.read_text() == made.replace("LABEL_SERVER_TOKEN=", f"LABEL_SERVER_TOKEN={token}")


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
    path.write_text(f"# mine\n\nLABELPOD_DEVICE=cpu # no card\nLABELPOD_ORTHANC_PASSWORD={empty}\n{rest}")
    path.chmod(0o644)
    assert env_file.ensure(path) is True
    secret = password(path)
    assert (
        secret
        and path.read_text() == f"# mine\n\nLABELPOD_DEVICE=cpu # no card\nLABELPOD_ORTHANC_PASSWORD={secret}\n{rest}"
    )
    assert mode(path) == 0o600


@pytest.mark.parametrize(
    "text",
    ["LABELPOD_DEVICE=cpu\n", "LABELPOD_DEVICE=cpu", "# LABELPOD_ORTHANC_PASSWORD=\nLABELPOD_DEVICE=cpu\n\n", ""],
)
def test_a_secret_that_is_not_mentioned_is_added_at_the_end(path, text):
    path.write_text(text)
    assert env_file.ensure(path) is True
    assert path.read_text().startswith(text.rstrip())
    assert password(path)
    added = f"\nLABELPOD_ORTHANC_PASSWORD={password(path)}\nLABELPOD_ORTHANC_USERNAME=labelpod\n"
    assert path.read_text().endswith(added), "plain Compose would not know that there is a .env"


@pytest.mark.parametrize("line", ["LABELPOD_ORTHANC_PASSWORD=mine", "LABELPOD_ORTHANC_PASSWORD='mine'"])
def test_a_secret_of_the_users_own_is_kept(path, line):
    path.write_text(f"{line}\n{KEPT}")
    assert env_file.ensure(path) is False
    assert password(path) == "mine"


def test_a_secret_in_the_environment_needs_none_in_the_file(path, monkeypatch):
    for name in env_file.GENERATED:
        monkeypatch.setenv(name, "mine")
    env_file.ensure(path)
    assert path.read_text() == settings_text.example()


def refuse(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


# Root may write anywhere, so that a folder without rights would not do.
@pytest.mark.parametrize("step", ["tempfile.mkstemp", "pathlib.Path.replace"])
@pytest.mark.parametrize("before", [None, "LABELPOD_DEVICE=cpu\n"])
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


def test_names_of_an_older_version_get_the_prefix_and_the_old_file_is_kept(path):
    before = f"# mine\nDEVICE=cpu # no card\nORTHANC_PASSWORD=mine\nCOMPOSE_PROJECT_NAME=ward\n{KEPT}"
    path.write_text(before)
    assert env_file.ensure(path) is True
    text = path.read_text()
    assert text == before.replace("DEVICE=", "LABELPOD_DEVICE=").replace("ORTHANC_PASS", "LABELPOD_ORTHANC_PASS")
    kept = path.with_name(".env.before-prefix")
    assert (kept.read_text(), mode(kept)) == (before, 0o600)
    assert env_file.ensure(path) is False and password(path) == "mine"


def test_of_two_lines_for_a_setting_the_one_with_the_prefix_stays(path):
    path.write_text(f"LABELPOD_DEVICE=cpu\n  DEVICE=gpu\n  ORTHANC_PORT=81\n{KEPT}")
    before = settings.load(path, {})
    env_file.ensure(path)
    after = settings.load(path, {}).model_copy(update={"ORTHANC_PASSWORD": before.ORTHANC_PASSWORD})
    assert after == before and (before.DEVICE, before.ORTHANC_PORT) == ("cpu", 81)
    assert "#   DEVICE=gpu\n  LABELPOD_ORTHANC_PORT=81\n" in path.read_text()


def test_two_writers_at_once_leave_one_whole_file(path):
    with atomic_file.draft(path, 0o600) as first:
        first.write(b"first\n")
        with atomic_file.draft(path, 0o600) as second:
            second.write(b"second\n")
        assert path.read_text() == "second\n"
    assert path.read_text() == "first\n" and [each.name for each in path.parent.iterdir()] == [".env"]


def test_one_name_is_put_and_every_other_line_stays(path):
    path.write_text(f"# mine\nCOMPOSE_FILE=old.yaml\n{KEPT}")
    env_file.put(path, "COMPOSE_FILE", "compose.yaml:compose.gpu.yaml")
    assert path.read_text() == f"# mine\n{KEPT}COMPOSE_FILE=compose.yaml:compose.gpu.yaml\n"
    identity = path.stat().st_ino
    env_file.put(path, "COMPOSE_FILE", "compose.yaml:compose.gpu.yaml")
    assert path.stat().st_ino == identity


@pytest.mark.parametrize("line", ["export LABELPOD_ORTHANC_PASSWORD=", "LABELPOD_ORTHANC_PASSWORD = ''"])
@pytest.mark.parametrize(("mark", "end"), [("", "\n"), ("\ufeff", "\r\n")])
def test_an_empty_secret_is_filled_in_as_people_write_it(path, line, mark, end):
    path.write_bytes(f"{mark}{line}\nexport LABELPOD_DEVICE = cpu\n{KEPT}".replace("\n", end).encode())
    assert env_file.ensure(path) is True
    assert path.read_text() == f"LABELPOD_ORTHANC_PASSWORD={password(path)}\nexport LABELPOD_DEVICE = cpu\n{KEPT}"


def test_old_names_get_the_prefix_as_people_write_them(path):
    path.write_text(f"\ufeffexport DEVICE = cpu\nORTHANC_PASSWORD =mine\n{KEPT}")
    assert env_file.ensure(path) is True
    assert path.read_text() == f"export LABELPOD_DEVICE = cpu\nLABELPOD_ORTHANC_PASSWORD =mine\n{KEPT}"


def test_a_name_is_put_in_the_place_of_a_line_as_people_write_it(path):
    path.write_bytes(b"\xef\xbb\xbfexport COMPOSE_FILE = old.yaml\r\nLABELPOD_DEVICE=cpu\r\n")
    env_file.put(path, "COMPOSE_FILE", "compose.yaml")
    assert path.read_bytes() == b"LABELPOD_DEVICE=cpu\nCOMPOSE_FILE=compose.yaml\n"


@pytest.mark.parametrize("name", ["models.tar.zst", "x[1].tar.zst", "a*b?.json"])
def test_what_killed_writers_left_goes_whatever_the_file_is_called(tmp_path, name):
    left = tmp_path / f".{name}.k1ll3d.draft"
    left.write_text("half")
    os.utime(left, (0, 0))
    atomic_file.write(tmp_path / name, b"whole")
    assert [each.name for each in tmp_path.iterdir()] == [name]

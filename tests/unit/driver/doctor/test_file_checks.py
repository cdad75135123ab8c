"""What the doctor finds about files: who can read secrets, who may change what runs, whose folder it is."""

import grp
import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from labelpod.config.settings import Settings
from labelpod.doctor import file_checks
from labelpod_common.doctor_report import Finding

PROGRAMS = ("deploy.py", "compose.yaml", "labelpod/cli.py", "images/orthanc/access.lua", "templates/x.j2", ".env")
PROGRAMS += ("build/start_server.sh", ".venv/bin/python", ".venv/lib/python3.11/site-packages/x.py", "secrets/users/u")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout as `git clone` and `up` leave it."""
    folder = tmp_path / "checkout"
    for name in (*PROGRAMS, ".env.example", "tests/x.py"):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        file.chmod(0o644)
    (folder / "secrets").chmod(0o700)
    (folder / ".env").chmod(0o600)
    return folder


def found(folder: Path, values: Settings | None = None, **environ: str) -> list[Finding]:
    return file_checks.check(folder, values or Settings(), environ)


def warned(folder: Path, values: Settings | None = None, **environ: str) -> Finding:
    (finding,) = found(folder, values, **environ)
    assert finding.level == "warning" and finding.remedy
    return finding


def test_a_folder_as_it_is_made_is_in_order(folder: Path):
    assert [each.level for each in found(folder)] == ["ok"]


@pytest.mark.parametrize("mode", [0o777, 0o755, 0o750, 0o711])
def test_secrets_that_others_can_open_are_told(folder: Path, mode: int):
    (folder / "secrets").chmod(mode)
    finding = next(each for each in found(folder) if "other users can open secrets/" in each.message)
    assert (finding.level, finding.remedy) == ("warning", "chmod 700 secrets")


@pytest.mark.parametrize("name", ["tls.key", "key_of_runpod", ".env.before-prefix"])
def test_any_file_with_a_key_that_others_can_read_is_told(folder: Path, name: str):
    (folder / name).touch()
    (folder / name).chmod(0o640)
    values = Settings(TLS_KEY=str(folder / "tls.key"), RUNPOD_API_KEY_FILE=str(folder / "key_of_runpod"))
    assert warned(folder, values).remedy == f"chmod 600 {name}"
    (folder / name).chmod(0o600)
    assert found(folder, values)[0].level == "ok"


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_runs_and_others_may_change_is_told(folder: Path, name: str):
    path = folder / name
    path.chmod(path.stat().st_mode | 0o002)
    assert name in warned(folder).message and warned(folder).remedy == "chmod -R go-w ."
    path.chmod(0o600)
    path.parent.chmod(0o777)
    assert any("other users may change" in each.message for each in found(folder)), "they may put another in its place"


def test_a_folder_around_the_checkout_that_others_may_write_to_is_told(folder: Path):
    folder.parent.chmod(0o777)
    assert f"they may write to {folder.parent}" in warned(folder).message
    folder.parent.chmod(0o1777)
    assert found(folder)[0].level == "ok", "in a folder like /tmp only the owner may replace it"


def test_a_group_counts_if_others_are_in_it(folder: Path, monkeypatch):
    (folder / "deploy.py").chmod(0o664)
    os.chown(folder / "deploy.py", -1, os.getgid())
    me = SimpleNamespace(pw_name="me", pw_gid=77)
    status = SimpleNamespace(st_mode=0o100664, st_gid=77, st_uid=1000)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: me)
    monkeypatch.setattr(grp, "getgrgid", lambda _: SimpleNamespace(gr_mem=["me"]))
    monkeypatch.setattr(Path, "lstat", lambda self: status)
    assert not file_checks._others_write(folder / "deploy.py"), "a group of their own"
    monkeypatch.setattr(grp, "getgrgid", lambda _: SimpleNamespace(gr_mem=["me", "eve"]))
    assert file_checks._others_write(folder / "deploy.py")
    me.pw_gid = 78
    monkeypatch.setattr(grp, "getgrgid", lambda _: SimpleNamespace(gr_mem=[]))
    assert file_checks._others_write(folder / "deploy.py"), "staff, of which everybody is"


def test_root_in_a_folder_of_another_user_is_told(folder: Path, monkeypatch):
    real = Path.stat
    status = SimpleNamespace(st_uid=4711, st_mode=folder.stat().st_mode)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Path, "stat", lambda self, **more: status if self == folder else real(self, **more))
    assert "the user with the number 4711 may change" in warned(folder, SUDO_UID="1000").message
    assert "root runs" in warned(folder).message, "by su, or as root from the start"
    assert found(folder, SUDO_UID="4711")[0].level == "ok", "their own folder"
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert found(folder)[0].level == "ok"

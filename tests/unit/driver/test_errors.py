"""Whatever goes wrong at a verb is a sentence and what to do, never a traceback; and whose the files are."""

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from python_on_whales.client_config import ClientNotFoundError, ParsingError
from python_on_whales.exceptions import DockerException

from labelpod import cli, files, lifecycle, os_errors
from labelpod.config.settings import Settings
from labelpod.docker import stack
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod.security import secret_files
from tests.support.paths import ROOT

Run = Callable[..., "subprocess.CompletedProcess[str]"]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can work for another user")


def os_error(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


BROKEN = {
    "permission": os_error(errno.EACCES, "/root/x"),
    "missing": os_error(errno.ENOENT, "/absent/x"),
    "folder": os_error(errno.EISDIR, "/tmp"),
    "no folder": os_error(errno.ENOTDIR, "/etc/passwd/x"),
    "there": os_error(errno.EEXIST, "/tmp"),
    "full": os_error(errno.ENOSPC),
    "full here": os_error(errno.ENOSPC, "/absent/x"),
    "read-only": os_error(errno.EROFS, "/x"),
    "unknown": os_error(errno.EIO),
    "unknown here": os_error(errno.EIO, "/x"),
    "no temporary": FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
    "json": json.JSONDecodeError("Expecting value", "{", 1),
    "unicode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    "docker": DockerException(["docker", "ps"], 1, b"", b"the engine is gone"),
    "no docker": ClientNotFoundError("docker was not found"),
    "another engine": ParsingError("the answer is not Docker's"),
}


@pytest.fixture
def said(monkeypatch, capsys):
    """What a verb says if this happens in it, as two lines."""

    def run(error: BaseException) -> tuple[str, str]:
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(lifecycle, "build", fail)
        assert cli.main(["build"]) == 1
        words = capsys.readouterr().err.splitlines()
        assert len(words) == 2 and words[0].startswith("Error: ") and words[1].startswith("       ")
        return words[0].removeprefix("Error: "), words[1].strip()

    return run


@pytest.mark.parametrize("kind", BROKEN)
def test_what_goes_wrong_is_two_lines_and_no_traceback(kind, said):
    message, remedy = said(BROKEN[kind])
    assert message and remedy


def test_permission_missing_and_folder_are_told_apart(said):
    words = [said(BROKEN[kind])[0] for kind in ("permission", "missing", "folder")]
    assert words == ["/root/x: permission denied", "/absent/x is not there", "/tmp is a folder, where a file is needed"]


def test_a_full_disk_is_named_by_its_file_system_and_so_is_the_one_of_temporary_files(said, monkeypatch, tmp_path):
    monkeypatch.setattr(os.path, "ismount", lambda place: str(place) in ("/", str(tmp_path)))
    inside = tmp_path / "a" / "b"
    assert said(os_error(errno.ENOSPC, str(inside))) == (
        f"{inside} cannot be written: {tmp_path} is full",
        f"make room on the disk: df -h {tmp_path}",
    )
    monkeypatch.setattr(os_errors.tempfile, "gettempdir", lambda: str(inside))
    assert said(os_error(errno.ENOSPC))[0] == f"{inside} cannot be written: {tmp_path} is full"


def test_temporary_files_without_room_anywhere_are_said(said, monkeypatch):
    def none() -> str:
        raise BROKEN["no temporary"]

    monkeypatch.setattr(os_errors.tempfile, "gettempdir", none)
    message, remedy = said(BROKEN["no temporary"])
    assert message == "No usable temporary directory found in ['/tmp']" and "df -h" in remedy


def test_a_denied_file_says_whose_it_is(said, tmp_path):
    _, remedy = said(os_error(errno.EACCES, str(tmp_path)))
    assert f"{tmp_path} belongs to {os_errors.name(os.geteuid())}" in remedy


def test_an_interruption_outside_typer_is_130(monkeypatch, capsys):
    def interrupted() -> Project:
        raise KeyboardInterrupt

    monkeypatch.setattr(Project, "of_this_checkout", interrupted)
    assert cli.main(["status"]) == 130


@pytest.fixture
def run(tmp_path, programs) -> Run:
    """The driver on a folder of its own, in a process of its own; `docker` is what the test makes it."""
    (tmp_path / "compose.yaml").write_text("services: {}\n")

    def start(*arguments: str, pipe: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        program = (
            "from labelpod.project import Project; from labelpod import cli; from pathlib import Path; import sys;"
            f"sys.exit(cli.main(sys.argv[1:], Project(Path({str(tmp_path)!r}))))"
        )
        command = shlex.join([sys.executable, "-c", program, *arguments])
        return subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command} {pipe}"],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=30,
        )

    return start


@pytest.mark.parametrize("verb", ["status", "logs", "down", "doctor", "audit", "users list", "models list", "history"])
def test_without_docker_every_verb_says_so(verb, run, programs):
    for name in ("bash", "sh", "env"):
        (programs.folder / name).symlink_to(f"/bin/{name}")
    result = run(*verb.split(), PATH=str(programs.folder))
    assert result.returncode in (0, 1) and "Traceback" not in result.stderr, result.stderr


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "latin-1"])
def test_a_terminal_that_knows_few_letters_gets_question_marks(encoding, run, programs):
    programs.add("docker", "echo 'é → 好' >&2; exit 1")
    for verb in ("doctor", "status"):
        result = run(verb, PYTHONIOENCODING=encoding, LC_ALL="C")
        assert "Traceback" not in result.stderr and result.returncode == 1
        assert "?" in result.stdout + result.stderr


LOG = r"""
case "$*" in
  *" logs "*)
    echo 'time="2026-01-01" level=warning msg="of Compose itself"' >&2
    n=$(cat "{0}/asked" 2>/dev/null || echo 0); echo $((n + 1)) > "{0}/asked"
    printf 'line\twith a tab %s \033[1m[bold]\n' "$n";;
  *working_dir*|volume*) exit 0;;  # nobody else has the stack
  *) [ "$(cat "{0}/asked")" -lt 2 ] && echo 0123456789ab;;
esac
"""


def test_only_the_log_is_in_a_pipe_as_it_is(run, programs, tmp_path):
    programs.add("docker", LOG.format(tmp_path))
    result = run("logs", "label-server")
    assert (result.returncode, result.stdout) == (0, "line\twith a tab 0 \033[1m[bold]\n")
    assert "Compose itself" not in result.stderr


def test_a_reader_of_the_log_that_has_gone_is_no_error(run, programs, tmp_path):
    programs.add("docker", 'case "$*" in *" logs "*) seq 200000;; esac')
    result = run("logs", pipe="| head -1")
    assert (result.returncode, result.stdout, result.stderr) == (0, "1\n", "")


def test_a_followed_log_goes_on_after_a_restart_and_ends_without_containers(monkeypatch, programs, tmp_path):
    programs.add("docker", LOG.format(tmp_path))
    monkeypatch.setattr(stack, "_RESTART_SECONDS", 0)
    there = iter([{"orthanc": object()}, {}])
    monkeypatch.setattr(stack.Stack, "containers", lambda _: next(there))
    lines = list(stack.Stack(Project(tmp_path), Settings()).logs(None, follow=True))
    assert [line.split("\033")[0].strip() for line in lines] == ["line\twith a tab 0", "line\twith a tab 1"]
    first, second = [call for call in programs.calls("docker") if " logs " in call]
    assert "--since" not in first and "--since 2" in second


UNKNOWN = "LABELPOD_OF_AN_OLDER_VERSION=1\nLABELPOD_ORTHANC_PORT=18042\nLABELPOD_LABEL_SERVER_TOKEN=" + "t" * 32 + "\n"


@pytest.mark.parametrize(("verb", "code"), [("down", 0), ("status", 0), ("logs", 0), ("doctor", 1), ("audit", 0)])
def test_a_setting_of_an_older_version_keeps_nobody_from_looking_and_stopping(verb, code, run, programs, tmp_path):
    (tmp_path / ".env").write_text(UNKNOWN)
    programs.add("docker")
    result = run(verb)
    said = result.stdout + result.stderr
    assert "LABELPOD_OF_AN_OLDER_VERSION is not a setting" in said and "delete the line" in said
    assert result.returncode == code, said
    if verb == "status":
        assert ":18042/" in said
    if verb == "down":
        assert any(" down" in call for call in programs.calls("docker"))


@pytest.mark.parametrize(("verb", "code"), [("down", 0), ("status", 0), ("logs", 0), ("doctor", 1), ("audit", 0)])
def test_a_value_that_is_none_any_more_keeps_nobody_from_looking_and_stopping(verb, code, run, programs, tmp_path):
    (tmp_path / ".env").write_text("LABELPOD_DEVICE=cuda:0\nLABELPOD_ORTHANC_PORT=80a\nLABELPOD_ORTHANC_USERNAME=x\n")
    programs.add("docker", 'case "$*" in *" down"*) echo "port is <$LABELPOD_ORTHANC_PORT>" >&2;; esac')
    result = run(verb)
    said = result.stdout + result.stderr
    assert "LABELPOD_ORTHANC_PORT: '80a' is not a whole number" in said and ("LABELPOD_DEVICE: " in said or code)
    assert result.returncode == code, said
    if verb == "down":
        assert "port is <>" in said, "Compose, which reads .env itself, takes the default"


@pytest.mark.parametrize("verb", ["up", "build", "render"])
def test_what_would_change_the_stack_refuses_a_setting_that_is_none(verb, run, programs, tmp_path):
    (tmp_path / ".env").write_text(UNKNOWN)
    programs.add("docker")
    result = run(verb)
    assert result.returncode == 1 and "Error: .env: LABELPOD_OF_AN_OLDER_VERSION" in result.stderr
    assert programs.calls("docker") == []


@AS_ROOT
def test_what_root_writes_in_a_users_folder_is_the_users(tmp_path):
    os.chown(tmp_path, 12345, 12345)
    written = tmp_path / "secrets" / "one"
    files.folder(written.parent, 0o700)
    assert files.write(written, b"x", 0o600)
    with files.locked(tmp_path / ".lock"):
        pass
    for path in (written.parent, written, tmp_path / ".lock"):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12345), path
    os.chown(written, 0, 0)
    assert not files.write(written, b"x", 0o600)
    assert written.stat().st_uid == 12345, "what an older version left as root's"


@pytest.mark.parametrize("after", [0.05, 0.15, 0.3])
def test_ctrl_c_while_the_driver_loads_has_no_traceback(after):
    process = subprocess.Popen(
        [sys.executable, "-c", "import labelpod.__main__ as main; main.run()", "--version"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert "labelpod/" not in err, out + err


def test_a_file_in_the_place_of_a_folder_is_said(tmp_path, capsys):
    (tmp_path / "build").write_text("")
    assert cli.main(["render"], Project(tmp_path)) == 1
    assert f"{tmp_path / 'build'} cannot be made: File exists" in capsys.readouterr().err


def test_a_secret_of_ours_that_is_empty_is_made_again_and_one_that_cannot_be_is_named(tmp_path):
    values = Settings(LABEL_SERVER_TOKEN="t" * 32, ORTHANC_PASSWORD="p")
    secret_files.write(values, tmp_path / "secrets")
    for content in (b"", b"\0\xff"):
        (tmp_path / "secrets" / "label_server_password").write_bytes(content)
        secret_files.write(values, tmp_path / "secrets")
        again = (tmp_path / "secrets" / "label_server_password").read_text()
        assert len(again) == 32 and again in (tmp_path / "secrets" / "orthanc_users.json").read_text()
        (tmp_path / "secrets" / "label_key").write_bytes(content)
        with pytest.raises(DeployError, match="label_key is broken") as caught:
            secret_files.write(values, tmp_path / "secrets")
        assert "backup" in caught.value.remedy
        (tmp_path / "secrets" / "label_key").unlink()


def test_paths_in_messages_are_told_from_the_nearest_mount():
    assert os_errors.file_system(Path("/proc/absent/x")) == Path("/proc")

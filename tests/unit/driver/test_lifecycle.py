"""What `up` writes before it starts anything, and who waits for whom."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from dotenv import dotenv_values

from labelpod import lifecycle
from labelpod.config.settings import Settings
from labelpod.docker.stack import Stack
from labelpod.errors import DeployError
from labelpod.host import gpu
from labelpod.images import advisories, build, sbom
from labelpod.project import Project
from labelpod.studies import migrate
from tests.support.paths import ROOT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A folder on a machine where everything is in order, with a GPU, and where nothing is really started."""
    monkeypatch.setattr(lifecycle.docker_install, "ensure", lambda _: None)
    monkeypatch.setattr(lifecycle.examine, "obstacles", lambda _: [])
    monkeypatch.setattr(lifecycle, "docker_info", lambda: {"Runtimes": {"nvidia": {}}})
    monkeypatch.setattr(gpu, "find", lambda: [gpu.Gpu("RTX", 24.0, "570.1")])
    monkeypatch.setattr(build, "ensure", lambda *_, **__: None)
    monkeypatch.setattr(migrate, "guard", lambda _: None)
    monkeypatch.setattr(migrate, "pending", lambda _: False)
    monkeypatch.setattr(sbom, "write", lambda *_: None)
    monkeypatch.setattr(advisories, "check", lambda _: None)
    monkeypatch.setattr(Stack, "up", lambda _: None)
    monkeypatch.setattr(Stack, "docker", None)
    return Project(tmp_path)


def compose_file(project: Project) -> str | None:
    return dotenv_values(project.env_file).get("COMPOSE_FILE")


@pytest.mark.parametrize(
    ("text", "device", "files"),
    [
        ("", None, "compose.yaml:compose.gpu.yaml"),
        ("", "cpu", "compose.yaml"),
        ("LABELPOD_ORTHANC_DB=postgres\n", "cpu", "compose.yaml:compose.postgres.yaml"),
        ("ORTHANC_DB=postgres\nCOMPOSE_FILE=compose.yaml\n", "cpu", "compose.yaml:compose.postgres.yaml"),
        ("LABELPOD_STUDIES=/srv\n", "cpu", "compose.yaml:compose.folder.yaml"),
    ],
)
def test_plain_compose_is_told_the_same_files(project, text, device, files):
    project.env_file.write_text(text)
    stack = lifecycle.up(project, device, yes=True)
    assert compose_file(project) == files == ":".join(stack.compose_files)


@pytest.mark.parametrize("name", ["compose.override.yaml", "compose.override.yml", "docker-compose.override.yml"])
def test_the_users_own_compose_file_is_among_them(project, name):
    (project.root / name).touch()
    lifecycle.up(project, "cpu", yes=True)
    assert compose_file(project) == f"compose.yaml:{name}"


def test_a_compose_file_that_is_replaced_is_said(project, capsys):
    project.env_file.write_text("COMPOSE_FILE=compose.yaml:mine.yaml\n")
    lifecycle.up(project, "cpu", yes=True)
    assert "it was compose.yaml:mine.yaml" in capsys.readouterr().err


def test_one_machine_runs_eight_label_servers_and_builds_the_images_of_more(project):
    project.env_file.write_text("LABELPOD_LABEL_SERVERS=9\n")
    lifecycle.build(project, yes=True)
    with pytest.raises(DeployError) as caught:
        lifecycle.up(project, "cpu", yes=True)
    assert "LABELPOD_LABEL_SERVERS=9" in caught.value.message and "kubernetes.md" in caught.value.remedy
    project.env_file.write_text("LABELPOD_LABEL_SERVERS=8\n")
    lifecycle.up(project, "cpu", yes=True)


def test_a_refused_up_leaves_compose_where_it_was(project, monkeypatch):
    def refuse(_: Stack) -> None:
        raise DeployError("the studies are in SQLite", "migrate them")

    project.env_file.write_text("LABELPOD_ORTHANC_DB=postgres\nCOMPOSE_FILE=compose.yaml\n")
    monkeypatch.setattr(migrate, "guard", refuse)
    with pytest.raises(DeployError):
        lifecycle.up(project, "cpu", yes=True)
    assert compose_file(project) == "compose.yaml"


@pytest.mark.parametrize(
    ("device", "found", "pending", "files"),
    [
        ("auto", True, False, "compose.yaml:compose.gpu.yaml:compose.tls.yaml"),
        ("gpu", False, False, "compose.yaml:compose.tls.yaml"),
        ("auto", True, True, None),
    ],
)
def test_build_tells_compose_as_up_does(project, monkeypatch, device, found, pending, files):
    monkeypatch.setattr(lifecycle.secret_files, "write", lambda *_: None)
    monkeypatch.setattr(migrate, "pending", lambda _: pending)
    if not found:
        monkeypatch.setattr(gpu, "find", lambda: [])
    project.env_file.write_text(f"LABELPOD_DEVICE={device}\nLABELPOD_TLS_CERT=c.pem\nLABELPOD_TLS_KEY=k.pem\n")
    lifecycle.build(project, yes=True)
    assert compose_file(project) == files


def test_up_at_once_takes_turns(project, monkeypatch):
    running, most = 0, 0

    def start(_: Stack) -> None:
        nonlocal running, most
        running, most = running + 1, max(most, running + 1)
        time.sleep(0.05)
        running -= 1

    monkeypatch.setattr(Stack, "up", start)
    threads = [threading.Thread(target=lifecycle.up, args=(project, "cpu", True)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most == 1
    assert len(Settings.model_fields) > 40 and "LABELPOD_ORTHANC_PASSWORD=" in project.env_file.read_text()


def test_who_waits_says_who_is_at_work(project, capsys):
    program = (
        "import sys; from pathlib import Path; from labelpod import files\n"
        f"with files.locked(Path({str(project.lock)!r})): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, "up", "--yes"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdin and holder.stdout.readline() == b"held\n"
        threading.Timer(1.5, holder.stdin.close).start()
        lifecycle.up(project, "cpu", yes=True)
    said = capsys.readouterr().err
    assert f"up --yes, pid {holder.pid}" in said and "waiting for it" in said

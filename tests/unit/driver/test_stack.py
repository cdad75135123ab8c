"""Which Compose files make the stack, and which services must start again."""

import os
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from labelpod import docker, stack
from labelpod.errors import DeployError
from labelpod.label_server import LabelServer
from labelpod.settings import Settings
from labelpod.stack import Stack


@pytest.fixture
def calls(monkeypatch) -> list:
    """What is asked of Compose; both services run since 1000 s after the epoch and are healthy."""
    noted: list = []
    container = SimpleNamespace(
        state=SimpleNamespace(
            running=True,
            status="running",
            started_at=datetime.fromtimestamp(1000, UTC),
            health=SimpleNamespace(status="healthy"),
        ),
        restart_count=0,
    )
    compose = SimpleNamespace(
        stop=lambda services: noted.append(("stop", sorted(services))),
        up=lambda services, **_: noted.append(("up", services)),
    )
    monkeypatch.setattr(docker, "client", lambda *_: SimpleNamespace(compose=compose))
    monkeypatch.setattr(Stack, "containers", lambda _: {"orthanc": container, "label-server": container})
    return noted


@pytest.fixture
def file(tmp_path, monkeypatch) -> dict[str, Path]:
    """A file that each service reads at its start, older than the service."""
    files = {name: tmp_path / name for name in ("orthanc", "label-server")}
    for path in files.values():
        path.touch()
        os.utime(path, (900, 900))
    absent = tmp_path / "absent"
    monkeypatch.setattr(stack, "_READ_AT_START", {name: (absent, path) for name, path in files.items()})
    return files


def test_services_whose_files_are_older_than_they_are_go_on(calls, file):
    Stack(Settings()).up()
    assert calls == [("up", None)]


@pytest.mark.parametrize("name", ["orthanc", "label-server"])
def test_a_service_that_started_before_its_file_was_written_starts_again(calls, file, name):
    os.utime(file[name], (1100, 1100))
    Stack(Settings()).up()
    assert calls == [("stop", [name]), ("up", None)]


def test_some_services_can_be_started_alone(calls, file):
    Stack(Settings()).up("orthanc")
    assert calls == [("up", ["orthanc"])]


def test_a_service_that_once_crashed_and_is_healthy_again_is_left_alone(calls, file):
    Stack(Settings()).containers()["orthanc"].restart_count = 1
    Stack(Settings()).up()
    assert calls == [("up", None)]


def test_a_service_that_ends_again_and_again_is_stopped(calls, file, monkeypatch):
    monkeypatch.setattr(stack, "last_word", lambda _: "no memory")
    container = Stack(Settings()).containers()["orthanc"]
    container.restart_count, container.state.health.status = 1, "starting"
    monkeypatch.setattr(Stack, "_stop", lambda _, service: calls.append(("stopped", service)))
    with pytest.raises(DeployError, match="orthanc does not start: no memory"):
        Stack(Settings()).up()
    assert calls == [("up", None), ("stopped", "orthanc")]


def starting(monkeypatch, *names: str) -> list[str]:
    """Docker has not seen these to be healthy; the list notes how often it is asked for the containers."""
    before, asked = Stack(Settings()).containers(), []
    containers = {name: deepcopy(container) for name, container in before.items()}
    for name in names:
        containers[name].state.health.status = "starting"
    monkeypatch.setattr(Stack, "containers", lambda _: asked.append("containers") or containers)
    return asked


def test_a_label_server_that_answers_is_ready_before_docker_looks_again(calls, file, monkeypatch):
    asked = starting(monkeypatch, "label-server")
    answers = iter([False, False, True])
    monkeypatch.setattr(LabelServer, "answers", lambda _: next(answers))
    Stack(Settings()).up()
    assert list(answers) == []
    assert len(asked) == 2, "once before the start and once after it, not at each look"


def test_an_answer_of_the_label_server_says_nothing_of_orthanc(calls, file, monkeypatch):
    starting(monkeypatch, "orthanc", "label-server")
    monkeypatch.setattr(LabelServer, "answers", lambda _: True)
    monkeypatch.setattr(stack, "_LOAD_SECONDS", -1000)
    with pytest.raises(DeployError, match="orthanc not healthy"):
        Stack(Settings()).up()


def test_a_database_that_the_setting_names_no_more_does_not_run_on(calls, file, monkeypatch):
    database = SimpleNamespace(stop=lambda: calls.append("stopped"), remove=lambda: calls.append("removed"))
    before = Stack(Settings()).containers()
    monkeypatch.setattr(Stack, "containers", lambda _: before | {"postgres": database})
    Stack(Settings()).up()
    assert calls == [("up", None), "stopped", "removed"]


def test_postgres_is_a_service_where_the_setting_says_so():
    assert "postgres" in Stack(Settings(ORTHANC_DB="postgres")).services
    assert "postgres" not in Stack(Settings()).services


def test_the_containers_are_those_of_the_project_and_not_what_compose_runs_once(monkeypatch):
    def container(name: str, **labels: str) -> SimpleNamespace:
        own = {f"com.docker.compose.{key}": value for key, value in ({"service": "orthanc"} | labels).items()}
        return SimpleNamespace(name=name, config=SimpleNamespace(labels=own))

    there = [
        container("service", project="ours", oneoff="False"),
        container("once", project="ours", oneoff="True"),
        container("elsewhere", project="theirs", oneoff="False"),
    ]

    def listed(all: bool, filters: list[tuple[str, str]]) -> list[SimpleNamespace]:
        ((_, words),) = filters
        label, _, value = words.partition("=")
        return [each for each in there if all and each.config.labels[label] == value]

    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "ours")
    engine = SimpleNamespace(container=SimpleNamespace(list=listed))
    monkeypatch.setattr(docker, "client", lambda *_: engine)
    assert {name: each.name for name, each in Stack(Settings()).containers().items()} == {"orthanc": "service"}


def test_down_with_volumes_deletes_those_of_either_database(monkeypatch):
    asked = []

    def client(files: list[Path], *_: object) -> SimpleNamespace:
        names = [path.name for path in files]
        return SimpleNamespace(
            compose=SimpleNamespace(down=lambda **options: asked.append((names, options["volumes"])))
        )

    monkeypatch.setattr(docker, "client", client)
    Stack(Settings()).down(volumes=True)
    assert asked == [(["compose.yaml", "compose.postgres.yaml"], True), (["compose.yaml"], True)]


@pytest.mark.parametrize(
    ("values", "gpu", "overlays"),
    [
        ({}, False, []),
        ({}, True, ["compose.gpu.yaml"]),
        ({"STUDIES": "/srv"}, False, ["compose.folder.yaml"]),
        ({"ORTHANC_DB": "postgres"}, False, ["compose.postgres.yaml"]),
        ({"TLS_CERT": "c", "TLS_KEY": "k"}, False, ["compose.tls.yaml"]),
        (
            {"TLS_CERT": "c", "TLS_KEY": "k", "STUDIES": "/srv"},
            True,
            ["compose.gpu.yaml", "compose.tls.yaml", "compose.folder.yaml"],
        ),
    ],
)
def test_the_settings_choose_the_overlays(monkeypatch, values, gpu, overlays):
    monkeypatch.setattr(docker, "client", lambda files, *_: [path.name for path in files])
    assert Stack(Settings(**values), gpu).compose == ["compose.yaml", *overlays]


@pytest.mark.parametrize("state", ["running", "exited", "paused", "restarting", None])
def test_a_command_runs_in_the_label_server_or_in_a_container_of_its_own(monkeypatch, state):
    container = SimpleNamespace(name="server-1", state=SimpleNamespace(status=state))
    monkeypatch.setattr(Stack, "containers", lambda _: {"label-server": container} if state else {})
    compose = SimpleNamespace(docker_compose_cmd=["docker", "compose", "--file", Path("compose.yaml")])
    monkeypatch.setattr(docker, "client", lambda *_: SimpleNamespace(compose=compose))
    words = " ".join(Stack(Settings()).inside())
    if state == "running":
        assert words == "docker exec -i server-1"
    else:
        assert words == "docker compose --file compose.yaml run --rm -T --no-deps label-server"

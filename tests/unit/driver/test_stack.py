"""Which Compose files make the stack, and which services must start again."""

import os
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from labelpod.clients.label_server import LabelServer
from labelpod.config.settings import Settings
from labelpod.docker import client, stack
from labelpod.docker.stack import Stack
from labelpod.errors import DeployError
from labelpod.project import Project


def stack_of(gpu: bool = False, **values: str) -> Stack:
    return Stack(Project(Path("/absent")), Settings(**values), gpu)


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
    monkeypatch.setattr(client, "client", lambda *_: SimpleNamespace(compose=compose))
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
    read = {name: (absent, path) for name, path in files.items()}
    monkeypatch.setattr(stack, "files_read_at_start", lambda _: read)
    return files


def test_services_whose_files_are_older_than_they_are_go_on(calls, file):
    stack_of().up()
    assert calls == [("up", None)]


@pytest.fixture
def recorded(calls, file, monkeypatch, tmp_path) -> Stack:
    """A stack that `up` has started, and so has noted with which files."""
    project = Project(tmp_path)
    project.build.mkdir()
    monkeypatch.setattr(stack, "files_read_at_start", lambda _: {name: (path,) for name, path in file.items()})
    one = Stack(project, Settings())
    one.up()
    calls.clear()
    return one


def test_files_dated_in_the_future_restart_nothing(recorded, calls, file):
    for path in file.values():
        os.utime(path, (4e9, 4e9))
    recorded.up()
    assert calls == [("up", None)]


def test_a_file_with_another_content_and_an_old_date_restarts_its_service(recorded, calls, file):
    file["orthanc"].write_text("another")
    os.utime(file["orthanc"], (900, 900))
    recorded.up()
    assert calls == [("stop", ["orthanc"]), ("up", None)]


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"orthanc": 7}', "null"])
def test_a_record_of_starts_that_is_broken_is_made_again(recorded, calls, broken):
    recorded.project.started_record.write_text(broken)
    recorded.up()
    recorded.up()
    assert calls == [("up", None)] * 2
    assert '"label-server"' in recorded.project.started_record.read_text()


@pytest.mark.parametrize("name", ["orthanc", "label-server"])
def test_a_service_that_started_before_its_file_was_written_starts_again(calls, file, name):
    os.utime(file[name], (1100, 1100))
    stack_of().up()
    assert calls == [("stop", [name]), ("up", None)]


def test_some_services_can_be_started_alone(calls, file):
    stack_of().up("orthanc")
    assert calls == [("up", ["orthanc"])]


def test_a_service_that_once_crashed_and_is_healthy_again_is_left_alone(calls, file):
    stack_of().containers()["orthanc"].restart_count = 1
    stack_of().up()
    assert calls == [("up", None)]


def test_a_service_that_ends_again_and_again_is_stopped(calls, file, monkeypatch):
    monkeypatch.setattr(stack, "last_word", lambda _: "no memory")
    container = stack_of().containers()["orthanc"]
    container.restart_count, container.state.health.status = 1, "starting"
    monkeypatch.setattr(Stack, "_stop", lambda _, service: calls.append(("stopped", service)))
    with pytest.raises(DeployError, match="orthanc does not start: no memory"):
        stack_of().up()
    assert calls == [("up", None), ("stopped", "orthanc")]


def starting(monkeypatch, *names: str) -> list[str]:
    """Docker has not seen these to be healthy; the list notes how often it is asked for the containers."""
    before, asked = stack_of().containers(), []
    containers = {name: deepcopy(container) for name, container in before.items()}
    for name in names:
        containers[name].state.health.status = "starting"
    monkeypatch.setattr(Stack, "containers", lambda _: asked.append("containers") or containers)
    return asked


def test_a_label_server_that_answers_is_ready_before_docker_looks_again(calls, file, monkeypatch):
    asked = starting(monkeypatch, "label-server")
    answers = iter([False, False, True])
    monkeypatch.setattr(LabelServer, "answers", lambda _: next(answers))
    stack_of().up()
    assert list(answers) == []
    assert len(asked) == 2, "once before the start and once after it, not at each look"


def test_an_answer_of_the_label_server_says_nothing_of_orthanc(calls, file, monkeypatch):
    starting(monkeypatch, "orthanc", "label-server")
    monkeypatch.setattr(LabelServer, "answers", lambda _: True)
    monkeypatch.setattr(stack, "_LOAD_SECONDS", -1000)
    with pytest.raises(DeployError, match="orthanc not healthy"):
        stack_of().up()


@pytest.mark.parametrize("service", ["postgres", "orthanc-2"])
def test_a_service_that_the_settings_name_no_more_does_not_run_on(calls, file, monkeypatch, service):
    unused = SimpleNamespace(stop=lambda: calls.append("stopped"), remove=lambda: calls.append("removed"))
    before = stack_of().containers()
    monkeypatch.setattr(Stack, "containers", lambda _: before | {service: unused})
    stack_of().up()
    assert calls == [("up", None), "stopped", "removed"]


class Door:
    """A container that cannot be looked at once it is removed."""

    restart_count = 0

    def __init__(self, calls: list, container: SimpleNamespace, ports: dict | None) -> None:
        self._calls, self._container, self._ports = calls, container, ports

    def stop(self) -> None:
        self._calls.append("stopped")

    def remove(self) -> None:
        self._calls.append("removed")
        self._container = None

    @property
    def state(self) -> SimpleNamespace:
        assert self._container, "it is gone"
        return self._container.state

    @property
    def network_settings(self) -> SimpleNamespace:
        return SimpleNamespace(ports=self._ports)


@pytest.fixture
def door(calls, file, monkeypatch) -> Callable[..., None]:
    """Let a door run, which opens ports."""
    before = stack_of().containers()
    read = stack.files_read_at_start(Project(Path("/absent"))) | {"door": (Path("/absent"),)}
    monkeypatch.setattr(stack, "files_read_at_start", lambda _: read)

    def run(**ports: list) -> None:
        calls.clear()
        made = Door(calls, before["orthanc"], {f"{name[1:]}/tcp": each for name, each in ports.items()})
        monkeypatch.setattr(Stack, "containers", lambda _: before | ({} if "removed" in calls else {"door": made}))

    return run


def test_a_door_that_the_settings_need_no_more_gives_its_port_back_before_another_opens_it(calls, door):
    door(_8042=[{"HostPort": "8042"}])
    stack_of().up()
    assert calls == ["stopped", "removed", ("up", None)]


def test_a_door_gives_the_label_servers_port_back_when_there_is_one_again(calls, door):
    ports = {"_8042": [{"HostPort": "8042"}], "_8000": [{"HostPort": "8000"}]}
    door(**ports)
    stack_of(ORTHANC_BIND_ADDRESS="0.0.0.0").up()
    assert calls[:2] == ["stopped", "removed"]
    door(**ports)
    stack_of(LABEL_SERVERS="2").up()
    assert calls == [("up", None)]
    door(_8042=ports["_8042"])
    stack_of(ORTHANC_BIND_ADDRESS="0.0.0.0").up()
    assert calls == [("up", None)]


@pytest.mark.parametrize(
    ("there", "wanted", "ended"),
    [
        (["label-server", "label-server-2"], "1", ["label-server-2"]),
        (["label-server", "label-server-2", "label-server-3"], "2", ["label-server-3"]),
        (["label-server"], "2", []),
        (["label-server", "label-server-2"], "2", []),
        (["label-server-2", "label-server-3"], "2", ["label-server-2", "label-server-3"]),
        (["label-server-2"], "1", ["label-server-2"]),
        (["label-server", "label-server-3"], "3", ["label-server", "label-server-3"]),
    ],
)
def test_label_servers_are_those_from_1_on_because_the_door_knows_them_by_their_numbers(
    calls, file, monkeypatch, there, wanted, ended
):
    before = stack_of().containers()
    gone: list[str] = []

    def one(name: str) -> SimpleNamespace:
        made = deepcopy(before["label-server"])
        made.stop, made.remove = lambda: None, lambda: gone.append(name)
        return made

    found = {name: one(name) for name in there} | {"orthanc": before["orthanc"]}
    monkeypatch.setattr(Stack, "containers", lambda _: {name: each for name, each in found.items() if name not in gone})
    stack_of(LABEL_SERVERS=wanted).up()
    assert sorted(gone) == ended and calls == [("up", None)]


def test_every_label_server_is_waited_for(calls, file, monkeypatch):
    before = stack_of().containers()
    second, door = deepcopy(before["label-server"]), deepcopy(before["orthanc"])
    door.network_settings = SimpleNamespace(ports={})
    second.state.health.status = "starting"
    monkeypatch.setattr(Stack, "containers", lambda _: before | {"label-server-2": second, "door": door})
    monkeypatch.setattr(stack, "_LOAD_SECONDS", -1000)
    with pytest.raises(DeployError, match=r"^label-server-2 not healthy") as caught:
        stack_of(LABEL_SERVERS="2").up()
    assert caught.value.remedy == "python3 deploy.py logs label-server", "which is what `logs` knows"


def test_the_second_orthanc_is_waited_for_and_has_a_log_of_its_own(calls, file, monkeypatch):
    before = stack_of().containers()
    second, door = deepcopy(before["orthanc"]), deepcopy(before["orthanc"])
    door.network_settings = SimpleNamespace(ports={})
    second.state.health.status = "starting"
    found = before | {"orthanc-2": second, "postgres": before["orthanc"], "door": door}
    monkeypatch.setattr(Stack, "containers", lambda _: found)
    monkeypatch.setattr(stack, "_LOAD_SECONDS", -1000)
    with pytest.raises(DeployError, match=r"^orthanc-2 not healthy") as caught:
        stack_of(ORTHANC_DB="postgres", ORTHANC_SERVERS="2").up()
    assert caught.value.remedy == "python3 deploy.py logs orthanc-2"


def test_postgres_is_a_service_where_the_setting_says_so():
    assert "postgres" in stack_of(ORTHANC_DB="postgres").services
    assert "postgres" not in stack_of().services


def test_containers_are_the_projects_without_one_offs(monkeypatch):
    def container(name: str, **labels: str) -> SimpleNamespace:
        own = {f"com.docker.compose.{key}": value for key, value in ({"service": "orthanc"} | labels).items()}
        return SimpleNamespace(name=name, config=SimpleNamespace(labels=own))

    there = [
        container("service", project="ours", oneoff="False"),
        container("once", project="ours", oneoff="True"),
        container("elsewhere", project="theirs", oneoff="False"),
        container("two", project="ours", oneoff="False", **{"container-number": "2"}),
    ]

    def listed(all: bool, filters: list[tuple[str, str]]) -> list[SimpleNamespace]:
        ((_, words),) = filters
        label, _, value = words.partition("=")
        return [each for each in there if all and each.config.labels[label] == value]

    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "ours")
    engine = SimpleNamespace(container=SimpleNamespace(list=listed))
    monkeypatch.setattr(client, "client", lambda *_: engine)
    assert {name: each.name for name, each in stack_of().containers().items()} == {
        "orthanc": "service",
        "orthanc-2": "two",
    }


def test_down_with_volumes_deletes_those_of_either_database(monkeypatch):
    asked, untagged = [], []

    def made(files: list[Path], *_: object) -> SimpleNamespace:
        names = [path.name for path in files]
        return SimpleNamespace(
            compose=SimpleNamespace(
                down=lambda **options: asked.append((names, options["volumes"] and options["remove_orphans"]))
            ),
            image=SimpleNamespace(exists=lambda tag: "orthanc" in tag, remove=untagged.extend),
        )

    monkeypatch.setattr(client, "client", made)
    stack_of().down(volumes=True)
    assert asked == [(["compose.yaml", "compose.postgres.yaml"], True), (["compose.yaml"], True)]
    assert untagged == ["labelpod/orthanc:labelpod"], "the image itself stays under the tag that it was made with"


@pytest.mark.parametrize(
    ("values", "gpu", "overlays"),
    [
        ({}, False, []),
        ({}, True, ["compose.gpu.yaml"]),
        ({"STUDIES": "/srv"}, False, ["compose.folder.yaml"]),
        ({"ORTHANC_DB": "postgres"}, False, ["compose.postgres.yaml"]),
        ({"TLS_CERT": "c", "TLS_KEY": "k"}, False, ["compose.tls.yaml"]),
        ({"ORTHANC_BIND_ADDRESS": "0.0.0.0"}, False, ["compose.door.yaml"]),
        ({"LABEL_SERVERS": "2"}, False, ["compose.door.yaml", "compose.servers.yaml"]),
        (
            {"LABEL_SERVERS": "2", "WEIGHTS_WAIT": "0"},
            False,
            ["compose.door.yaml", "compose.servers.yaml", "compose.closed.yaml", "compose.servers-closed.yaml"],
        ),
        (
            {"ORTHANC_BIND_ADDRESS": "0.0.0.0", "TLS_CERT": "c", "TLS_KEY": "k"},
            False,
            ["compose.tls.yaml", "compose.door.yaml", "compose.door-tls.yaml"],
        ),
        (
            {"ORTHANC_SERVERS": "2", "ORTHANC_DB": "postgres", "TLS_CERT": "c", "TLS_KEY": "k", "WEIGHTS_WAIT": "0"},
            False,
            [
                *("compose.postgres.yaml", "compose.orthancs.yaml", "compose.tls.yaml", "compose.orthancs-tls.yaml"),
                *("compose.door.yaml", "compose.door-tls.yaml", "compose.closed.yaml", "compose.orthancs-closed.yaml"),
            ],
        ),
        (
            {"TLS_CERT": "c", "TLS_KEY": "k", "STUDIES": "/srv"},
            True,
            ["compose.gpu.yaml", "compose.tls.yaml", "compose.folder.yaml"],
        ),
    ],
)
def test_the_settings_choose_the_overlays(values, gpu, overlays):
    assert stack_of(gpu, **values).compose_files == ["compose.yaml", *overlays]


@pytest.mark.parametrize("state", ["running", "exited", "paused", "restarting", None])
def test_a_command_runs_in_the_label_server_or_in_a_container_of_its_own(monkeypatch, state):
    container = SimpleNamespace(name="server-1", id="0123abcd", state=SimpleNamespace(status=state))
    monkeypatch.setattr(Stack, "containers", lambda _: {"label-server": container} if state else {})
    compose = SimpleNamespace(docker_compose_cmd=["docker", "compose", "--file", Path("compose.yaml")])
    monkeypatch.setattr(client, "client", lambda *_: SimpleNamespace(compose=compose))
    words = " ".join(stack_of().exec_prefix())
    if state == "running":
        assert words == "docker exec -i server-1"
    else:
        assert words == "docker compose --file compose.yaml run --rm -T --no-deps label-server"


def test_of_several_label_servers_a_command_runs_in_the_one_on_this_host(monkeypatch):
    running = SimpleNamespace(status="running")
    one, two = (SimpleNamespace(name=f"server-{id}", id=id * 16, state=running) for id in ("ab12", "cd34"))
    monkeypatch.setattr(Stack, "containers", lambda _: {"label-server": one, "label-server-2": two})
    for host, expected in (("cd34cd34cd34", two), ("ab12ab12ab12", one), ("elsewhere", one), ("", one)):
        assert stack_of(LABEL_SERVERS="2").exec_prefix(host)[-1] == expected.name


def test_the_users_own_changes_come_last(tmp_path):
    (tmp_path / "compose.override.yaml").touch()
    values = Settings(ORTHANC_DB="postgres")
    expected = ["compose.yaml", "compose.gpu.yaml", "compose.postgres.yaml", "compose.override.yaml"]
    assert Stack(Project(tmp_path), values, use_gpu=True).compose_files == expected


def test_every_file_that_is_written_for_a_service_is_read_at_its_start():
    read = {path.name for paths in stack.files_read_at_start(Project(Path("/p"))).values() for path in paths}
    assert {
        "orthanc.json",
        "access.lua",
        "haproxy.cfg",
        "orthanc_users.json",
        "dicomweb_password",
        "tls_cert.pem",
    } <= read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (None, [".env.example"]),
        ("LABELPOD_ORTHANC_PORT=1\n", [".env.example", ".env"]),
        ("LABELPOD_ORTHANC_USERNAME=a\n", [".env"]),
    ],
    ids=["lost", "cut off", "whole"],
)
def test_compose_can_be_asked_without_a_whole_settings_file(tmp_path, monkeypatch, text, read):
    asked = []
    monkeypatch.setattr(stack.ownership, "check", lambda *_: [])
    monkeypatch.setattr(client, "client", lambda _, env_files, *__: asked.extend(env_files))
    if text is not None:
        (tmp_path / ".env").write_text(text)
    Stack(Project(tmp_path), Settings())._client()
    assert [path.name for path in asked] == read

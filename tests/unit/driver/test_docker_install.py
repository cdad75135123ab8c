"""When Docker Engine is installed and started, and when not; every program is a stand-in, PATH holds no other."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from labelpod import console
from labelpod.docker import engine
from labelpod.docker.info import docker_info
from labelpod.errors import DeployError
from labelpod.host import docker_install, os_release

MIRROR = "echo 'Debian|http://mirror.example/debian|bookworm'"
PLUGINS = ("compose", "buildx")


class Machine:
    """A bare Debian 12 with a working apt, seen by root; what is there is told by files named as the thing."""

    def __init__(self, folder: Path, programs, monkeypatch: pytest.MonkeyPatch) -> None:
        self.programs, self.state = programs, folder / "state"
        self._monkeypatch = monkeypatch
        self.state.mkdir()
        monkeypatch.setenv("PATH", str(programs.folder))
        for name in ("_SOURCES", "_PREFERENCES", "_LOG"):
            monkeypatch.setattr(docker_install, name, folder / name)
        monkeypatch.setattr(docker_install, "_START_SECONDS", 5)
        self.release({"ID": "debian", "VERSION_CODENAME": "bookworm"})
        self.user(0)
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
        self.apt(install=f": > {self.state}/compose; : > {self.state}/buildx")
        programs.add(
            "docker",
            f"""case "$*" in
              "compose version") [ -e {self.state}/compose ];;
              "buildx version") [ -e {self.state}/buildx ];;
              info) [ -e {self.state}/running ];;
            esac""",
        )
        for starter in ("dockerd", "systemctl"):
            programs.add(starter, f": > {self.state}/running")

    def release(self, values: dict[str, str]) -> None:
        self._monkeypatch.setattr(os_release, "of_this_machine", lambda: values)

    def user(self, uid: int) -> None:
        self._monkeypatch.setattr(os, "geteuid", lambda: uid)

    def has(self, *things: str) -> None:
        for thing in things:
            (self.state / thing).touch()

    def apt(self, update: str = ":", install: str = ":", targets: str = MIRROR) -> None:
        self.programs.add(
            "apt-get", f'case "$1" in indextargets) {targets};; update) {update};; install) {install};; esac'
        )

    def installed(self) -> list[str]:
        """Names that apt-get was told to install."""
        calls = [call.split() for call in self.programs.calls("apt-get") if call.startswith("install ")]
        return [word for call in calls for word in call[1:] if not word.startswith("-")]

    def untouched(self) -> bool:
        changing = [call for call in self.programs.calls("apt-get") if not call.startswith("indextargets")]
        starting = self.programs.calls("dockerd") + self.programs.calls("systemctl")
        return (
            not changing
            and not starting
            and not docker_install._SOURCES.exists()
            and not docker_install._PREFERENCES.exists()
        )


@pytest.fixture
def machine(tmp_path, programs, monkeypatch) -> Machine:
    return Machine(tmp_path, programs, monkeypatch)


def refused(yes: bool = True) -> DeployError:
    with pytest.raises(DeployError) as caught:
        docker_install.ensure(yes)
    return caught.value


@pytest.mark.parametrize("uid", [0, 1000])
def test_where_an_engine_answers_nothing_is_installed(machine, uid):
    machine.has("running", *PLUGINS)
    machine.user(uid)
    docker_install.ensure(yes=True)
    assert machine.untouched()


def _info(version: str = "26.1.5", **errors: str) -> str:
    plugins = [{"Name": name} | ({"Err": errors[name]} if name in errors else {}) for name in PLUGINS]
    return json.dumps({"ServerVersion": version, "ClientInfo": {"Plugins": plugins}})


def test_a_complete_docker_is_asked_once(machine):
    machine.programs.add("docker", f"echo '{_info()}'")
    docker_install.ensure(yes=False)
    assert docker_info()["ServerVersion"] == "26.1.5"
    assert machine.programs.calls("docker") == ["info --format {{json .}}"] and machine.untouched()


@pytest.mark.parametrize("info", ["", "{}", _info(version=""), _info(compose="broken"), _info(buildx="broken")])
def test_whatever_may_be_missing_is_looked_at_one_by_one(machine, info):
    machine.programs.add("docker", f"echo '{info}'")
    docker_install.ensure(yes=False)
    assert "compose version" in machine.programs.calls("docker")


def test_once_it_is_installed_docker_is_asked_anew(machine):
    assert "ServerVersion" not in docker_info()
    docker_install.ensure(yes=True)
    machine.programs.add("docker", f"echo '{_info()}'")
    assert docker_info()["ServerVersion"] == "26.1.5"


def test_an_engine_elsewhere_needs_none_here(machine):
    """DOCKER_HOST, or Docker's client alone with a context."""
    machine.has("running", *PLUGINS)
    (machine.programs.folder / "dockerd").unlink()
    docker_install.ensure(yes=False)
    assert machine.untouched()


def test_on_a_bare_machine_the_engine_is_installed_and_started(machine):
    docker_install.ensure(yes=True)
    assert docker_install.answers()
    calls = [call.split()[0] for call in machine.programs.calls("apt-get")]
    assert calls == ["indextargets", "update", "install"]


def test_an_engine_that_is_installed_but_stopped_is_started_only(machine):
    machine.has(*PLUGINS)
    docker_install.ensure(yes=False)
    assert docker_install.answers() and machine.installed() == []


@pytest.mark.parametrize("missing", PLUGINS)
def test_a_missing_plugin_is_installed_beside_an_engine_that_answers(machine, missing):
    machine.has("running", *(plugin for plugin in PLUGINS if plugin != missing))
    docker_install.ensure(yes=True)
    assert f"docker-{missing}" in machine.installed()


def test_debian_12_takes_only_the_engine_from_debian_13(machine):
    docker_install.ensure(yes=True)
    assert machine.installed() == [
        *("iptables", "runc", "tini"),
        *("docker.io", "containerd", "docker-cli", "docker-compose", "docker-buildx"),
    ]
    assert "http://mirror.example/debian trixie main" in docker_install._SOURCES.read_text()
    everything, engines = docker_install._PREFERENCES.read_text().split("\n\n")
    assert everything.endswith("\nPackage: *\nPin: release n=trixie*\nPin-Priority: 50")
    assert engines.splitlines() == [
        "Package: docker.io containerd docker-cli docker-compose docker-buildx",
        "Pin: release n=trixie*",
        "Pin-Priority: 990",
    ]


@pytest.mark.parametrize(
    ("release", "compose"),
    [
        ({"ID": "debian", "VERSION_CODENAME": "trixie"}, "docker-compose"),
        ({"ID": "ubuntu", "VERSION_CODENAME": "noble"}, "docker-compose-v2"),
    ],
)
def test_on_newer_systems_the_packages_are_their_own(machine, release, compose):
    machine.release(release)
    docker_install.ensure(yes=True)
    assert {"docker.io", "docker-buildx", compose} <= set(machine.installed())
    assert not docker_install._SOURCES.exists() and not docker_install._PREFERENCES.exists()


@pytest.mark.parametrize("release", [{"ID": "fedora"}, {"ID": "debian", "VERSION_CODENAME": "bullseye"}, {}])
def test_on_another_system_the_manual_is_named(machine, release):
    machine.release(release)
    error = refused()
    assert "docs.docker.com/engine/install" in error.remedy and machine.untouched()


def test_a_debian_without_apt_is_another_system(machine):
    (machine.programs.folder / "apt-get").unlink()
    assert "docs.docker.com/engine/install" in refused().remedy


def test_an_ordinary_user_is_told_the_command_with_sudo(machine):
    machine.user(1000)
    error = refused()
    assert error.remedy == "sudo python3 deploy.py up --yes" and machine.untouched()


def test_without_a_yes_nothing_is_installed(machine):
    error = refused(yes=False)
    assert error.remedy == "python3 deploy.py up --yes" and machine.untouched()


@pytest.mark.parametrize(("answer", "installs"), [("y", True), ("yes", True), ("", False), ("n", False)])
def test_on_a_terminal_the_user_is_asked(machine, monkeypatch, answer, installs):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    asked = []
    monkeypatch.setattr(console.err, "input", lambda *text, **_: asked.append(text) or answer)
    if installs:
        docker_install.ensure(yes=False)
    else:
        refused(yes=False)
        assert machine.untouched()
    ((question,),) = asked
    assert "docker.io" in question and bool(machine.installed()) == installs


@pytest.mark.parametrize("step", ["update", "install"])
def test_a_failing_apt_is_told_in_apts_own_words(machine, step):
    machine.apt(**{step: "echo 'Reading package lists...'; echo 'E: Unable to locate package docker.io' >&2; exit 100"})
    error = refused()
    assert error.message == f"apt-get {step}: E: Unable to locate package docker.io"
    assert "apt" in error.remedy and not docker_install.answers()


def test_apt_asks_no_questions_and_is_shown(machine, monkeypatch, capsys):
    monkeypatch.delenv("DEBIAN_FRONTEND", raising=False)
    machine.apt(install='[ "$DEBIAN_FRONTEND" = noninteractive ]')
    docker_install.ensure(yes=True)
    assert "$ apt-get install -qy" in capsys.readouterr().err


def test_a_debian_12_without_a_package_source_is_an_error(machine):
    machine.apt(targets=":")
    assert "no Debian package source" in refused().message and machine.installed() == []


def test_an_ordinary_user_does_not_start_the_engine(machine):
    machine.has(*PLUGINS)
    machine.user(1000)
    error = refused()
    assert error.remedy.startswith("sudo systemctl start docker") and machine.untouched()


def test_an_engine_that_does_not_come_up_is_an_error_after_a_bounded_time(machine, monkeypatch):
    machine.has(*PLUGINS)
    monkeypatch.setattr(docker_install, "_START_SECONDS", 0.2)
    for starter in ("dockerd", "systemctl"):
        machine.programs.add(starter, "exit 1")
    error = refused()
    assert error.message == "Docker Engine does not answer after 0.2 s" and str(docker_install._LOG) in error.remedy


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd runs here: it would start the engine")
def test_without_systemd_the_engine_logs_to_a_file(machine):
    machine.has(*PLUGINS)
    machine.programs.add("dockerd", f"echo 'API listen on docker.sock'; : > {machine.state}/running")
    docker_install.ensure(yes=False)
    assert docker_install._LOG.read_text() == "API listen on docker.sock\n"
    assert machine.programs.calls("systemctl") == []


DEAD = "echo 'Cannot connect to the Docker daemon' >&2; exit 1"
CHOICES = {
    "host": ({"DOCKER_HOST": "tcp://127.0.0.1:1"}, "", "DOCKER_HOST=tcp://127.0.0.1:1", "unset DOCKER_HOST"),
    "rootless host": ({"DOCKER_HOST": "unix:///run/user/7/d.sock"}, "", "DOCKER_HOST=unix:", "unset DOCKER_HOST"),
    "context": ({"DOCKER_CONTEXT": "lab"}, "", "DOCKER_CONTEXT=lab", "unset DOCKER_CONTEXT"),
    "stored": ({}, "desktop-linux", "Docker's context desktop-linux", "docker context use default"),
}


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("parts", [(), PLUGINS], ids=["nothing", "plugins"])
def test_a_dead_engine_of_the_users_choice_is_named_and_none_is_installed_or_started(
    machine, monkeypatch, choice, parts
):
    environment, stored, name, undo = CHOICES[choice]
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    machine.has(*parts)
    machine.programs.add(
        "docker",
        f"""case "$*" in
          "compose version"|"buildx version") [ -e {machine.state}/compose ];;
          *format*) echo '{{"ClientInfo": {{"Context": "{stored}"}}}}'; {DEAD};;
          *) exit 1;;
        esac""",
    )
    error = refused()
    assert error.message.startswith(name) and "does not answer: Cannot connect" in error.message
    assert undo in error.remedy and machine.untouched()


@pytest.mark.parametrize("key", ["DOCKER_HOST", "DOCKER_CONTEXT"])
def test_this_machines_own_engine_by_its_name_is_started_as_ever(machine, monkeypatch, key):
    monkeypatch.setenv(key, {"DOCKER_HOST": "unix:///var/run/docker.sock", "DOCKER_CONTEXT": "default"}[key])
    machine.has(*PLUGINS)
    docker_install.ensure(yes=True)
    assert machine.programs.calls("dockerd") + machine.programs.calls("systemctl")


UNFIT = {
    "rootless": (json.loads(_info()) | {"SecurityOptions": ["name=seccomp", "name=rootless"]}, "", "rootless"),
    "podman": ({"host": {"buildahVersion": "1.28.2"}, "version": {"Version": "4.3.1"}}, "", "Podman"),
    "podman's socket": (json.loads(_info("4.3.1")), "Podman Engine", "Podman"),
    "elsewhere": (json.loads(_info()), "", "on another machine"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_an_engine_that_this_stack_does_not_run_on_is_refused_by_its_name(machine, monkeypatch, kind):
    info, components, word = UNFIT[kind]
    if kind == "elsewhere":
        monkeypatch.setenv("DOCKER_HOST", "ssh://anna@server")
    machine.programs.add(
        "docker", f"case \"$1\" in info) echo '{json.dumps(info)}';; version) echo '{components}';; esac"
    )
    error = refused()
    assert word in error.message and error.remedy and machine.untouched()


def test_an_engine_of_the_users_choice_on_this_machine_is_used(machine, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2375")
    machine.programs.add("docker", f"echo '{_info()}'")
    docker_install.ensure(yes=True)
    assert machine.untouched()


def test_an_address_of_an_engine_that_is_none_is_no_traceback(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://[::1")
    assert engine.unfit({}) is None

"""How a rented pod is started: who runs as whom with which keys, and that nothing ends it but its watchdog."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.waiting import eventually

SCRIPT = ROOT / "images" / "label-server" / "pod" / "start_pod"
KEY, OWNERS = "the-key-of-the-pod", "the-key-of-the-owner"
# Notes who it is, where, and what it knows; FAILS and HANGS say what does so.
STAND_IN = """#!/bin/bash
name="${0##*/} $*"
echo "${WHO:-root}|$PWD|${HOME:-}|${RUNPOD_API_KEY:-}${RUNPOD_STOP_API_KEY:-}|$name" >>"$CALLS"
case "$name" in
*host_key) for file in "${@: -1}" "${@: -1}.pub"; do echo "ssh-ed25519 AAAA$RANDOM" >"$file"; done ;;
esac
[[ $name =~ $FAILS ]] && exit 7
[[ $name =~ $HANGS ]] && exec /bin/sleep 60
exit 0
"""
SETPRIV = """#!/bin/bash
export WHO="${1#--reuid=}"
exec "${@:4}"
"""
NAMES = ("python", "ssh-keygen", "sshd", "start_server", "install", "chown", "pre_start.sh")


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Callable[..., "Pod"]]:
    (tmp_path / "bin").mkdir()
    (tmp_path / "run" / "labelpod-watchdog").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    for name, text in [*((name, STAND_IN) for name in NAMES), ("setpriv", SETPRIV), ("sleep", "#!/bin/sh\n")]:
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    started: list[Pod] = []

    def start(root: bool = True, fails: str = "nothing", hangs: str = "nothing") -> Pod:
        started.append(Pod(tmp_path, root, fails, hangs))
        return started[-1]

    yield start
    for each in started:
        each.end()


class Pod:
    """One that runs, with stand-ins for what it starts."""

    def __init__(self, folder: Path, root: bool, fails: str, hangs: str) -> None:
        text = SCRIPT.read_text().replace("((EUID == 0))", f"(({int(root)}))")
        for old, new in (
            ("/home/labelpod/pod", "home"),
            ("/run/", "run/"),
            ("/usr/sbin/", "bin/"),
            (" /pre_", "bin/pre_"),
        ):
            text = text.replace(old, f"{' ' if old[0] == ' ' else ''}{folder}/{new}")
        script = folder / "start_pod"
        script.write_text(text)
        self._calls, self.ssh = folder / "calls", folder / ("run/labelpod-ssh" if root else "home/ssh")
        environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "CALLS": str(self._calls), "HOME": "/tmp"}
        environment |= {"FAILS": fails, "HANGS": hangs, "RUNPOD_API_KEY": KEY, "RUNPOD_STOP_API_KEY": OWNERS}
        environment |= {"PUBLIC_KEY": "ssh-ed25519 AAAAmine", "LABELS": "a nodule", "LABEL_SERVER_TOKEN": "t"}
        self.process = subprocess.Popen(
            ["/bin/bash", str(script)], env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        )  # fmt: skip

    def said(self) -> str:
        """What it says until its end."""
        self.process.wait(30)
        os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.communicate(timeout=30)[0]

    def calls(self, word: str) -> list[list[str]]:
        """Who, where, with which home and which keys, and what: of each call with this word in it."""
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        return [line.split("|") for line in lines if word in line.split("|")[4]]

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)


def test_the_watchdog_has_a_user_of_its_own_and_only_it_has_the_keys(pod, tmp_path: Path):
    rented = pod(hangs="label_server")
    eventually(
        lambda: len(rented.calls("label_server.pod")) == 2 and rented.calls("start_server"), 20, "all is started"
    )
    notes = f"{tmp_path}/run/labelpod-watchdog"
    assert rented.calls("pod.watchdog")[-1] == [
        "watchdog",
        "/",
        notes,
        KEY + OWNERS,
        "python -m label_server.pod.watchdog",
    ]
    assert rented.calls("record")[0][:4] == ["labelpod", "/", "/tmp", ""]
    assert rented.calls("start_server")[0][:4] == ["labelpod", str(tmp_path), "/tmp", ""]
    assert {call[3] for call in rented.calls("sshd -f")} == {""}
    kept = (tmp_path / "home" / "environment").read_text()
    assert 'LABELS="a nodule"' in kept and KEY not in kept and OWNERS not in kept and "LABEL_SERVER_TOKEN" not in kept


def test_a_watchdog_that_ends_is_started_again(pod):
    rented = pod(fails=r"pod\.watchdog", hangs="start_server")
    eventually(lambda: len(rented.calls("pod.watchdog")) > 3, 20, "it is started again and again")
    rented.end()
    assert "the watchdog has ended with 7, and is started again" in rented.process.stdout.read()


@pytest.mark.parametrize("fails", ["ssh-keygen", "sshd -f", "pre_start", "install", "chown", "record"])
def test_what_fails_ends_neither_the_pod_nor_its_watchdog(pod, fails: str):
    rented = pod(fails=fails, hangs=r"pod\.watchdog|start_server")
    eventually(lambda: rented.calls("start_server") and rented.calls("pod.watchdog"), 20, "both run")
    assert rented.process.poll() is None


def test_a_server_that_ends_is_said_and_ends_the_pod_with_its_code(pod):
    rented = pod(fails="start_server", hangs=r"pod\.watchdog")
    said = rented.said()
    assert "the label server has ended with 7; the pod starts over in half a minute" in said
    assert rented.process.returncode == 7


def test_without_root_it_says_that_the_watchdog_is_not_apart(pod, tmp_path: Path):
    rented = pod(root=False, hangs=r"pod\.watchdog")
    assert "the label server's user could end the watchdog" in rented.said()
    assert rented.calls("pod.watchdog")[0][:3] == ["root", "/", "/tmp"]
    assert (tmp_path / "home" / "ssh" / "authorized_keys").read_text() == "ssh-ed25519 AAAAmine\n"


def test_a_container_that_is_started_over_keeps_its_host_key(pod):
    told = [
        next(line for line in pod(hangs=r"pod\.watchdog").said().splitlines() if line.startswith("labelpod-host-key: "))
        for _ in range(2)
    ]
    assert told[0] == told[1] and told[0].startswith("labelpod-host-key: ssh-ed25519 AAAA")


def test_half_a_host_key_is_made_again(pod, tmp_path: Path):
    ssh = tmp_path / "run" / "labelpod-ssh"
    ssh.mkdir()
    (ssh / "host_key").touch()
    assert "labelpod-host-key: ssh-ed25519 AAAA" in pod(hangs=r"pod\.watchdog").said()


def test_a_pod_that_is_stopped_on_purpose_waits_for_its_server_and_for_nothing_else(pod):
    rented = pod(hangs=r"pod\.|start_server")
    eventually(lambda: rented.calls("start_server"), 20, "it runs")
    os.killpg(rented.process.pid, signal.SIGTERM)  # as tini does
    rented.process.wait(10)
    said = rented.process.stdout.read()
    assert "starts over" not in said and rented.process.returncode == 143

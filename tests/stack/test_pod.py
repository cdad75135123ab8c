"""The image in a rented pod: who gets in, how far they get, and what happens without the tunnel."""

import hashlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from labelpod.docker.tags import LABEL_SERVER_TAG
from tests.stack.conftest import TOKEN
from tests.stack.pod_host import POD_KEY, docker, need_ssh
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.ports import held_port
from tests.support.waiting import eventually

HOOKS = ("pre_start.sh", "post_start.sh")


@dataclass
class Rented:
    """A pod, its ports on this machine, and the key that it lets in."""

    name: str
    http: int
    ssh: int
    key: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def command(self, *words: str, key: Path | None = None, user: str = "labelpod") -> list[str]:
        options = {"StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "LogLevel": "ERROR"}
        options |= {"BatchMode": "yes", "IdentitiesOnly": "yes", "ExitOnForwardFailure": "yes"}
        pairs = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        place = ["-p", str(self.ssh), "-i", str(key or self.key), f"{user}@127.0.0.1"]
        return ["ssh", "-F", "none", *pairs, *place, *words]

    def over_ssh(self, *words: str, **who: object) -> subprocess.CompletedProcess[str]:
        command = self.command(*words, **who)  # type: ignore[arg-type]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)

    @contextmanager
    def tunnel(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        command = self.command()
        process = subprocess.Popen([*command[:-1], "-N", *words, command[-1]], stderr=subprocess.PIPE)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def new_key(folder: Path, name: str) -> Path:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
    subprocess.run(command, check=True)
    return folder / name


@pytest.fixture(scope="module", params=["labelpod", "root"])
def pod(running: Clone, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Rented]:
    """A pod, as the image's own user and as root: nobody has told which of both RunPod takes."""
    need_ssh()
    folder = tmp_path_factory.mktemp("ssh")
    key, hook = new_key(folder, "key"), folder / "hook"
    hook.write_text('#!/bin/sh\ntouch "/tmp/$(basename "$0")"\n')
    hook.chmod(0o755)
    hooks = [word for name in HOOKS for word in ("--volume", f"{hook}:/{name}:ro")]
    environment = {
        "RUNPOD_POD_ID": "pod1",
        "RUNPOD_API_KEY": POD_KEY,
        "PUBLIC_KEY": key.with_suffix(".pub").read_text().strip(),
        "LABEL_SERVER_TOKEN_SHA256": hashlib.sha256(TOKEN.encode()).hexdigest(),
        "STUDIES": "http://127.0.0.1:8042/dicom-web",
        "WEIGHTS_WAIT": "0",
        "LABELS": "first nodule (left):1,second:1",
    }
    words = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
    name = f"labelpod-test-rented-{request.param}"
    docker("run", "--detach", "--name", name, "--user", request.param, "-p", "127.0.0.1::8000", "-p", "127.0.0.1::22",
           *hooks, *words, LABEL_SERVER_TAG)  # fmt: skip
    try:
        http, ssh = (int(docker("port", name, port).splitlines()[0].rpartition(":")[2]) for port in ("8000", "22"))
        rented = Rented(name, http, ssh, key)
        eventually(lambda: alive(rented.url), 60, "the pod answers")
        yield rented
    finally:
        docker("rm", "--force", "--volumes", name)


def alive(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=5).ok
    except requests.ConnectionError:
        return False


def info(pod: Rented, token: str = TOKEN) -> requests.Response | None:
    try:
        return requests.get(f"{pod.url}/info/", headers={"Authorization": f"Bearer {token}"}, timeout=30)
    except requests.ConnectionError:
        return None


def test_a_waiting_pod_says_what_it_waits_for(pod: Rented):
    answer = info(pod)
    assert answer is not None and answer.status_code == 503 and answer.headers["Retry-After"] == "5"
    assert "runpod connect" in answer.json()["detail"]
    for stranger in (info(pod, "x" * 32), requests.get(f"{pod.url}/info/", timeout=5)):
        assert stranger is not None and stranger.status_code == 401


def test_nobody_gets_in_without_the_key_and_nobody_as_root(pod: Rented, tmp_path: Path):
    assert "Permission denied (publickey)" in pod.over_ssh("true", key=new_key(tmp_path, "other")).stderr
    assert "Permission denied (publickey)" in pod.over_ssh("true", user="root").stderr
    assert pod.over_ssh("whoami").stdout == "labelpod\n"


def test_a_session_knows_the_servers_settings_as_they_are_and_no_key(pod: Rented):
    assert pod.over_ssh("echo", '"$LABELS"').stdout == "first nodule (left):1,second:1\n"
    told = pod.over_ssh("env").stdout
    assert POD_KEY not in told and "RUNPOD_POD_ID=pod1" in told
    assert "deepgrow_2d" in pod.over_ssh("start_server", "python", "-m", "label_server.models", "list").stdout


def test_the_label_server_can_neither_read_roots_host_key_nor_admit_another_key(pod: Rented):
    if not pod.name.endswith("root"):
        pytest.skip("sshd runs as the label server's own user")
    folder = "/run/labelpod-ssh"
    listed = docker(
        "exec", pod.name, "stat", "-c", "%U %a %n", folder, f"{folder}/host_key", f"{folder}/authorized_keys"
    )
    assert listed.splitlines() == [
        *(f"root 755 {folder}", f"root 600 {folder}/host_key", f"root 644 {folder}/authorized_keys")
    ]


def test_root_follows_no_link_that_the_label_server_left_in_the_pods_folder(running: Clone):
    """At the pod's next start."""
    name, planted = (
        "labelpod-test-rented-link",
        "cd ~labelpod/pod && ln -sf /etc/planted environment && ln -sf /etc ssh",
    )
    environment = ("--env", "RUNPOD_POD_ID=pod1", "--env", "PUBLIC_KEY=ssh-ed25519 AAAA", "--env", "WEIGHTS_WAIT=0")
    docker("run", "--detach", "--name", name, "--user", "root", *environment, LABEL_SERVER_TAG)
    try:
        eventually(lambda: "labelpod-host-key" in docker("logs", name), 30, "sshd is started")
        docker("exec", "--user", "labelpod", name, "bash", "-c", planted)
        docker("restart", "--time", "5", name)
        eventually(lambda: docker("logs", name).count("labelpod-host-key") == 2, 30, "sshd is started again")
        made = docker("exec", name, "sh", "-c", "ls -d /etc/planted /etc/host_key /etc/authorized_keys 2>&1 || true")
        assert made.count("No such file") == 3
    finally:
        docker("rm", "--force", "--volumes", name)


def test_runpods_hooks_are_run(pod: Rented):
    assert set(HOOKS) <= set(docker("exec", pod.name, "ls", "/tmp").split())


def test_what_runs_has_no_rights_of_root_and_no_key_in_its_environment(pod: Rented):
    people = docker("exec", "--user", "root", pod.name, "ps", "-eo", "user:16,args").splitlines()
    workers = {line.split()[-1]: line.split()[0] for line in people if re.search(r"python -m label_server\.", line)}
    apart = "watchdog" if pod.name.endswith("root") else "labelpod"
    assert workers.pop("label_server.pod.watchdog") == apart
    assert workers == {"label_server.pod.record": "labelpod", "label_server.pod.standby": "labelpod"}
    environments = docker(
        "exec", "--user", "labelpod", pod.name, "bash", "-c",
        "for each in $(pgrep -f '[l]abel_server.(pod.[sr]|web)'); do tr '\\0' '\\n' </proc/$each/environ; done",
    )  # fmt: skip
    assert "STUDIES=" in environments and POD_KEY not in environments


def test_the_label_servers_user_can_neither_end_the_watchdog_nor_read_its_keys(pod: Rented):
    if not pod.name.endswith("root"):
        assert "the label server's user could end the watchdog" in docker("logs", pod.name)
        return
    # Over SSH: what docker starts in a container is told the container's whole environment.
    for attack in ("pkill -KILL -f '[l]abel_server.pod.watchdog'", "cat /proc/$(pgrep -f '[p]od.watchdog')/environ"):
        said = pod.over_ssh(attack).stderr
        assert "not permitted" in said or "denied" in said, said
    read = pod.over_ssh("for each in /proc/[0-9]*/environ; do cat $each 2>/dev/null || true; done").stdout
    assert "STUDIES=" in read and POD_KEY not in read
    docker("exec", "--user", "root", pod.name, "pkill", "-KILL", "-f", "[l]abel_server.pod.watchdog")
    count = ("exec", pod.name, "sh", "-c", "pgrep -u watchdog -c || true")
    eventually(lambda: docker(*count).strip() == "1", 30, "it is started again")
    assert "the watchdog has ended with 137, and is started again" in docker("logs", pod.name)


@pytest.mark.parametrize(
    "forwarding", [("-R", "127.0.0.1:9042:127.0.0.1:9"), ("-R", "0.0.0.0:8042:127.0.0.1:9"), ("-R", "8000:127.0.0.1:9")]
)
def test_nothing_else_is_forwarded_to_the_pod(pod: Rented, forwarding: tuple[str, str]):
    with pod.tunnel(*forwarding) as process:
        assert process.wait(timeout=15) != 0
        assert process.stderr is not None and b"forwarding failed" in process.stderr.read()


def test_nothing_else_is_reached_through_the_pod(pod: Rented, running: Clone):
    port = held_port()
    with pod.tunnel("-L", f"127.0.0.1:{port}:172.17.0.1:{running.environment['ORTHANC_PORT']}"):
        time.sleep(2)
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{port}/", timeout=5)


def test_a_tunnel_ends_when_nobody_is_at_its_other_end(pod: Rented):
    port = held_port()
    command = pod.command()
    words = [*command[:-1], "-T", "-L", f"127.0.0.1:{port}:127.0.0.1:8000", command[-1], "exec tunnel_lease"]
    sessions = "pgrep -cf '^sshd: labelpod(@.*)?$' || true"
    before = docker("exec", "--user", "root", pod.name, "sh", "-c", sessions)
    process = subprocess.Popen(words, stdin=subprocess.PIPE)
    try:
        eventually(lambda: alive(f"http://127.0.0.1:{port}"), 20, "it leads to the pod")
        # Held open: ssh waits for it if it is not told to end.
        with socket.create_connection(("127.0.0.1", port)):
            process.stdin.close()
            assert process.wait(timeout=20) != 0
        eventually(
            lambda: docker("exec", "--user", "root", pod.name, "sh", "-c", sessions) == before,
            20,
            "the session is over",
        )
    finally:
        process.kill()
        process.wait()


def test_user_ids_fit_into_the_hosts_range(pod: Rented):
    words = "find / -xdev \\( -uid +65534 -o -gid +65534 \\) -print -quit"
    assert docker("exec", "--user", "root", pod.name, "sh", "-c", words) == ""


def test_with_the_tunnel_it_serves_without_it_says_so_and_recovers(pod: Rented, stack: Clone, ct: str):
    password = (stack.root / "secrets" / "dicomweb_password").read_text().strip()
    key = (stack.root / "secrets" / "label_key").read_text()
    login = f"label-server\n{password}\n{key}\n"
    subprocess.run(pod.command("dicomweb_login"), input=login, text=True, check=True, timeout=30)
    way = ("-R", f"127.0.0.1:8042:127.0.0.1:{stack.environment['ORTHANC_PORT']}")
    annotator = Annotator(f"{pod.url}/{TOKEN}")
    with pod.tunnel(*way):
        answer = eventually(lambda: (found := info(pod)) and found.ok and found, 120, "the label server has taken over")
        assert answer.json()["labels"][0] == "first nodule (left)"
        eventually(lambda: info(pod).json()["stops_at"] is None, 30, "a session over SSH keeps it from stopping")
        assert annotator.next_sample() == ct
    told = docker("logs", pod.name) + docker("inspect", pod.name)
    assert password not in told and key not in told
    ready = f"{pod.url}/{TOKEN}/readyz"
    eventually(lambda: requests.get(ready, timeout=30).status_code == 503, 20, "it notices that the studies are gone")
    with pod.tunnel(*way):
        eventually(lambda: requests.get(ready, timeout=30).ok, 30, "it recovers")
        assert annotator.next_sample() == ct

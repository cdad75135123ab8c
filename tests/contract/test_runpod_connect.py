"""The way to a pod: what is asked before anything is forwarded, and whose key a pod must show."""

import itertools
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from labelpod.config.settings import Settings
from labelpod.errors import DeployError
from labelpod.runpod import keys, ssh, tunnel
from labelpod.runpod.client import Client
from labelpod.runpod.pods import NotRunningError
from tests.contract.conftest import Runpod
from tests.contract.fake_runpod import KEY, FakeRunPod
from tests.support.ports import held_port


@pytest.fixture
def pod(fake: FakeRunPod, published: str, runpod: Runpod) -> dict:
    assert runpod("launch", "--yes").code == 0
    (pod,) = fake.live()
    return pod


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / keys.PRIVATE).write_text("a key\n")
    return tmp_path


@pytest.fixture
def client(fake: FakeRunPod) -> Iterator[Client]:
    with Client(KEY, fake.url) as client:
        yield client


@pytest.fixture
def orthanc() -> Iterator[int]:
    """A DICOMweb server that lets one login in; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # as label server it knows everybody
            good = self.path == "/info/" or self.headers["Authorization"] == "Basic bWU6cGFzcw=="  # me:pass
            self.send_response(200 if good else 401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def options(command: list[str]) -> dict[str, str]:
    pairs = [word.partition("=") for before, word in itertools.pairwise(command) if before == "-o"]
    return {name: value for name, _, value in pairs}


def test_the_pods_own_log_says_which_key_it_must_show(fake: FakeRunPod, client: Client, pod: dict, folder: Path):
    """The first that it tells after its start: the one before is of an earlier start, those after may be anybody's."""
    fake.system_log = [
        {"ts": "2020-01-01T00:00:00Z", "line": "labelpod-host-key: ssh-ed25519 AAAAold"},
        "started",
        "labelpod-host-key: ssh-ed25519 AAAAnew",
        {"ts": "2099-01-01T00:00:00.123456789Z", "line": "labelpod-host-key: ssh-ed25519 AAAAforged"},
        "labelpod-host-key: ssh-ed25519 AAAAforged",
    ]
    command = ssh.command(client, pod, folder)
    given = options(command)
    assert given["StrictHostKeyChecking"] == "yes" and given["HostKeyAlias"] == pod["id"]
    assert Path(given["UserKnownHostsFile"]).read_text() == f"{pod['id']} ssh-ed25519 AAAAnew\n"
    assert command[0] == "ssh" and command[-1] == "labelpod@127.0.0.1"
    assert command[command.index("-p") + 1] == "35558"


def test_a_host_key_that_the_log_has_not_told_is_never_accepted(client: Client, pod: dict, folder: Path):
    (folder / "runpod_known_hosts").write_text("another-pod ssh-ed25519 AAAAother\n")
    with pytest.raises(DeployError, match="has not told its host key") as refused:
        ssh.command(client, pod, folder)
    assert "runpod logs" in refused.value.remedy


def test_a_host_key_that_the_log_once_told_is_asked_for_if_it_tells_no_more(
    fake: FakeRunPod, client: Client, pod: dict, folder: Path
):
    fake.system_log = ["labelpod-host-key: ssh-ed25519 AAAAtold"]
    ssh.command(client, pod, folder)
    fake.system_log = ["thousands of later lines"]
    given = options(ssh.command(client, pod, folder))
    assert given["StrictHostKeyChecking"] == "yes"
    assert Path(given["UserKnownHostsFile"]).read_text() == f"{pod['id']} ssh-ed25519 AAAAtold\n"


@pytest.mark.parametrize(
    "line",
    [
        "[2026-11-28] (access:1) - 10.0.0.1 eve GET /labelpod-host-key: ssh-ed25519 AAAAforged 404 3 ms",
        "labelpod-host-key: ssh-ed25519 AAAAforged 404 3 ms",
        " labelpod-host-key: ssh-ed25519 AAAAforged",
    ],
)
def test_a_request_that_is_logged_forges_no_host_key(
    fake: FakeRunPod, client: Client, pod: dict, folder: Path, line: str
):
    fake.system_log = ["labelpod-host-key: ssh-ed25519 AAAAtold", line]
    given = options(ssh.command(client, pod, folder))
    assert Path(given["UserKnownHostsFile"]).read_text() == f"{pod['id']} ssh-ed25519 AAAAtold\n"


def test_without_the_key_of_the_machine_that_launched_nothing_is_tried(client: Client, pod: dict, tmp_path: Path):
    with pytest.raises(DeployError, match="runpod_ssh_key is missing") as refused:
        ssh.command(client, pod, tmp_path / "elsewhere")
    assert "copy that file" in refused.value.remedy


def test_a_pod_without_an_ssh_port_is_waited_for(client: Client, pod: dict, folder: Path):
    ports = [{"private": 22, "public": None, "type": "tcp", "ip": None}]
    with pytest.raises(DeployError, match="no SSH port yet"):
        ssh.command(client, pod | {"runtime": {"ports": ports}}, folder)
    with pytest.raises(DeployError, match="no SSH port yet"):
        ssh.command(client, pod | {"runtime": None}, folder)


def test_the_studies_are_asked_before_ssh_is_used(runpod: Runpod, pod: dict, orthanc: int):
    url = f"http://127.0.0.1:{orthanc}/dicom-web"
    said = runpod("connect", STUDIES=url, DICOMWEB_USERNAME="me", DICOMWEB_PASSWORD="wrong")
    assert said.code == 1 and "answers 401" in said.err
    said = runpod("connect", STUDIES="http://127.0.0.1:9/dicom-web")
    assert said.code == 1 and "does not answer" in said.err


def test_without_a_free_port_it_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tunnel.ports, "holder", lambda *_: "another program")
    with pytest.raises(DeployError, match="no port from 65000 on is free") as refused:
        tunnel.free_port(65000)
    assert "--port" in refused.value.remedy


@pytest.mark.parametrize("url", ["https://pacs/dicom-web", "http://pacs:8080/rs", "/images"])
def test_studies_that_the_pod_would_not_find_are_refused(url: str):
    with pytest.raises(DeployError, match="cannot be reached through the tunnel"):
        tunnel.studies(Settings(STUDIES=url), Path("/absent"))


def test_an_orthanc_with_https_is_refused_with_what_to_do():
    with pytest.raises(DeployError, match="HTTPS"):
        tunnel.studies(Settings(TLS_CERT="cert.pem", TLS_KEY="key.pem"), Path("/absent"))


def test_without_a_pod_or_with_a_stopped_one_it_says_what_to_type(
    fake: FakeRunPod, runpod: Runpod, pod: dict, orthanc: int
):
    here = {"STUDIES": f"http://127.0.0.1:{orthanc}/dicom-web", "DICOMWEB_USERNAME": "me", "DICOMWEB_PASSWORD": "pass"}
    assert runpod("stop").code == 0
    said = runpod("connect", **here)
    assert said.code == 1 and "is stopped" in said.err and "runpod resume" in said.err
    said = runpod("terminate", "--yes", "--force")
    assert "has no pod" in runpod("connect", **here).err


# --- the tunnel, with a stand-in for ssh ---

SSH = """#!/bin/bash
here=$(dirname "$0")
if [[ ${@: -1} == dicomweb_login ]]; then cat > "$here/login"; exit; fi
echo "$*" >> "$here/calls"
sleep 1
echo "$(cat "$here/word")" >&2
exit 255
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ssh whose connections break after a second; its folder has what it was called with."""
    file = tmp_path / "ssh"
    file.write_text(SSH)
    file.chmod(0o755)
    (tmp_path / "word").write_text("Connection reset by peer")
    monkeypatch.setattr(tunnel, "_PAUSE_SECONDS", 0)
    return file


def kept(program: Path, port: int, finds: int) -> int:
    """Keep a tunnel until the pod is gone, after so many connections; how often it said that it is ready."""
    here, ready = tunnel.Studies("127.0.0.1", 8042, "label-server", "its password", "the labels' key"), []
    left = iter(range(finds))

    def find() -> list[str]:
        if next(left, None) is None:
            raise NotRunningError("there is no pod", "launch")
        return [str(program), "-p", "22", "labelpod@pod"]

    with pytest.raises(NotRunningError):
        tunnel.keep(find, here, port, f"http://127.0.0.1:{port}/", lambda: ready.append(1))
    return len(ready)


def test_a_tunnel_that_breaks_comes_back_until_the_pod_is_gone(
    program: Path, orthanc: int, capfd: pytest.CaptureFixture[str]
):
    assert kept(program, orthanc, 3) == 1
    calls = (program.parent / "calls").read_text().splitlines()
    assert len(calls) == 3 and "password" not in calls[0]
    assert f"-R 127.0.0.1:8042:127.0.0.1:8042 -L 127.0.0.1:{orthanc}:127.0.0.1:8000 labelpod@pod" in calls[0]
    assert (program.parent / "login").read_text() == "label-server\nits password\nthe labels' key\n"
    said = capfd.readouterr().err
    assert said.count("Connection reset by peer") == 3 and said.count("Connected again") == 2


def test_the_first_connection_waits_for_one_that_was_cut(program: Path):
    (program.parent / "word").write_text("Error: remote port forwarding failed for listen port 8042")
    assert kept(program, held_port(), 2) == 0


def test_a_first_connection_that_fails_is_an_error(program: Path):
    with pytest.raises(DeployError, match="Connection reset by peer"):
        kept(program, held_port(), 2)

"""Every wait has an end, in seconds and in bytes, whatever the service sends."""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labelpod.commands import runpod as verbs
from labelpod.errors import DeployError
from labelpod.runpod import keys, ssh, wait
from labelpod.runpod.client import Client
from tests.contract.conftest import Runpod
from tests.contract.fake_runpod import KEY, FakeRunPod


def chatting() -> Iterator[bytes]:
    for number in itertools.count():
        time.sleep(0.02)
        yield f'data: {{"line": "line {number}"}}\n\n'.encode()


def dripping() -> Iterator[bytes]:
    while True:
        time.sleep(0.02)
        yield b"x"


def pouring() -> Iterator[bytes]:
    while True:
        yield b"x" * 100_000


def silent() -> Iterator[bytes]:
    time.sleep(40)
    yield b""


STREAMS = [chatting, dripping, pouring, silent]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (verbs, wait, ssh):
        monkeypatch.setattr(module, "_LOG_SECONDS", 0.3)


@pytest.fixture
def pod(fake: FakeRunPod, published: str, runpod: Runpod) -> dict:
    assert runpod("launch", "--yes").code == 0
    (pod,) = fake.live()
    return pod


def within(seconds: float, call: Callable[[], object]) -> object:
    began = time.monotonic()
    answer = call()
    assert time.monotonic() - began < seconds
    return answer


@pytest.mark.parametrize("stream", STREAMS)
def test_logs_that_never_end_are_shown_for_a_while(fake: FakeRunPod, runpod: Runpod, pod: dict, stream):
    fake.endless = stream
    said = within(15, lambda: runpod("logs", "--system"))
    assert said.code == 0 and said.out.startswith("create container\nstart container\n")


@pytest.mark.parametrize("stream", STREAMS)
def test_a_launch_ends_in_time_whatever_the_log_says(fake: FakeRunPod, published: str, runpod: Runpod, stream):
    fake.endless, fake.polls_until_ready = stream, 10**6
    said = within(20, lambda: runpod("launch", "--yes", "--minutes", "0.01"))
    assert said.code == 1 and "no answer after 0.01 minutes" in said.err


@pytest.mark.parametrize("stream", STREAMS)
def test_a_host_key_is_not_looked_for_for_ever(fake: FakeRunPod, pod: dict, tmp_path: Path, stream):
    (tmp_path / keys.PRIVATE).write_text("a key\n")
    fake.endless = stream
    with Client(KEY, fake.url) as client:
        with pytest.raises(DeployError, match="has not told its host key"):
            within(15, lambda: ssh.command(client, pod, tmp_path))
        fake.system_log = ["labelpod-host-key: ssh-ed25519 AAAAtold"]
        assert within(15, lambda: ssh.command(client, pod, tmp_path))


def test_a_list_whose_cursors_never_end_is_an_error_and_no_short_list(fake: FakeRunPod, pod: dict, runpod: Runpod):
    fake.cursors = itertools.count()
    said = within(30, lambda: runpod("status"))
    assert said.code == 1 and "has no end" in said.err and fake.calls["listTemplates"] < 100


# --- what the wait for a pod sees ---


@pytest.mark.parametrize("more", [[], ["will retry"], ["will retry", "waiting", "pulling image", "will retry"]])
def test_what_waiting_does_not_help_with_is_seen_behind_what_was_said_since(
    fake: FakeRunPod, published: str, runpod: Runpod, more: list[str]
):
    fake.system_log = ["create container", "toomanyrequests: You have reached your pull rate limit", *more]
    fake.polls_until_ready = 10**6
    said = runpod("launch", "--yes")
    assert said.code == 1 and "allows no more pulls" in said.err


def test_what_was_said_before_the_container_started_has_passed(fake: FakeRunPod, published: str, runpod: Runpod):
    fake.system_log = ["create container", "toomanyrequests", "will retry", "start container for r/l: begin"]
    assert runpod("launch", "--yes").code == 0


@pytest.mark.parametrize(
    "ports",
    [
        [],
        [{"private": 22, "public": None, "type": "tcp", "ip": None}],
        [{"private": 19123, "public": 60821, "type": "http", "ip": "100.65.14.155"}],
    ],
    ids=["none", "no public one", "another"],
)
def test_a_pod_without_a_port_for_ssh_is_not_ready_and_says_so(
    fake: FakeRunPod, published: str, runpod: Runpod, monkeypatch: pytest.MonkeyPatch, ports: list[dict]
):
    monkeypatch.setattr(wait, "_PORT_SECONDS", 0.1)
    monkeypatch.setattr(fake, "_runtime", lambda _: {"uptime": 3, "gpus": [], "ports": ports})
    said = runpod("launch", "--yes", "--community")
    assert said.code == 1 and "gives it no SSH port (22/tcp)" in said.err and "without --community" in said.err
    assert "$0.16 an hour" in said.err and len(fake.live()) == 1


def test_a_port_that_comes_a_little_later_is_waited_for(
    fake: FakeRunPod, published: str, runpod: Runpod, monkeypatch: pytest.MonkeyPatch
):
    get, asked = fake.getPod, []

    def late(body: object, id: str) -> dict:
        pod = get(body, id)
        asked.append(1)
        return pod | {"runtime": {"uptime": 3, "gpus": [], "ports": []}} if len(asked) < 6 else pod

    monkeypatch.setattr(fake, "getPod", late)
    assert runpod("launch", "--yes").code == 0 and len(asked) >= 6

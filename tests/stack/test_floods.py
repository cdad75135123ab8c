"""Strangers who hold very many connections to the stack's ports, and services that hang."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from socket import create_connection

import pytest
import requests

from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.waiting import eventually

HALF = "GET /system HTTP/1.1\r\nHost: x\r\nX: "


@contextmanager
def held(port: str, many: int, sent: str = HALF) -> Iterator[None]:
    """So many connections on which no request comes."""
    with ExitStack() as stack:
        for _ in range(many):
            stack.enter_context(create_connection(("127.0.0.1", int(port)), timeout=5)).sendall(sent.encode())
        yield


def seconds(ask: Callable[[], object]) -> float:
    started = time.monotonic()
    ask()
    return time.monotonic() - started


def asking(url: str, **more: object) -> Callable[[], None]:
    """Ask once, on a connection of its own."""
    return lambda: requests.get(url, timeout=60, **more).raise_for_status()  # type: ignore[arg-type]


# The longest queue of new connections takes a second to be tried again.
@pytest.mark.parametrize(("many", "most"), [(55, 1), (300, 1), (1500, 4)])
def test_half_requests_at_orthanc_stop_neither_it_nor_the_label_server(
    stack: Clone, pacs: Pacs, annotator: Annotator, many: int, most: float
):
    with held(stack.environment["ORTHANC_PORT"], many):
        for _ in range(3):
            assert seconds(asking(f"{pacs.url}/system", auth=pacs.session.auth)) < most
            assert seconds(asking(f"{annotator.url}/readyz")) < most


@pytest.mark.parametrize("sent", ["", HALF], ids=["nothing", "half a request"])
def test_idle_connections_at_the_label_server_stop_nobody(stack: Clone, annotator: Annotator, sent: str):
    port = stack.environment["LABEL_SERVER_PORT"]
    with held(port, 1100, sent):
        took = [seconds(asking(f"http://127.0.0.1:{port}/healthz")) for _ in range(5)]
        assert min(took) < 0.05
        assert seconds(asking(f"{annotator.url}/readyz")) < 1


def container(stack: Clone, service: str) -> str:
    return stack.compose("ps", "-q", service).stdout.strip()


def health(stack: Clone, service: str) -> str:
    form = "{{.State.Health.Status}}"
    return docker("inspect", "-f", form, container(stack, service)).strip()


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout


def send(stack: Clone, service: str, signal: str) -> None:
    """Send a signal to what listens: Orthanc is the first process, in the label server that is tini."""
    if service == "orthanc":
        docker("kill", "--signal", signal, container(stack, service))
    else:
        docker("exec", container(stack, service), "bash", "-c", f"kill -{signal} -1")


@pytest.mark.parametrize("service", ["label-server", "orthanc"])
def test_a_service_that_accepts_and_does_not_answer_is_called_unhealthy(stack: Clone, service: str):
    assert health(stack, service) == "healthy"
    send(stack, service, "STOP")
    try:
        eventually(lambda: health(stack, service) == "unhealthy", 60, "it is noticed")
    finally:
        send(stack, service, "CONT")
    eventually(lambda: health(stack, service) == "healthy", 30, "it is well again")

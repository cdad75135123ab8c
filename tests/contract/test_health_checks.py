"""What Docker asks the services, against servers of our own: it is the answer that counts, not the open port."""

import os
import socket
import subprocess
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from label_server.pod import standby
from tests.contract.test_compose import configuration
from tests.support import certificates
from tests.support.listening import listening
from tests.support.paths import ROOT

HEALTHY = ROOT / "images" / "label-server" / "healthy"
Check = Callable[[int], bool]


@pytest.fixture(params=["label-server", "orthanc"])
def service(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[False, True], ids=["HTTP", "HTTPS"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The certificate of a server that has one."""
    if not request.param:
        return {}
    certificate, key = certificates.make(tmp_path)
    return {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}


@pytest.fixture
def check(service: str, files: dict[str, str], tmp_path: Path) -> Check:
    """Whether the service's check calls the server at this port healthy."""
    found = configuration("compose.yaml", *(["compose.tls.yaml"] if files else []))["services"][service]
    _, *command = [word.replace("$$", "$") for word in found["healthcheck"]["test"]]
    if command == ["healthy"]:
        command = ["bash", "-c", HEALTHY.read_text()]
    tls = {"TLS_CERT_FILE": files["ssl_certfile"]} if files else {}

    def run(port: int) -> bool:
        here = [word.replace("8000", str(port)).replace("8042", str(port)) for word in command]
        return subprocess.run(here, env=os.environ | tls, capture_output=True, timeout=5, check=False).returncode == 0

    return run


def answering(status: int) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"alive\n"})

    return app


@certificates.needs_openssl
def test_a_service_that_answers_is_healthy(service: str, files: dict[str, str], check: Check):
    with listening(answering(200 if service == "label-server" else 401), **files) as port:
        assert check(port)


@certificates.needs_openssl
def test_a_service_that_answers_an_error_is_not_healthy(files: dict[str, str], check: Check):
    with listening(answering(503), **files) as port:
        assert not check(port)


@certificates.needs_openssl
def test_a_service_that_accepts_and_does_not_answer_is_not_healthy(check: Check):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not check(silent.getsockname()[1])


@certificates.needs_openssl
def test_a_service_whose_port_is_closed_is_not_healthy(check: Check):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert not check(port)


@pytest.mark.parametrize(("service", "files"), [("label-server", {})], ids=["pod"])
def test_the_stand_in_of_a_pod_is_healthy(check: Check):
    """It speaks HTTP/1.0."""
    with ThreadingHTTPServer(("127.0.0.1", 0), standby.Waiting) as standing_in:
        Thread(target=standing_in.serve_forever).start()
        try:
            assert check(standing_in.server_port)
        finally:
            standing_in.shutdown()


def test_the_image_asks_as_compose_does():
    """A rented pod has no Compose."""
    assert 'CMD ["healthy"]' in (ROOT / "templates" / "label-server.Dockerfile.j2").read_text()
    assert configuration("compose.yaml")["services"]["label-server"]["healthcheck"]["test"] == ["CMD", "healthy"]

"""Answers of RunPod's that never end are ended here."""

import gzip
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress

import pytest

from labelpod.errors import DeployError
from labelpod.runpod import bounded, wait
from labelpod.runpod.client import Client


@pytest.mark.parametrize(("seconds", "most"), [(0.3, 10**9), (60, 1000)])
def test_an_answer_that_never_ends_is_one_that_never_came(web, monkeypatch, seconds: float, most: int):
    monkeypatch.setattr(bounded, "_SECONDS", seconds)
    monkeypatch.setattr(bounded, "_BYTES", most)
    monkeypatch.setattr("labelpod.runpod.client._pause", lambda *_: 0.01)

    def page(request) -> None:
        web.answer(200, b"{", length=10**9)(request)
        while True:
            time.sleep(0.01)
            request.wfile.write(b" " * 100)

    web.pages["/v2/pods"] = page
    with Client("key", web.url) as client, pytest.raises(DeployError, match="does not answer to GET /pods"):
        client.list_pods()
    answers = wait.lets_in("token")
    web.pages["/info/"] = page
    assert answers(web.url) is False


@pytest.fixture
def dripping(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server whose headers come one by one, without an end."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not over.wait(0.05):
                connection.sendall(b"X-n: b\r\n")

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        over.set()
        server.shutdown(socket.SHUT_RDWR)


def test_headers_that_never_end_are_an_answer_that_never_came(dripping: str, monkeypatch):
    monkeypatch.setattr(bounded, "_SECONDS", 0.3)
    monkeypatch.setattr("labelpod.runpod.client._pause", lambda *_: 0.01)
    began = time.monotonic()
    with Client("key", dripping) as client:
        with pytest.raises(DeployError, match="does not answer to GET /pods"):
            client.list_pods()
        with pytest.raises(DeployError, match="may have been done"):
            client.create_pod({})
        assert list(client.get_pod_logs("pod1", "system", 5, 0.2)) == []
    assert wait.lets_in("token")(dripping) is False
    assert wait.stops_at(dripping, {"admin": "token"}) is None
    assert time.monotonic() - began < 20


def test_a_refusal_without_an_end_ends_the_logs_that_are_followed(web, monkeypatch):
    monkeypatch.setattr(bounded, "_SECONDS", 0.3)
    web.pages["/v2/pods/pod1/logs"] = _refused_and_silent
    with Client("key", web.url) as client:
        assert list(client.get_pod_logs("pod1", "system", 5, None)) == []


def _refused_and_silent(request) -> None:
    request.send_response(500)
    request.send_header("Content-Length", "10")
    request.end_headers()
    request.server.over.wait(30)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip"])
def test_a_packed_answer_is_none_and_is_not_unpacked(web, monkeypatch, encoding: str):
    monkeypatch.setattr("labelpod.runpod.client._pause", lambda *_: 0.01)
    packed = gzip.compress(b"[" * 20_000_000)

    def page(request) -> None:
        request.send_response(200)
        for name, value in (("Content-Encoding", encoding), ("Content-Length", str(len(packed)))):
            request.send_header(name, value)
        request.end_headers()
        with suppress(OSError):
            request.wfile.write(packed)

    web.pages = dict.fromkeys(("/v2/pods", "/v2/pods/pod1/logs", "/info/"), page)
    tracemalloc.start()
    try:
        with Client("key", web.url) as client:
            with pytest.raises(DeployError, match="does not answer to GET /pods"):
                client.list_pods()
            assert list(client.get_pod_logs("pod1", "system", 5, 5.0)) == []
        assert wait.lets_in("token")(web.url) is False
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()
    assert {headers["Accept-Encoding"] for _, headers in web.asked} == {"identity"}


BAD = [
    ("ALL_PROXY", "socks5h://me:hidden@127.0.0.1:1"),
    ("HTTPS_PROXY", "foo://me:hidden@x"),
    ("HTTP_PROXY", "http://[::1"),
    ("http_proxy", "http://me:hidden@x:port"),
    ("NO_PROXY", "[::1"),
    ("SSL_CERT_FILE", "/nowhere/hidden.pem"),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=[name for name, _ in BAD])
def test_a_variable_of_the_environment_that_no_client_can_use_is_named(monkeypatch, name: str, value: str):
    for each, _ in BAD:
        monkeypatch.delenv(each, raising=False)
        monkeypatch.delenv(each.lower(), raising=False)
    monkeypatch.setenv(name, value)
    for make in (lambda: Client("key", "http://127.0.0.1:9"), lambda: wait.lets_in("token")):
        with pytest.raises(DeployError, match=re.escape(name)) as refused:
            make()
        assert "hidden" not in str(refused.value) + refused.value.remedy


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:70000", "http://a..b:80"])
def test_a_proxy_that_cannot_be_is_one_that_cannot_be_reached(monkeypatch, proxy: str):
    monkeypatch.setattr("labelpod.runpod.client._pause", lambda *_: 0.01)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with Client("key", "http://127.0.0.1:9") as client, pytest.raises(DeployError, match="RunPod cannot be reached"):
        client.list_pods()
    assert wait.lets_in("token")("http://127.0.0.1:9") is False


def test_a_line_without_an_end_is_not_kept():
    tracemalloc.start()
    try:
        found = list(bounded.lines((b"x" * 10_000 for _ in range(1000)), 60))
        assert found == [] and tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()
    assert list(bounded.lines(iter([b"a\r\nb", b"c\n", b"\xff\nd"]), 60)) == ["a", "bc", "\ufffd"]
    (cut,) = bounded.lines(iter([b"x" * 10**6, b"\n"]), 60)
    assert len(cut) == 2**16

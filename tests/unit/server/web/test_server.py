"""The web server: patient with slow clients, but not without end; on a port of its own."""

import asyncio
import resource
import socket
import ssl
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import monailabel
import pytest
import uvicorn

from label_server.web import server
from label_server.web.gateway import Gateway
from tests.support import web
from tests.support.certificates import needs_openssl, openssl
from tests.support.listening import listening
from tests.support.web import TOKENS

PATIENCE = 0.5
HEAD = f"GET /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKENS['anna']}\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Says how long the body is; at /slow, after longer than the server is patient."""
    if scope["path"] == "/slow":
        await asyncio.sleep(2 * PATIENCE)
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    said = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(said))]})
    await send({"type": "http.response.body", "body": said})


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(server, "SLOW_CLIENT_SECONDS", PATIENCE)
    with listening(Gateway(app, web.users(tmp_path), False), http=server.PatientProtocol) as port:
        yield port


def closed_after(port: int, *sent: str, pause: float = 0) -> tuple[bytes, float]:
    """What comes back, and how long the connection stays."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        started, got = time.monotonic(), b""
        for piece in sent:
            connection.sendall(piece.encode())
            time.sleep(pause)
        while piece := connection.recv(4096):
            got += piece
        return got, time.monotonic() - started


@pytest.mark.parametrize("sent", ["", "GET / HTTP/1.1\r\nX: ", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET"])
def test_a_connection_whose_request_does_not_come_is_closed(port: int, sent: str):
    """Upstream holds it for ever."""
    got, seconds = closed_after(port, sent)
    assert PATIENCE / 2 < seconds < 10 * PATIENCE
    assert got.startswith(b"HTTP/1.1 200") == ("healthz" in sent)


def test_a_request_that_trickles_is_closed_all_the_same(port: int):
    """It is the whole head that must come in time, not the next letter of it."""
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        for letter in HEAD * 3:
            connection.sendall(letter.encode())
            time.sleep(PATIENCE / 20)


def test_an_answer_may_take_longer_than_the_server_waits(port: int):
    slow = HEAD.replace("/x", "/slow") + "Connection: close\r\n\r\n"
    got, seconds = closed_after(port, slow)
    assert got.startswith(b"HTTP/1.1 200") and got.endswith(b"0") and seconds > 2 * PATIENCE


def test_a_body_that_takes_longer_in_all_but_keeps_coming_is_read(port: int):
    put = HEAD.replace("GET", "PUT") + "Content-Length: 6\r\nConnection: close\r\n\r\n"
    got, _ = closed_after(port, put, *"abcdef", pause=PATIENCE / 5)
    assert got.startswith(b"HTTP/1.1 200") and got.endswith(b"6")


def test_two_requests_come_through_one_connection(port: int):
    last = HEAD + "Connection: close\r\n\r\n"
    got, _ = closed_after(port, HEAD + "\r\n", last, pause=PATIENCE / 10)
    assert got.count(b"HTTP/1.1 200") == 2
    got, _ = closed_after(port, HEAD + "\r\n" + last)
    assert got.count(b"HTTP/1.1 200") == 2, "sent at once"


def test_a_body_is_read_to_its_length_and_no_further(port: int):
    put = HEAD.replace("GET", "PUT") + "Content-Length: 3\r\n\r\nabc"
    got, _ = closed_after(port, put + HEAD + "Connection: close\r\n\r\n")
    assert got.count(b"HTTP/1.1 200") == 2


def options(monkeypatch: pytest.MonkeyPatch, certificate: str = "", key: str = "") -> dict[str, Any]:
    """What uvicorn is told at the start."""
    ran: dict[str, Any] = {}
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: ran.update(options, app=app))
    for step in ("start_server_validate_args", "start_server_init_settings"):
        monkeypatch.setattr(server.LabelServer, step, lambda self, args: None)
    upstreams = Path(monailabel.__file__).with_name("logging.json")
    monkeypatch.setattr(server, "init_log_config", lambda *_: upstreams)
    monkeypatch.setenv("TLS_CERT_FILE", certificate)
    monkeypatch.setenv("TLS_KEY_FILE", key)
    given = Namespace(
        uvicorn_app="label_server.web.asgi:app", host="0.0.0.0", port=8000, log_config=None, app="x", verbose="INFO"
    )
    server.LabelServer().action_start_server(given)
    return ran


def test_the_server_starts_with_our_limits(monkeypatch: pytest.MonkeyPatch):
    ran = options(monkeypatch, "/run/tls/cert")
    assert (ran["app"], ran["http"], ran["access_log"]) == ("label_server.web.asgi:app", server.PatientProtocol, False)
    assert (ran["proxy_headers"], ran["server_header"], ran["ws"]) == (False, False, "none")
    assert ran["loop"] == "label_server.web.connections:Loop"
    assert ran["limit_concurrency"] == 1000 and ran["h11_max_incomplete_event_size"] == 2 * server.MAX_HEADER_BYTES
    assert (ran["ssl_certfile"], ran["ssl_keyfile"]) == ("/run/tls/cert", None)


@pytest.mark.parametrize(("form", "expected"), [("text", "format"), ("json", "()")])
def test_the_setting_says_what_lines_of_the_log_are(monkeypatch: pytest.MonkeyPatch, form: str, expected: str):
    monkeypatch.setattr(server, "LOG_FORMAT", form)
    assert list(options(monkeypatch)["log_config"]["formatters"]["simple"]) == [expected]


def test_a_flood_of_connections_leaves_files_to_open(monkeypatch: pytest.MonkeyPatch):
    """Newer engines give a process 1024."""
    set_: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: set_.append(limits))
    for limits in ((1024, 524288), (1024, 4096), (1024, resource.RLIM_INFINITY), (20000, 20000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limits=limits: limits)
        options(monkeypatch)
    assert set_ == [(8192, 524288), (4096, 4096), (8192, resource.RLIM_INFINITY)]


# --- TLS ---


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """The server's TLS, as uvicorn makes it of what it is told."""
    key = ("-newkey", "rsa:2048", "-nodes", "-x509", "-subj", "/CN=labelpod.test")
    openssl(tmp_path, "req", *key, "-keyout", "key.pem", "-out", "cert.pem")
    told = options(monkeypatch, str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))
    names = [name for name in told if name.startswith("ssl_")]
    config = uvicorn.Config(app, log_config=None, **{name: told[name] for name in names})
    config.load()
    return config.ssl


def shaken(server: ssl.SSLContext, version: ssl.TLSVersion, ciphers: str) -> str:
    """The cipher that a client of this version and these ciphers gets; in memory."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    client.minimum_version = client.maximum_version = version
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking, answering = client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)
    for side in (asking, answering, asking, answering):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return asking.cipher()[0]


@needs_openssl
@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        (ssl.TLSVersion.TLSv1, "ALL"),
        (ssl.TLSVersion.TLSv1_1, "ALL"),
        (ssl.TLSVersion.TLSv1_2, "AES256-GCM-SHA384"),
        (ssl.TLSVersion.TLSv1_2, "AES128-SHA"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES256-SHA"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES256-SHA384"),
    ],
    ids=["TLS 1.0", "TLS 1.1", "static RSA", "static RSA and CBC", "CBC-SHA1", "CBC"],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_weak_tls_is_not_spoken(tls: ssl.SSLContext, version: ssl.TLSVersion, ciphers: str):
    with pytest.raises(ssl.SSLError):
        shaken(tls, version, ciphers)


@needs_openssl
def test_strong_tls_is_spoken(tls: ssl.SSLContext):
    assert shaken(tls, ssl.TLSVersion.TLSv1_2, "DEFAULT") == "ECDHE-RSA-AES256-GCM-SHA384"
    assert shaken(tls, ssl.TLSVersion.TLSv1_3, "DEFAULT").startswith("TLS_")

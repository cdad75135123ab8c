"""Strangers who hold very many connections stop nobody; on a port of its own."""

import http.client
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from label_server.web.gateway import Gateway
from label_server.web.server import PatientProtocol
from tests.support import certificates, web
from tests.support.listening import listening
from tests.support.waiting import eventually
from tests.support.web import TOKENS

MANY = 1100
OPTIONS = {"http": PatientProtocol, "loop": "label_server.web.connections:Loop", "limit_concurrency": 1000}
ASK = f"GET /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKENS['anna']}\r\n\r\n"
UPLOAD = ASK.replace("GET", "PUT").replace("\r\n\r\n", "\r\nContent-Length: 6\r\n\r\n")
HEALTH = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
# What strangers send before they wait.
HELD = {
    "nothing": "",
    "half a request": "GET / HTTP/1.1\r\nX: ",
    "a request without a token": "GET /info/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "a wrong token": ASK.replace("Bearer ", "Bearer no"),
    "a body that does not come": UPLOAD.replace("Bearer ", "Bearer no"),
    "many requests at once": HEALTH * 3,
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Says who asked, when the body has come."""
    while (await receive()).get("more_body"):
        pass
    said = scope["user"].name.encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(said))]})
    await send({"type": "http.response.body", "body": said})


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """Both ends of the connections are in this process."""
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4 * MANY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * MANY), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with listening(Gateway(app, web.users(tmp_path), False), **OPTIONS) as port:
        yield port


def connect(port: int, sent: str = "", address: str = "127.0.0.1") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(address, 0))
    connection.sendall(sent.encode())
    return connection


@contextmanager
def held(port: int, sent: str = "", addresses: int = 1) -> Iterator[list[socket.socket]]:
    """Very many connections that are not closed from this side, from so many addresses."""
    with ExitStack() as stack:
        yield [stack.enter_context(connect(port, sent, f"127.1.0.{1 + n % addresses}")) for n in range(MANY)]


def answer(connection: socket.socket, sent: str = "") -> str:
    """The next answer of this connection."""
    connection.sendall(sent.encode())
    reading = http.client.HTTPResponse(connection)
    reading.begin()
    return f"{reading.status} {reading.read().decode()}"


def milliseconds(port: int, sent: str = HEALTH, address: str = "127.0.0.1") -> float:
    """How long a good answer on a new connection takes; the best of ten, as other tests run beside this one."""
    took = []
    for _ in range(10):
        started = time.monotonic()
        with connect(port, sent, address) as connection:
            assert answer(connection).startswith("200")
        took.append(1000 * (time.monotonic() - started))
    return min(took)


def still_open(connections: list[socket.socket]) -> int:
    """How many the server has not closed."""

    def open_(connection: socket.socket) -> bool:
        connection.setblocking(False)
        with suppress(BlockingIOError):
            with suppress(ConnectionError):
                while connection.recv(2**20):
                    pass
            return False
        return True

    return sum(open_(each) for each in connections)


@pytest.mark.parametrize(
    ("sent", "addresses"),
    [*((sent, 1) for sent in HELD.values()), (HELD["nothing"], 50)],
    ids=[*(f"{name} from one address" for name in HELD), "nothing from fifty addresses"],
)
def test_very_many_connections_of_strangers_stop_nobody(port: int, sent: str, addresses: int):
    """More than there is room for; for whoever comes after them, the oldest of them go."""
    with held(port, sent, addresses) as strangers:
        assert milliseconds(port) < 50
        assert milliseconds(port, ASK, "127.1.0.1") < 50, "of the strangers' own address"
        most = 128 if addresses == 1 else 1000
        eventually(lambda: still_open(strangers) <= most, 5, "the oldest are closed")


def test_a_user_in_the_midst_of_a_flood_is_answered(port: int):
    """As all of them come within a moment: their connections are accepted before any request is read."""
    with ExitStack() as stack:
        flood = [stack.enter_context(connect(port, HELD["half a request"], "127.1.0.1")) for _ in range(MANY // 2)]
        user = stack.enter_context(connect(port, ASK, "127.1.0.1"))
        flood += [stack.enter_context(connect(port, HELD["half a request"], "127.1.0.1")) for _ in range(MANY // 2)]
        assert answer(user) == "200 anna"
        eventually(lambda: still_open(flood) <= 128, 5, "the oldest are closed")
        assert answer(user, ASK) == "200 anna"


def test_a_connection_has_a_moment_to_ask_whatever_comes_after_it(port: int, monkeypatch: pytest.MonkeyPatch):
    """A proxy may bring a request a little after the connection; on a busy machine the flood alone takes a second."""
    monkeypatch.setattr("label_server.web.connections._TIME_TO_ASK", 20)
    with connect(port, address="127.1.0.1") as user, held(port):
        time.sleep(0.5)
        assert answer(user, ASK) == "200 anna"


def test_a_flood_that_is_far_too_much_is_not_waited_for(port: int, monkeypatch: pytest.MonkeyPatch):
    """Connections take files, of which a process may open only so many."""
    monkeypatch.setattr("label_server.web.connections._FAR_TOO_MANY", 500)
    monkeypatch.setattr("label_server.web.connections._TIME_TO_ASK", 60)
    with held(port) as strangers:
        eventually(lambda: still_open(strangers) < 500, 5, "the oldest are closed")


def test_a_stranger_who_reads_no_answer_makes_room_all_the_same():
    """What nobody reads keeps a connection open that is only closed, and not aborted."""

    async def much(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(2**24)})

    with listening(much, **OPTIONS) as port, connect(port, HEALTH, "127.1.0.1") as stranger:
        assert stranger.recv(1) == b"H"
        with held(port) as others:
            eventually(lambda: still_open(others) <= 128, 5, "the oldest are closed")
            assert sum(iter(lambda: len(stranger.recv(2**20)), 0)) < 2**24


def test_a_user_keeps_the_connection_whoever_comes(port: int):
    with connect(port) as user, connect(port, UPLOAD + "abc") as uploading:
        assert answer(user, ASK) == "200 anna"
        with held(port, addresses=50) as far, held(port) as near:
            assert answer(user, ASK) == "200 anna"
            eventually(lambda: still_open(far + near) <= 1000, 5, "the oldest are closed")
            assert answer(user, ASK) == "200 anna"
            assert answer(uploading, "def") == "200 anna"


def test_many_connections_of_one_user_stop_nobody(port: int):
    """They are idle after a request: the one that has been so for the longest goes."""
    with ExitStack() as stack:
        uploading = stack.enter_context(connect(port, UPLOAD + "abc"))
        own = []
        for _ in range(MANY):
            own.append(stack.enter_context(connect(port)))
            assert answer(own[-1], ASK) == "200 anna"
        assert milliseconds(port) < 50
        waiting = [stack.enter_context(connect(port)) for _ in range(20)]
        assert all(answer(each, ASK) == "200 anna" for each in waiting), "nor those who ask a little later"
        eventually(lambda: still_open(own) < 1000, 5, "the longest idle are closed")
        assert answer(uploading, "def") == "200 anna", "and no request that runs is ended"
        assert still_open(own) > 900


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[int]:
    certificate, key = certificates.make(tmp_path)
    files = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
    with listening(Gateway(app, web.users(tmp_path), False), **OPTIONS, **files) as port:
        yield port


@certificates.needs_openssl
@pytest.mark.parametrize("sent", ["", "\x16\x03\x01"], ids=["nothing", "half a greeting"])
def test_connections_count_before_their_tls_handshake(tls: int, sent: str):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(connect(tls)) as user:
        assert answer(user, ASK) == "200 anna"
        with held(tls, sent) as strangers, context.wrap_socket(connect(tls)) as new:
            assert answer(new, HEALTH) == "200 alive\n"
            eventually(lambda: still_open(strangers) <= 128, 5, "the oldest are closed")
            assert answer(user, ASK) == "200 anna"


@certificates.needs_openssl
def test_a_tls_handshake_has_a_limited_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any):
    monkeypatch.setattr("label_server.web.connections.SLOW_CLIENT_SECONDS", 0.5)
    with connect(request.getfixturevalue("tls")) as stranger:
        assert stranger.recv(1) == b""

"""The door in front of several label servers: the real HAProxy, and what stands in for them behind it."""

import asyncio
import hashlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse

from label_server import request_id
from label_server.web import gateway
from label_server.web.browser_sessions import BrowserSessions
from label_server.web.gateway import Gateway
from labelpod.clients.label_server import LabelServer, RefusedError
from labelpod.config.settings import Settings
from tests.support import certificates, door, web
from tests.support.door import Door, needs_haproxy, stays_open
from tests.support.listening import listening
from tests.support.ports import held_port
from tests.support.waiting import eventually
from tests.support.web import TOKENS

pytestmark = needs_haproxy
TOKENS_OF_MANY = [f"throw-away-token-number-{number}" for number in range(40)]
SEVERAL = Settings(LABEL_SERVERS=2, MAX_BODY_MB=64)
# Made once: each takes longer than what it asks for.
_TRUST = ssl.create_default_context()
# In the place of a label server: it takes every request and answers none.
CUTS = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nalive\n"


class Server:
    """Says which one it is, and notes what it is asked."""

    def __init__(self, name: str, role: str) -> None:
        self.name, self.role = name, role
        self.asked: list[tuple[str, str]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        if scope["path"] != "/healthz":
            self.asked.append((scope["method"], scope["raw_path"].decode()))
        told = {"name": self.name, "headers": dict(request.headers), "size": len(await request.body())}
        role = {"Labelpod-Role": self.role} if scope["path"] == "/healthz" else {}
        await JSONResponse(told, headers=role)(scope, receive, send)


@dataclass
class Servers:
    """The door with two servers behind it, the first of which trains; and what ends one."""

    front: Door
    one: Server
    two: Server
    end: Callable[[Server], None]

    def ask(self, path: str, method: str = "GET", **more: Any) -> httpx.Response:
        # On a connection of its own.
        url = f"http://127.0.0.1:{self.front.servers}{path}"
        return httpx.request(method, url, timeout=20, verify=_TRUST, trust_env=False, **more)

    def of(self, path: str, **more: Any) -> str:
        """Which server answers."""
        return str(self.ask(path, **more).json()["name"])


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    one, two = Server("one", "all"), Server("two", "annotate")
    with ExitStack() as stack:
        lives = {each.name: stack.enter_context(ExitStack()) for each in (one, two)}
        ports = [lives[each.name].enter_context(listening(each)) for each in (one, two)]
        front = stack.enter_context(door.running(tmp_path, SEVERAL, servers=ports))
        found = Servers(front, one, two, lambda server: lives[server.name].close())
        trains = [f"/{token}/train/" for token in TOKENS_OF_MANY]
        eventually(lambda: {found.of(path) for path in trains} == {"one"}, 10, "the door knows which of them trains")
        yield found


def session(token: str) -> str:
    """What a browser that has shown this token has as its cookie."""
    return f"{hashlib.sha256(token.encode()).hexdigest()[:8]}.the-rest"


def ways(token: str, port: int) -> list[dict[str, Any]]:
    """How a request shows whose it is; the browser's cookie has the name of the port that it asks."""
    own = f"labelpod-{port}"
    others = f"labelpod-9=00000000.x; {own}0=11111111.x; x{own}=22222222.x; a=b; {own}=deadbeef; __Host-labelpod=3333.x"
    return [
        {"path": f"/{token}/info/"},
        {"path": f"/{token}//info/"},
        {"path": "/info/", "headers": {"Authorization": f"Bearer {token}"}},
        {"path": "/info/", "headers": {"Authorization": f"bearer {token}", "Cookie": "labelpod-80=00000000.x"}},
        {"path": "/info/", "headers": {"Cookie": f"{others}; {own}={session(token)}; c=d"}},
        {"path": "/info/", "headers": {"Cookie": f"{own}={session(token)}; {others}"}},
        {"path": "/info/", "headers": {"Host": "labels", "Cookie": f"{others}; labelpod-80={session(token)}"}},
    ]


def test_a_token_leads_to_the_same_server_whichever_way_it_comes(servers: Servers):
    led = {token: {servers.of(**way) for way in ways(token, servers.front.servers)} for token in TOKENS_OF_MANY}
    assert all(len(each) == 1 for each in led.values()), led
    assert set.union(*led.values()) == {"one", "two"}, "users are spread"


def test_nobody_chooses_a_server_by_a_second_token(servers: Servers):
    for words in ("Bearer", "Basic"):
        both = [("Authorization", f"Bearer {TOKENS_OF_MANY[0]}"), ("Authorization", f"{words} another")]
        assert servers.ask("/info/", headers=both).status_code == 400
    assert servers.one.asked + servers.two.asked == [each for each in servers.one.asked if "/train/" in each[1]]


@pytest.mark.parametrize(
    "path", ["/train/", "/train/deepgrow_2d", "/batch/infer", "/model/deepgrow_2d", "/viewer/training"]
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_what_trains_goes_to_the_server_that_says_it_does(servers: Servers, path: str, method: str):
    for token in TOKENS_OF_MANY[:6]:
        assert servers.of(f"/{token}{path}", method=method) == "one"
        assert servers.of(path, method=method, headers={"Authorization": f"Bearer {token}"}) == "one"


def test_the_driver_asks_the_server_that_trains_and_another_if_that_is_away(servers: Servers):
    values = Settings(LABEL_SERVER_PORT=servers.front.servers, LABEL_SERVER_TOKEN=TOKENS_OF_MANY[0])
    others = [values.model_copy(update={"LABEL_SERVER_TOKEN": SecretStr(token)}) for token in TOKENS_OF_MANY]

    def asked() -> set[str]:
        try:
            return {LabelServer(each).info()["name"] for each in others}
        except RefusedError:  # until it is known to be gone
            return set()

    assert asked() == {"one"}
    servers.end(servers.one)
    assert eventually(asked, 5, "it is known to be gone") == {"two"}


def test_who_asks_does_not_choose_the_number_of_a_request(servers: Servers):
    chosen = {"X-Request-ID": "number-of-somebody-else"}
    numbers = [servers.ask("/info/", headers=chosen).json()["headers"]["x-request-id"] for _ in range(2)]
    assert len({*numbers, *chosen.values()}) == 3
    assert all(request_id.is_plain(each) for each in numbers), "the label server takes them"


@pytest.mark.parametrize(
    ("proxy", "said", "passed"),
    [("", "https", "http"), ("10.0.0.5", "https", "http"), ("127.0.0.1", "https", "https"), ("127.0.0.1", "", "http")],
)
def test_a_trusted_proxy_says_whether_a_browser_speaks_https_and_nobody_else_does(
    tmp_path: Path, proxy: str, said: str, passed: str
):
    server, headers = Server("one", "all"), {"X-Forwarded-Proto": said} if said else {}
    values = SEVERAL.model_copy(update={"TRUSTED_PROXY": proxy})
    with listening(server) as port, door.running(tmp_path, values, servers=[port, port]) as front:
        told = Servers(front, server, server, lambda _: None).ask("/info/", headers=headers).json()
    assert told["headers"]["x-forwarded-proto"] == passed


def test_what_only_looks_like_a_training_goes_to_the_users_own_server(servers: Servers):
    assert {servers.of(f"/{token}/trainings") for token in TOKENS_OF_MANY} == {"one", "two"}
    assert {servers.of(f"/{token}/proxy/train/x") for token in TOKENS_OF_MANY} == {"one", "two"}


def test_users_of_a_dead_server_are_at_another_at_once_and_nobody_else_moves(servers: Servers):
    before = {token: servers.of(f"/{token}/info/") for token in TOKENS_OF_MANY}
    servers.end(servers.two)
    longest = 0.0
    for token in TOKENS_OF_MANY:
        started = time.monotonic()
        assert servers.of(f"/{token}/info/") == "one"
        longest = max(longest, time.monotonic() - started)
    assert longest < 2
    assert set(before.values()) == {"one", "two"}


def test_users_come_back_to_a_server_that_is_there_again(tmp_path: Path):
    one, two = Server("one", "all"), Server("two", "annotate")
    port = held_port()
    with listening(one) as first, door.running(tmp_path, SEVERAL, servers=[first, port]) as front:
        servers = Servers(front, one, two, lambda _: None)
        assert {servers.of(f"/{token}/info/") for token in TOKENS_OF_MANY} == {"one"}
        with listening(two, port=port):
            eventually(lambda: {servers.of(f"/{each}/info/") for each in TOKENS_OF_MANY} == {"one", "two"}, 10, "moved")


def test_without_the_server_that_trains_a_training_is_refused_with_the_reason_and_the_rest_goes_on(servers: Servers):
    servers.end(servers.one)
    eventually(lambda: servers.ask("/train/").status_code == 503, 5, "it is known to be gone")
    assert "trains does not answer" in servers.ask("/train/").json()["detail"]
    assert {servers.of(f"/{token}/info/") for token in TOKENS_OF_MANY} == {"two"}
    servers.end(servers.two)
    eventually(lambda: servers.ask("/info/").status_code == 503, 5, "the other one, too")
    assert servers.ask("/info/").json()["detail"].startswith("The label server does not answer")


def test_what_can_be_sent_again_is_if_a_server_dies_over_it_and_a_label_is_not(tmp_path: Path):
    noted: list[bytes] = []
    good = Server("good", "all")
    with (
        listening(good) as port,
        door.cutting(noted, b"/healthz", CUTS) as other,
        door.running(tmp_path, SEVERAL, servers=[port, other]) as front,
    ):
        servers = Servers(front, good, good, lambda _: None)
        for path, method in [("info/", "GET"), ("infer/deepgrow_2d", "POST"), ("activelearning/random", "POST")]:
            assert {servers.ask(f"/{token}/{path}", method).status_code for token in TOKENS_OF_MANY} == {200}
        assert len(noted) > 10, "the other one was asked first"
        noted.clear()
        good.asked.clear()
        answers = [
            servers.ask(f"/{token}/datastore/label", "PUT", content=b"x").status_code for token in TOKENS_OF_MANY
        ]
        assert set(answers) == {200, 502}
        assert answers.count(502) == len(noted) and answers.count(200) == len(good.asked), "each was sent once"


def test_what_kills_a_server_does_not_go_round_and_kill_them_all(tmp_path: Path):
    noted: list[bytes] = []
    with ExitStack() as stack:
        ports = [stack.enter_context(door.cutting(noted, b"/healthz", CUTS)) for _ in range(5)]
        front = stack.enter_context(
            door.running(tmp_path, SEVERAL.model_copy(update={"LABEL_SERVERS": 5}), servers=ports)
        )
        server = Server("none", "all")
        Servers(front, server, server, lambda _: None).ask(f"/{TOKENS_OF_MANY[0]}/infer/deepgrow_2d", "POST")
    assert len(noted) == 2


def test_who_waits_for_a_server_that_hangs_is_told_once_it_is_known(tmp_path: Path):
    hangs = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/healthz":
            hangs.set()
        while hangs.is_set():
            await asyncio.sleep(0.05)
        await JSONResponse({}, headers={"Labelpod-Role": "all"})(scope, receive, send)

    quick = {"fall 4": "fall 2", "timeout check 2s": "timeout check 200ms", "inter 1s": "inter 200ms"}
    with (
        listening(app) as port,
        door.running(tmp_path, SEVERAL, instead=quick, servers=[port, port]) as front,
    ):
        server = Server("none", "all")
        try:
            answer = Servers(front, server, server, lambda _: None).ask("/datastore/label", "PUT", content=b"x")
        finally:
            hangs.clear()
    assert answer.status_code == 502


def test_a_head_as_long_as_the_label_server_takes_passes(servers: Servers):
    told = servers.ask("/info/", headers={"X-Long": "x" * 31_000})
    assert told.status_code == 200 and len(told.json()["headers"]["x-long"]) == 31_000


def test_a_long_body_passes(servers: Servers):
    assert servers.ask("/datastore/label", "PUT", content=bytes(40 * 2**20)).json()["size"] == 40 * 2**20


def test_a_body_is_passed_on_while_it_comes(tmp_path: Path):
    got = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while scope["path"] != "/healthz" and (message := await receive())["more_body"]:
            if message["body"]:
                got.set()
        await JSONResponse({})(scope, receive, send)

    with listening(app) as port, door.running(tmp_path, SEVERAL, servers=[port, port]) as front:
        connection = http.client.HTTPConnection("127.0.0.1", front.servers, timeout=10)
        connection.putrequest("PUT", "/datastore/label")
        connection.putheader("Content-Length", "100000")
        connection.endheaders(b"x" * 1000)
        assert got.wait(5), "it is not kept until it is whole"
        connection.send(b"x" * 99_000)
        assert connection.getresponse().status == 200


@pytest.mark.parametrize(("proxy", "bounded"), [("", True), ("10.0.0.5", True), ("127.0.0.1", False)])
def test_an_address_has_a_bounded_number_of_connections_unless_it_is_a_trusted_proxys(
    tmp_path: Path, proxy: str, bounded: bool
):
    values, fewer = SEVERAL.model_copy(update={"TRUSTED_PROXY": proxy}), {"sc0_conn_cur gt 500": "sc0_conn_cur gt 20"}
    server = Server("one", "all")
    with (
        listening(server) as port,
        door.running(tmp_path, values, instead=fewer, servers=[port, port]) as front,
        ExitStack() as stack,
    ):
        held = []
        for _ in range(60):
            with suppress(ConnectionError):
                held.append(stack.enter_context(socket.create_connection(("127.0.0.1", front.servers), timeout=5)))
        time.sleep(0.2)
        assert (sum(map(stays_open, held)) <= 20) == bounded
        transport = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(transport=transport, trust_env=False) as client:
            assert client.get(f"http://127.0.0.1:{front.servers}/info/").status_code == 200, "another address"


@certificates.needs_openssl
def test_with_a_certificate_label_servers_are_reached_over_tls(tmp_path: Path):
    certificate, key = certificates.issued(tmp_path)
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + certificate.read_text())
    values = SEVERAL.model_copy(update={"TLS_CERT": "c", "TLS_KEY": "k"})
    files = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
    with ExitStack() as stack:
        ports = [stack.enter_context(listening(Server(name, "all"), **files)) for name in ("one", "two")]
        place = {"/run/secrets/tls_both": str(both)}
        front = stack.enter_context(door.running(tmp_path, values, instead=place, servers=ports))
        client = stack.enter_context(httpx.Client(verify=ssl._create_unverified_context(), trust_env=False))
        told = [client.get(f"https://127.0.0.1:{front.servers}/{token}/info/").json() for token in TOKENS_OF_MANY]
        url, port = f"https://127.0.0.1:{front.servers}/info/", front.servers
        cookies = [f"__Host-labelpod={session(token)}; labelpod-{port}=00000000.x" for token in TOKENS_OF_MANY]
        by_cookie = [client.get(url, headers={"Cookie": cookie}).json() for cookie in cookies]
    assert [each["name"] for each in by_cookie] == [each["name"] for each in told]
    assert {each["name"] for each in told} == {"one", "two"}
    assert {each["headers"]["x-forwarded-proto"] for each in told} == {"https"}


def test_the_doors_log_holds_no_token_and_no_path(servers: Servers):
    servers.end(servers.one)
    servers.end(servers.two)
    eventually(lambda: servers.ask(f"/{TOKENS_OF_MANY[0]}/info/").status_code == 503, 5, "nobody is there")
    time.sleep(0.2)
    log = [line for line in servers.front.log.read_text().splitlines() if "GET" in line]
    told = {line.rsplit(" ", 1)[0] for line in log}  # after which the request's number stands
    assert told and told <= {"127.0.0.1 GET 502 SH", "127.0.0.1 GET 503 SC"}


# --- the real gateway behind it ---


async def tell(scope: Any, receive: Any, send: Any) -> None:
    await JSONResponse({"user": scope["user"].name, "address": scope["client"][0]})(scope, receive, send)


@pytest.fixture
def gates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., httpx.Response]]:
    """Two label servers' gateways, which share the sessions of browsers; returns what asks from an address."""
    monkeypatch.setattr(gateway, "TRUSTED_PROXIES", (ip_network("127.0.0.1/32"),))
    known = web.users(tmp_path)
    both = [Gateway(tell, known, False, BrowserSessions(known, tmp_path / "sessions.json")) for _ in range(2)]
    with ExitStack() as stack:
        lives = [stack.enter_context(ExitStack()) for _ in both]
        ports = [life.enter_context(listening(each)) for life, each in zip(lives, both, strict=True)]
        front = stack.enter_context(door.running(tmp_path, SEVERAL, servers=ports))

        def ask(path: str, address: str = "127.0.0.2", dead: int | None = None, **headers: str) -> httpx.Response:
            if dead is not None:
                lives[dead].close()
            transport = httpx.HTTPTransport(local_address=address)
            with httpx.Client(transport=transport, timeout=20, trust_env=False) as client:
                return client.get(f"http://127.0.0.1:{front.servers}{path}", headers=headers)

        yield ask


def test_wrong_tokens_behind_the_door_count_against_who_sends_them(gates: Callable[..., httpx.Response]):
    guesses = [gates(f"/wrong-token-number-{number}/info/", "127.0.0.3").status_code for number in range(120)]
    assert guesses[:30] == [401] * 30 and guesses[-10:] == [429] * 10, "each of the servers counts"
    assert gates("/wrong-token-of-another/info/", "127.0.0.4").status_code == 401
    told = gates(f"/{TOKENS['anna']}/info/", "127.0.0.3", **{"X-Forwarded-For": "127.0.0.9"}).json()
    assert told == {"user": "anna", "address": "127.0.0.3"}, "nobody names another address"


@pytest.mark.parametrize("dead", [None, 0, 1], ids=["none", "first", "second"])
def test_a_browser_stays_logged_in_whichever_server_dies(gates: Callable[..., httpx.Response], dead: int | None):
    opened = gates(f"/{TOKENS['anna']}/", **web.HTML)
    assert opened.status_code == 303
    cookie = opened.headers["set-cookie"].partition(";")[0]
    for _ in range(4):
        answer = gates("/info/", dead=dead, Cookie=cookie)
        assert answer.status_code == 200 and json.loads(answer.text)["user"] == "anna"

"""The door in front of Orthanc: the real HAProxy, and what stands in for Orthanc behind it."""

import asyncio
import base64
import http.client
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from labelpod.config.settings import Settings
from tests.support import certificates, door
from tests.support.door import Door, needs_haproxy, needs_haproxy_3, stays_open
from tests.support.listening import listening
from tests.support.waiting import eventually

pytestmark = needs_haproxy
OPEN = {"ORTHANC_BIND_ADDRESS": "0.0.0.0"}
RIGHT = "right-one"
MANY = 100  # connections of an address
# HTTP/2's beginning with an empty SETTINGS, and the type of the frame that answers it (RFC 9113, 3.4 and 6.5).
PREFACE, SETTINGS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]), b"\x04"


class Orthanc:
    """Lets one login in, and notes what comes."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.pause = 0.0  # seconds before it answers

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        self.asked.append({"method": scope["method"], "path": scope["raw_path"].decode(), "size": size} | headers)
        await asyncio.sleep(self.pause)
        status = 200 if headers.get("authorization") == login(RIGHT) else 401
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


def login(password: str) -> str:
    return "Basic " + base64.b64encode(f"labelpod:{password}".encode()).decode()


@pytest.fixture
def orthanc() -> Orthanc:
    return Orthanc()


@pytest.fixture
def front(orthanc: Orthanc, tmp_path: Path) -> Iterator[Door]:
    with listening(orthanc) as port, door.running(tmp_path, Settings(**OPEN), port) as running:
        yield running


def ask(
    front: Door, password: str = "", method: str = "GET", path: str = "/", source: str = "127.0.0.1", **headers: str
) -> int:
    """Ask on a connection of its own, from an address of this machine; the status, 0 for a closed connection."""
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=10, source_address=(source, 0))
    given = {"Host": f"127.0.0.1:{front.port}"} | ({"Authorization": login(password)} if password else {})
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in (given | headers).items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        return connection.getresponse().status
    except (ConnectionError, http.client.BadStatusLine):
        return 0
    finally:
        connection.close()


@certificates.needs_openssl
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"TLS_CERT": "c", "TLS_KEY": "k"},
        {"LABEL_SERVERS": "8", "TRUSTED_PROXY": "10.0.0.5,fd00::/8"},
        {"ORTHANC_DB": "postgres", "ORTHANC_SERVERS": "2", "TLS_CERT": "c", "TLS_KEY": "k"},
    ],
    ids=["HTTP", "HTTPS", "several servers", "two Orthancs"],
)
def test_haproxy_takes_the_rendered_file(tmp_path: Path, values: dict[str, str]):
    certificate, key = certificates.make(tmp_path)
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + certificate.read_text())
    file = tmp_path / "haproxy.cfg"
    text = door.configuration(Settings(**OPEN, **values))
    for word, other in {
        "/run/secrets/tls_both": str(both),
        "orthanc:8042": "127.0.0.1:1",
        "${STACK}-label-server-": "127.0.0.",
        "${STACK}-orthanc-": "127.0.0.",
        "127.0.0.2-1": "127.0.0.2",
        "parse-resolv-conf": "nameserver here 127.0.0.1:53",
    }.items():
        text = text.replace(word, other)
    file.write_text(text)
    told = subprocess.run([str(door.PROGRAM), "-c", "-f", str(file)], capture_output=True, text=True, check=False)
    assert told.returncode == 0 and "WARNING" not in told.stderr, told.stderr


def test_more_than_ten_wrong_logins_in_a_minute_are_answered_429(front: Door, orthanc: Orthanc):
    answers = [ask(front, f"guess {number}") for number in range(30)]
    assert answers[:10] == [401] * 10 and answers[12:] == [429] * 18
    assert len(orthanc.asked) <= 12, "the others never reach Orthanc"


def test_not_even_the_right_login_is_told_from_a_wrong_one_after_too_many(front: Door):
    for number in range(15):
        ask(front, f"guess {number}")
    assert ask(front, RIGHT) == 429


def test_guesses_that_come_at_once_count_when_they_come(orthanc: Orthanc, tmp_path: Path):
    orthanc.pause = 0.5
    with listening(orthanc) as port, door.running(tmp_path, Settings(**OPEN), port) as front:
        with ThreadPoolExecutor(40) as pool:
            answers = list(pool.map(lambda number: ask(front, f"guess {number}"), range(40)))
        assert answers.count(401) <= 12 and answers.count(429) >= 28
        assert len(orthanc.asked) <= 12


@pytest.mark.parametrize("secure", [False, pytest.param(True, marks=certificates.needs_openssl)], ids=["HTTP", "HTTPS"])
def test_nobody_speaks_http_2_whose_connections_carry_many_requests(orthanc: Orthanc, tmp_path: Path, secure: bool):
    pair = certificates.make(tmp_path) if secure else ()
    files = {"ssl_certfile": str(pair[0]), "ssl_keyfile": str(pair[1])} if secure else {}
    with listening(orthanc, **files) as port:
        running = secured(tmp_path, pair, port) if secure else door.running(tmp_path, Settings(**OPEN), port)
        with running as front, socket.create_connection(("127.0.0.1", front.port), timeout=10) as plain:
            connection = ssl._create_unverified_context().wrap_socket(plain) if secure else plain
            connection.sendall(PREFACE)
            answer = b""
            with suppress(ConnectionError):
                answer = connection.recv(1000)
    assert answer[3:4] != SETTINGS and orthanc.asked == []


def test_who_guesses_keeps_nobody_else_out(front: Door):
    assert ask(front, RIGHT) == 200
    for number in range(15):
        ask(front, f"guess {number}")
    assert ask(front, RIGHT) == 200, "who was let in before, at the same address, as behind a tunnel"
    assert ask(front, "guess", source="127.0.0.2") == 401, "another address"
    assert ask(front, RIGHT, source="127.0.0.2") == 200


def test_who_guesses_does_not_learn_which_login_others_use(front: Door):
    """Elsewhere, the answer to a login that somebody else uses is that to any other; here, not for long."""
    assert ask(front, RIGHT) == 200
    for number in range(15):
        ask(front, f"guess {number}", source="127.0.0.2")
    assert ask(front, RIGHT, source="127.0.0.2") == 429
    answers = [ask(front, f"guess {number}") for number in range(80)]
    assert answers[-1] == 429 and ask(front, RIGHT) == 200, "who was let in goes on beside somebody who guesses"
    answers = [ask(front, f"guess {number}") for number in range(60)]
    assert set(answers) == {429} and ask(front, RIGHT) == 429


def test_a_login_that_is_no_longer_right_counts_as_a_guess(front: Door, monkeypatch: pytest.MonkeyPatch):
    assert ask(front, RIGHT) == 200
    monkeypatch.setitem(globals(), "RIGHT", "changed")
    assert {ask(front, "right-one") for _ in range(15)} == {401, 429}


def test_a_browser_that_is_asked_for_its_login_does_not_guess(front: Door):
    assert [ask(front) for _ in range(20)] == [401] * 20
    assert ask(front, RIGHT) == 200


def test_an_address_has_a_bounded_number_of_connections(front: Door):
    with ExitStack() as stack:
        held = []
        for _ in range(3 * MANY):
            with suppress(ConnectionError):
                held.append(stack.enter_context(socket.create_connection(("127.0.0.1", front.port), timeout=5)))
        time.sleep(0.2)
        assert MANY / 2 < sum(map(stays_open, held)) <= MANY
        assert ask(front, RIGHT, source="127.0.0.2") == 200
    eventually(lambda: ask(front, RIGHT) == 200, 5, "they count no more when they are closed")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX: "], ids=["nothing", "half a request"])
def test_a_connection_on_which_no_request_comes_is_closed(orthanc: Orthanc, tmp_path: Path, sent: bytes):
    shorter = {"timeout http-request 5s": "timeout http-request 300ms"}
    with (
        listening(orthanc) as port,
        door.running(tmp_path, Settings(**OPEN), port, shorter) as front,
        socket.create_connection(("127.0.0.1", front.port), timeout=5) as slow,
    ):
        slow.sendall(sent)
        assert slow.recv(100).startswith(b"HTTP/1.1 408") or not sent
    assert orthanc.asked == [], "Orthanc hears nothing of it"


@needs_haproxy_3  # 2.6 waits on
def test_a_body_that_stops_coming_is_given_up(orthanc: Orthanc, tmp_path: Path):
    with (
        listening(orthanc) as port,
        door.running(tmp_path, Settings(**OPEN, SLOW_CLIENT_SECONDS=1), port) as front,
        socket.create_connection(("127.0.0.1", front.port), timeout=5) as slow,
    ):
        slow.sendall(b"POST /instances HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        assert slow.recv(100).startswith(b"HTTP/1.1 4")


def test_what_access_lua_looks_at_comes_as_it_was_sent(front: Door, orthanc: Orthanc):
    """Whether a change came as GET, which page made a browser ask, and how long a body is."""
    ask(front, RIGHT, path="/patients?_method=DELETE", Host="pacs:8042", Sec_Fetch_Site="cross-site")
    ask(front, RIGHT, "DELETE", "/patients/1", Content_Length="0", Origin="http://pacs:8042", Host="pacs:8042")
    asked, changed = orthanc.asked
    assert asked["path"] == "/patients" and asked["sec-fetch-site"] == "cross-site"
    assert not {"content-length", "transfer-encoding", "origin"} & set(asked)
    assert changed["content-length"] == "0" and changed["origin"].endswith(changed["host"])


def test_a_body_is_passed_on_whole_and_as_long_as_it_says(front: Door, orthanc: Orthanc):
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=20)
    connection.request("POST", "/dicom-web/studies", bytes(50 * 2**20), {"Authorization": login(RIGHT)})
    assert connection.getresponse().status == 200
    assert orthanc.asked[0]["size"] == int(orthanc.asked[0]["content-length"]) == 50 * 2**20


def test_prometheus_learns_how_many_were_refused_and_no_login(front: Door):
    assert ask(front, "wrong") == 401
    told = requests.get(f"http://127.0.0.1:{front.figures}/metrics", timeout=10).text
    assert 'haproxy_frontend_http_responses_total{proxy="orthanc",code="4xx"} 1' in told
    assert login("wrong").split()[1] not in told
    assert requests.get(f"http://127.0.0.1:{front.figures}/stats", timeout=10).status_code == 404


def test_its_log_tells_who_was_refused_and_names_nobody(front: Door):
    ask(front, "guess", path="/dicom-web/studies?PatientName=Doe")
    ask(front, RIGHT, path="/dicom-web/studies?PatientName=Doe")
    time.sleep(0.2)
    log = [line for line in front.log.read_text().splitlines() if "GET" in line]
    assert [line.rsplit(" ", 1)[0] for line in log] == ["127.0.0.1 GET 401 --"]


# --- with a certificate ---


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return certificates.make(tmp_path)


def secured(folder: Path, pair: tuple[Path, Path], port: int) -> Any:
    both = folder / "both.pem"
    both.write_text(pair[1].read_text() + pair[0].read_text())
    values = Settings(**OPEN, TLS_CERT="c", TLS_KEY="k")
    return door.running(folder, values, port, {"/run/secrets/tls_both": str(both)})


def secure_ask(front: Door, context: ssl.SSLContext) -> int:
    connection = http.client.HTTPSConnection("127.0.0.1", front.port, timeout=10, context=context)
    connection.request("GET", "/", headers={"Authorization": login(RIGHT)})
    return connection.getresponse().status


@certificates.needs_openssl
def test_with_a_certificate_the_door_speaks_https_and_no_old_ciphers(orthanc: Orthanc, pair: Any, tmp_path: Path):
    files = {"ssl_certfile": str(pair[0]), "ssl_keyfile": str(pair[1])}
    context = ssl.create_default_context(cafile=pair[0])
    context.check_hostname = False
    with listening(orthanc, **files) as port, secured(tmp_path, pair, port) as front:
        assert secure_ask(front, context) == 200
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2
        for ciphers, expected in (("ECDHE-ECDSA-AES128-GCM-SHA256", True), ("ECDHE-ECDSA-AES128-SHA256", False)):
            context.set_ciphers(ciphers)
            with nullcontext() if expected else pytest.raises((ssl.SSLError, ConnectionError)):
                assert secure_ask(front, context) == 200


@certificates.needs_openssl
def test_the_certificate_may_be_of_an_authority_that_does_not_come_with_it(orthanc: Orthanc, tmp_path: Path):
    certificate, key = certificates.issued(tmp_path)
    files = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
    context = ssl._create_unverified_context()
    with listening(orthanc, **files) as port, secured(tmp_path, (certificate, key), port) as front:
        assert secure_ask(front, context) == 200


TWO = OPEN | {"ORTHANC_DB": "postgres", "ORTHANC_SERVERS": "2"}


def test_of_two_orthancs_the_second_is_asked_when_the_first_is_away(tmp_path: Path):
    first, second = Orthanc(), Orthanc()

    def told() -> list[str]:
        return [each["method"] for each in second.asked if "authorization" in each]

    with listening(second) as other, ExitStack() as life:
        port = life.enter_context(listening(first))
        with door.running(tmp_path, Settings(**TWO), port, second=other) as front:
            assert [ask(front, RIGHT, method=method) for method in ("GET", "POST") * 5] == [200] * 10 and not told()
            life.close()
            assert [ask(front, RIGHT, method=method) for method in ("GET", "POST", "DELETE")] == [200] * 3
            assert told() == ["GET", "POST", "DELETE"]


def test_what_only_asks_is_asked_again_where_an_orthanc_dies_over_it_and_a_change_is_not(tmp_path: Path):
    noted: list[bytes] = []
    with (
        listening(second := Orthanc()) as other,
        door.cutting(noted, b"HEAD / HTTP/1.0", b"HTTP/1.0 401 No\r\n\r\n") as port,
        door.running(tmp_path, Settings(**TWO), port, second=other) as front,
    ):
        assert ask(front, RIGHT) == 200 and noted == [b"GET / HTTP/1.1"], "the first was asked first"
        assert ask(front, RIGHT, method="POST") == 502 and len(noted) == 2
        assert "POST" not in {each["method"] for each in second.asked}

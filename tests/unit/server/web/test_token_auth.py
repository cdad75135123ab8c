"""How a request shows its token, and what a browser gets for it."""

from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import unquote

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from label_server.web.gateway import Gateway
from label_server.web.rate_limits import Failures
from labelpod_common import users_file
from tests.support import web
from tests.support.web import HTML, TOKENS, Server

ANNA = TOKENS["anna"]


async def tell(scope, receive, send) -> None:
    request = Request(scope, receive)
    await PlainTextResponse(f"{request.user.name} {scope['path']} {scope['raw_path'].decode()}")(scope, receive, send)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Server]:
    yield Server(TestClient(Gateway(tell, web.users(tmp_path), open_on_loopback=False)))


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_a_token_is_taken_as_bearer(gate: Server, scheme: str):
    assert gate.ask("GET", "/info/", headers={"Authorization": scheme + ANNA}).text.startswith("anna ")


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        (f"/{ANNA}/info/", "/info/ /info/"),
        (f"/{ANNA}/info", "/info /info"),
        (f"/{ANNA}", "/ /"),
        (f"/{ANNA}/", "/ /"),
        (f"/{ANNA}//info/", "/info/ /info/"),  # MONAI Label Reviewer
        (f"/{ANNA}/a%20b", "/a b /a%20b"),
    ],
)
def test_a_token_is_taken_in_front_of_the_path_and_taken_off(gate: Server, path: str, rest: str):
    assert gate.ask("GET", path).text == f"anna {rest}"


@pytest.mark.parametrize("cookie", [f"labelpod={ANNA}", f"a=b; labelpod={ANNA}; c=d", f'labelpod="{ANNA}"'])
def test_a_token_is_taken_as_cookie(gate: Server, cookie: str):
    assert gate.ask("GET", "/info/", headers={"Cookie": cookie}).text.startswith("anna ")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/info/", {}),
        (f"/{ANNA[:-1]}/info/", {}),
        (f"/{ANNA[:-1]}x/info/", {}),
        (f"/info/{ANNA}", {}),
        ("/short/info/", {}),
        (f"/info/?token={ANNA}", {}),
        ("/info/", {"Authorization": f"Bearer {ANNA[:-1]}"}),
        ("/info/", {"Authorization": "Bearer "}),
        ("/info/", {"Authorization": f"Basic {ANNA}"}),
        ("/info/", {"Cookie": f"labelpod={ANNA[:-1]}"}),
        ("/info/", {"Cookie": f"LABELPOD={ANNA}"}),
        ("/info/", {"Cookie": "labelpod=\x7f;;=,"}),
        (f"/{ANNA}/info/", {"Authorization": "Bearer wrong"}),
    ],
)
def test_nothing_else_is_a_token(gate: Server, path: str, headers: dict[str, str]):
    answer = gate.ask("GET", path, headers=headers)
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert answer.json() == {"detail": "Not authorised"}


def test_whether_a_place_exists_is_not_told(gate: Server):
    answers = {gate.ask(method, path).text for method, path in [("GET", "/info/"), ("POST", "/reload"), ("PUT", "/x")]}
    assert len(answers) == 1


# --- pages of other origins ---


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://testserver"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "http://127.0.0.1:9"}, 401),
        ({"Origin": "http://testserver.evil.example"}, 401),
        ({"Origin": "null"}, 401),
        ({"Origin": ""}, 401),
        ({"Sec-Fetch-Site": "same-site"}, 401),
        ({"Sec-Fetch-Site": "cross-site"}, 401),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_cookie_changes_nothing_for_other_origins(gate: Server, method: str, headers: dict[str, str], status: int):
    cookie = {"Cookie": f"labelpod={ANNA}"}
    assert gate.ask(method, "/x", headers=cookie | headers).status_code == status
    assert gate.ask(method, "/x", "anna", headers=headers).status_code == 200, "a bearer is no browser's doing"


def test_other_origins_may_read_nothing_but_are_let_through(gate: Server):
    """A link from elsewhere works; the answer has nothing that lets a foreign page look at it."""
    answer = gate.ask("GET", "/x", headers={"Cookie": f"labelpod={ANNA}", "Origin": "http://evil.example"})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control-")]


# --- the browser's login ---


def cookies(answer) -> SimpleCookie:
    found: SimpleCookie = SimpleCookie()
    for each in answer.headers.get_list("set-cookie"):
        found.load(each)
    return found


def test_a_browser_gets_a_cookie_and_an_address_without_the_token(gate: Server):
    answer = gate.ask("GET", f"/{ANNA}/ohif/viewer?StudyInstanceUIDs=1.2.3", headers=HTML)
    assert answer.status_code == 303 and answer.headers["location"] == "/ohif/viewer?StudyInstanceUIDs=1.2.3"
    login, server = cookies(answer)["labelpod"], cookies(answer)["MONAILABEL_SERVER_URL"]
    assert login.value == ANNA and unquote(server.value) == "http://testserver/"
    assert (login["httponly"], login["samesite"], login["path"], login["secure"]) == (True, "strict", "/", "")
    assert not server["httponly"], "OHIF's panel reads it"


@pytest.mark.parametrize("url, headers", [("https://testserver", {}), ("", {"X-Forwarded-Proto": "https"})])
def test_the_cookie_is_for_tls_alone_if_there_is_tls(gate: Server, url: str, headers: dict[str, str]):
    answer = gate.ask("GET", f"{url}/{ANNA}/", headers=HTML | headers)
    assert all(each["secure"] for each in cookies(answer).values()) and len(cookies(answer)) == 2
    assert unquote(cookies(answer)["MONAILABEL_SERVER_URL"].value) == "https://testserver/"


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", f"/{ANNA}/info/", {"Accept": "application/json"}),
        ("POST", f"/{ANNA}/info/", HTML),
        ("GET", "/info/", HTML | {"Authorization": f"Bearer {ANNA}"}),
        ("GET", "/info/", HTML | {"Cookie": f"labelpod={ANNA}"}),
    ],
)
def test_only_a_browser_that_opens_the_token_is_sent_on(gate: Server, method: str, path: str, headers: dict[str, str]):
    answer = gate.ask(method, path, headers=headers)
    assert answer.status_code == 200 and "set-cookie" not in answer.headers


# --- many failures ---


def test_many_failures_of_an_address_are_answered_429(gate: Server):
    statuses = [gate.ask("GET", "/info/", token=f"wrong-token-number-{number}").status_code for number in range(32)]
    assert statuses == [401] * 30 + [429] * 2
    assert gate.ask("GET", "/info/").headers["retry-after"] == "60"
    assert gate.ask("GET", "/info/", "anna").status_code == 200, "behind a tunnel everybody has one address"


def test_failures_are_forgotten_with_time(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    failures = Failures(most=2, seconds=60)
    assert [failures.note("a") for _ in range(3)] == [False, False, True]
    assert failures.note("b") is False, "another address"
    now[0] += 61
    assert failures.note("a") is False


def test_only_so_many_addresses_are_remembered():
    failures = Failures(most=1, addresses=2)
    failures.note("a")
    for other in ("b", "c"):
        failures.note(other)
    assert failures.note("a") is False, "it was the longest unseen"
    assert failures.note("c") is True


# --- users come and go ---


def test_a_user_who_is_revoked_stays_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    known = web.users(tmp_path)
    monkeypatch.setattr("label_server.users._LOOK_SECONDS", -1)
    gate = Server(TestClient(Gateway(tell, known, False)))
    assert gate.ask("GET", "/x", "anna").status_code == 200
    (tmp_path / "users.json").write_text(users_file.dump([users_file.entry("new", "reviewer", "a-new-token-of-new")]))
    assert gate.ask("GET", "/x", "anna").status_code == 401
    assert gate.ask("GET", "/x", token="a-new-token-of-new").text.startswith("new ")
    assert gate.ask("GET", "/x", "admin").status_code == 200, "that token is a setting"

"""How a request shows its token, or a browser's session."""

from collections.abc import Iterator
from pathlib import Path

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


def session(gate: Server) -> str:
    """The cookie of a browser of anna's; the test's own client keeps none."""
    answer = gate.ask("GET", f"/{ANNA}/", headers=HTML)
    gate.client.cookies.clear()
    return answer.headers.get_list("set-cookie")[0].partition(";")[0]


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


@pytest.mark.parametrize(
    "others",
    [
        *(
            "",
            "a=b; ",
            'other={"a":1}; ',
            "a=b=c; =; ;; ,; ",
            'x="; ',
            "bad[name]=1; ",
            "labelpod-80; ",
            "\x7f\xe9=\xff; ",
        ),
        *("labelpod-80=; ", "labelpod-80=of-another-port; "),
    ],
)
def test_a_session_is_taken_as_cookie_whatever_other_cookies_there_are(gate: Server, others: str):
    """Upstream's parser, Python's own, ends at the first that it does not like: the user was locked out."""
    for cookie in (f"{others}{session(gate)}", f"{session(gate)}; {others}"):
        answer = gate.ask("GET", "/info/", headers={"Cookie": cookie.encode("latin-1")})
        assert answer.text.startswith("anna "), cookie


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
        ("/info/", {"Cookie": f"labelpod={ANNA}"}),
        ("/info/", {"Cookie": f"labelpod-80={ANNA}"}),
        ("/info/", {"Cookie": "labelpod-80="}),
        ("/info/", {"Cookie": "labelpod-80=\x7f;;=,"}),
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
        ({"Origin": "http://["}, 401),
        ({"Sec-Fetch-Site": "same-site"}, 401),
        ({"Sec-Fetch-Site": "cross-site"}, 401),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_cookie_changes_nothing_for_other_origins(gate: Server, method: str, headers: dict[str, str], status: int):
    cookie = {"Cookie": session(gate)}
    assert gate.ask(method, "/x", headers=cookie | headers).status_code == status
    assert gate.ask(method, "/x", "anna", headers=headers).status_code == 200, "a bearer is no browser's doing"


def test_other_origins_may_read_nothing_but_are_let_through(gate: Server):
    """A link from elsewhere works; the answer has nothing that lets a foreign page look at it."""
    answer = gate.ask("GET", "/x", headers={"Cookie": session(gate), "Origin": "http://evil.example"})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control-")]


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

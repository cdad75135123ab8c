"""What a browser gets for the token's address, and when its user is asked first."""

from collections.abc import Iterator
from html import unescape
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import unquote

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from label_server.web.gateway import Gateway
from tests.support import web
from tests.support.web import HTML, TOKENS, Server

ANNA, BERTA = TOKENS["anna"], TOKENS["berta"]
OWN = {"Origin": "http://testserver"}


async def tell(scope, receive, send) -> None:
    request = Request(scope, receive)
    await PlainTextResponse(f"{request.user.name} {scope['path']}")(scope, receive, send)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Server]:
    yield Server(TestClient(Gateway(tell, web.users(tmp_path), open_on_loopback=False)))


def cookies(answer) -> SimpleCookie:
    found: SimpleCookie = SimpleCookie()
    for each in answer.headers.get_list("set-cookie"):
        found.load(each)
    return found


def opened(gate: Server, token: str = ANNA, **headers: str):
    """A browser opens a token's address; the test's client keeps no cookie but those that it is told."""
    answer = gate.ask("GET", f"/{token}/ohif/viewer?StudyInstanceUIDs=1.2.3", headers=HTML | headers)
    gate.client.cookies.clear()
    return answer


def who(gate: Server, cookie: str) -> str:
    """The user of a cookie, "" if it is nobody's."""
    answer = gate.ask("GET", "/x", headers={"Cookie": cookie})
    return answer.text.partition(" ")[0] if answer.status_code == 200 else ""


def cookie_of(answer) -> str:
    return answer.headers.get_list("set-cookie")[0].partition(";")[0]


# --- logged in ---


def test_a_browser_gets_a_session_and_an_address_without_the_token(gate: Server):
    answer = opened(gate)
    assert answer.status_code == 303 and answer.headers["location"] == "/ohif/viewer?StudyInstanceUIDs=1.2.3"
    login, server = cookies(answer)["labelpod-80"], cookies(answer)["MONAILABEL_SERVER_URL"]
    assert len(login.value.partition(".")[2]) == 43 and unquote(server.value) == "http://testserver/"
    assert (login["httponly"], login["samesite"], login["path"], login["secure"]) == (True, "strict", "/", "")
    assert not server["httponly"], "OHIF's panel reads it"
    assert who(gate, cookie_of(answer)) == "anna"


def test_no_cookie_holds_the_token_and_no_two_are_alike(gate: Server):
    """Cookies go to every port of a host; whoever listened there had the token for good."""
    answers = [opened(gate) for _ in range(3)]
    assert len({cookie_of(each) for each in answers}) == 3
    assert ANNA not in str([each.headers for each in answers])


def test_the_cookie_is_for_tls_alone_if_there_is_tls(gate: Server):
    answer = gate.ask("GET", f"https://testserver/{ANNA}/", headers=HTML)
    assert all(each["secure"] for each in cookies(answer).values()) and len(cookies(answer)) == 2
    login = cookies(answer)["__Host-labelpod"]
    assert (login["path"], login["domain"], login["samesite"], login["httponly"]) == ("/", "", "strict", True)
    assert unquote(cookies(answer)["MONAILABEL_SERVER_URL"].value) == "https://testserver/"


def test_two_servers_on_one_host_have_each_their_cookie(gate: Server):
    answer = gate.ask("GET", f"http://testserver:8001/{ANNA}/", headers=HTML)
    assert "labelpod-8001" in cookies(answer)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", f"/{ANNA}/info/", {"Accept": "application/json"}),
        ("POST", f"/{ANNA}/info/", HTML),
        ("GET", "/info/", HTML | {"Authorization": f"Bearer {ANNA}"}),
        ("POST", "/login/ohif/", HTML | {"Authorization": f"Bearer {ANNA}"}),
    ],
)
def test_only_a_browser_that_opens_the_token_is_sent_on(gate: Server, method: str, path: str, headers: dict[str, str]):
    answer = gate.ask(method, path, headers=headers)
    assert answer.status_code == 200 and "set-cookie" not in answer.headers
    session = cookie_of(opened(gate))
    answer = gate.ask("GET", "/info/", headers=HTML | {"Cookie": session})
    assert answer.status_code == 200 and "set-cookie" not in answer.headers


def test_the_address_opened_again_begins_a_session_in_the_place_of_the_first(gate: Server):
    first = cookie_of(opened(gate))
    second = opened(gate, Cookie=first)
    assert second.status_code == 303 and who(gate, cookie_of(second)) == "anna" and who(gate, first) == ""


# --- asked first ---


def asked(answer, name: str) -> str:
    """The address behind the button of the page that asks."""
    assert answer.status_code == 200 and "set-cookie" not in answer.headers
    assert f"Go on as {name}" in answer.text and "<script" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "frame-ancestors 'none'" in policy
    return unescape(answer.text.partition('action="')[2].partition('"')[0])


def test_a_link_to_anothers_address_does_not_switch_the_user_unseen(gate: Server):
    cookie = cookie_of(opened(gate))
    answer = opened(gate, BERTA, Cookie=cookie)
    button = asked(answer, "berta")
    assert "logged in as <b>anna</b>" in answer.text and who(gate, cookie) == "anna"
    switched = gate.ask("POST", button, headers=HTML | OWN | {"Cookie": cookie})
    assert switched.status_code == 303 and switched.headers["location"] == "/ohif/viewer?StudyInstanceUIDs=1.2.3"
    assert who(gate, cookie_of(switched)) == "berta" and who(gate, cookie) == ""


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_logs_nobody_in_unseen(gate: Server, site: str):
    """A strict cookie stays away: whether somebody is logged in cannot be known."""
    button = asked(opened(gate, **{"Sec-Fetch-Site": site}), "anna")
    assert who(gate, cookie_of(gate.ask("POST", button, headers=OWN))) == "anna"


def test_another_site_is_noticed_where_the_browser_does_not_name_it(gate: Server):
    """Over plain HTTP none sends Sec-Fetch-Site; of the two cookies only the lax one comes with a foreign link."""
    lax = next(each for each in opened(gate).headers.get_list("set-cookie") if each.startswith("MONAILABEL"))
    assert "samesite=lax" in lax.lower()
    asked(opened(gate, BERTA, Cookie=lax.partition(";")[0]), "berta")
    assert opened(gate, BERTA, Cookie="MONAILABEL_SERVER_URL=http%3A%2F%2Ftestserver%3A8001%2F").status_code == 303


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_the_users_own_doing_logs_in_at_once(gate: Server, site: str):
    assert opened(gate, **{"Sec-Fetch-Site": site}).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://["}],
    ids=["another site", "a site that hides", "another port", "no address at all"],
)
def test_another_site_cannot_press_the_button(gate: Server, headers: dict[str, str]):
    answer = gate.ask("POST", f"/{BERTA}/login/ohif/", headers=HTML | headers)
    assert answer.status_code == 403 and "set-cookie" not in answer.headers


@pytest.mark.parametrize("place", ["//evil.example", "/\\evil.example", "/%2f%2fevil.example", "/http:evil.example"])
def test_the_button_leads_nowhere_else(gate: Server, place: str):
    answer = gate.ask("POST", f"/{ANNA}/login{place}", headers=OWN)
    assert answer.status_code == 400 or answer.headers["location"] == "/http:evil.example"


# --- logged out ---


def test_a_user_logs_out(gate: Server):
    cookie = cookie_of(opened(gate))
    page = gate.ask("GET", "/logout", headers=HTML | {"Cookie": cookie})
    assert page.status_code == 200 and 'action="/logout"' in page.text and who(gate, cookie) == "anna"
    answer = gate.ask("POST", "/logout", headers=OWN | {"Cookie": cookie})
    assert answer.status_code == 200 and all(each["max-age"] == "0" for each in cookies(answer).values())
    assert len(cookies(answer)) == 2 and who(gate, cookie) == ""


def test_another_site_logs_nobody_out(gate: Server):
    cookie = cookie_of(opened(gate))
    assert gate.ask("POST", "/logout", headers={"Cookie": cookie, "Origin": "http://evil.example"}).status_code == 401
    assert who(gate, cookie) == "anna"

"""Whose address and scheme count behind a proxy: the client's that a trusted one names, and of nobody else's naming."""

import logging
import socket
from ipaddress import ip_network
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from label_server.web import gateway, trusted_proxy
from label_server.web.gateway import Gateway
from label_server.web.trusted_proxy import TrustedProxy
from tests.support import web
from tests.support.web import TOKENS, Server

PROXIES = tuple(map(ip_network, ("10.0.0.5", "172.16.0.0/12", "fd00::/8")))


async def tell(scope, receive, send) -> None:
    await PlainTextResponse(Request(scope).client.host)(scope, receive, send)


def address(peer: str, *forwarded: str, proxies=PROXIES) -> str:
    """The address that a request counts for."""
    client = TestClient(TrustedProxy(tell, proxies), client=(peer, 1))
    return client.get("/", headers=[("X-Forwarded-For", each) for each in forwarded]).text


@pytest.mark.parametrize(
    ("peer", "forwarded", "counts"),
    [
        ("10.0.0.5", ["192.0.2.7"], "192.0.2.7"),
        ("10.0.0.5", ["2001:db8::7"], "2001:db8::7"),
        ("fd00::1", ["192.0.2.7"], "192.0.2.7"),
        ("::ffff:10.0.0.5", ["192.0.2.7"], "192.0.2.7"),
        ("10.0.0.5", ["192.0.2.7,172.20.0.3"], "192.0.2.7"),
        ("10.0.0.5", ["192.0.2.7", "172.20.0.3"], "192.0.2.7"),
        ("10.0.0.5", ["127.0.0.1, 198.51.100.1,192.0.2.7"], "192.0.2.7"),
        ("10.0.0.5", [], "10.0.0.5"),
        ("10.0.0.5", [""], "10.0.0.5"),
        ("10.0.0.5", ["192.0.2.7, unknown"], "10.0.0.5"),
        ("10.0.0.5", ["172.20.0.3"], "172.20.0.3"),
        ("10.0.0.6", ["192.0.2.7"], "10.0.0.6"),
        ("192.0.2.9", ["192.0.2.7"], "192.0.2.9"),
        ("testclient", ["192.0.2.7"], "testclient"),
    ],
)
def test_the_client_is_who_a_trusted_proxy_names_last(peer: str, forwarded: list[str], counts: str):
    assert address(peer, *forwarded) == counts


def test_a_proxy_may_be_known_by_name_and_have_another_address_later(monkeypatch: pytest.MonkeyPatch):
    known = {"door": "10.0.0.9"}

    def look_up(name: str, *_: object, **__: object) -> list:
        if name not in known:
            raise socket.gaierror(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known[name], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(trusted_proxy, "_BELIEVED", -1)
    app = TrustedProxy(tell, PROXIES, ["door"])

    def ask(peer: str) -> str:
        return TestClient(app, client=(peer, 1)).get("/", headers={"X-Forwarded-For": "192.0.2.7, 172.20.0.3"}).text

    assert (ask("10.0.0.9"), ask("10.0.0.8")) == ("192.0.2.7", "10.0.0.8")
    known["door"] = "10.0.0.8"
    assert (ask("10.0.0.9"), ask("10.0.0.8")) == ("10.0.0.9", "192.0.2.7")
    del known["door"]
    assert (ask("10.0.0.9"), ask("10.0.0.5")) == ("10.0.0.9", "192.0.2.7"), "the others are trusted as before"
    assert ask("10.0.0.8") == "192.0.2.7", "no answer is not another address"


def test_without_a_trusted_proxy_nobody_names_another_address():
    assert address("10.0.0.5", "192.0.2.7", proxies=()) == "10.0.0.5"


def test_wrong_tokens_of_one_client_count_against_that_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog):
    monkeypatch.setattr(gateway, "TRUSTED_PROXIES", PROXIES)
    gate = Server(TestClient(Gateway(tell, web.users(tmp_path), open_on_loopback=False), client=("10.0.0.5", 1)))

    def ask(client: str, token: str) -> int:
        return gate.ask("GET", "/info/", token=token, headers={"X-Forwarded-For": client}).status_code

    guesses = [ask("192.0.2.7", f"wrong-token-number-{number}") for number in range(32)]
    assert guesses == [401] * 30 + [429] * 2
    assert ask("192.0.2.8", "wrong-token") == 401, "another client"
    with caplog.at_level(logging.INFO, "access"):
        assert ask("192.0.2.8", TOKENS["anna"]) == 200
    assert "192.0.2.8 anna GET /info/ 200" in caplog.text


async def tell_scheme(scope, receive, send) -> None:
    await PlainTextResponse(scope["scheme"])(scope, receive, send)


def scheme(peer: str, *forwarded: str, own: str = "http", in_pod: bool = False) -> str:
    """What the browser is taken to speak."""
    client = TestClient(TrustedProxy(tell_scheme, PROXIES, in_pod=in_pod), f"{own}://testserver", client=(peer, 1))
    return client.get("/", headers=[("X-Forwarded-Proto", each) for each in forwarded]).text


@pytest.mark.parametrize(
    ("peer", "forwarded", "spoken"),
    [
        ("10.0.0.5", ["https"], "https"),
        ("10.0.0.5", ["HTTPS "], "https"),
        ("fd00::1", ["https"], "https"),
        ("10.0.0.5", ["http, https"], "https"),
        ("10.0.0.5", ["http", "https"], "https"),
        ("10.0.0.5", ["https, http"], "http"),
        ("10.0.0.5", ["https", "http"], "http"),
        ("10.0.0.5", [], "http"),
        ("10.0.0.5", [""], "http"),
        ("10.0.0.5", ["https,"], "http"),
        ("10.0.0.5", ["httpsx"], "http"),
        ("10.0.0.5", ["javascript"], "http"),
        ("10.0.0.5", ["https;http"], "http"),
        ("10.0.0.6", ["https"], "http"),
        ("192.0.2.9", ["https"], "http"),
        ("testclient", ["https"], "http"),
    ],
)
def test_a_browser_speaks_https_if_a_trusted_proxy_says_so_last(peer: str, forwarded: list[str], spoken: str):
    assert scheme(peer, *forwarded) == spoken


@pytest.mark.parametrize(
    ("peer", "forwarded", "spoken"),
    [("10.0.0.5", "http", "http"), ("10.0.0.5", "junk", "https"), ("192.0.2.9", "http", "https")],
)
def test_under_tls_of_its_own_it_is_https_unless_a_trusted_proxy_says_otherwise(peer: str, forwarded: str, spoken: str):
    assert scheme(peer, forwarded, own="https") == spoken


def test_of_https_that_does_not_count_the_log_says_once_what_to_set(caplog: pytest.LogCaptureFixture):
    client = TestClient(TrustedProxy(tell_scheme, PROXIES), client=("192.0.2.9", 1))
    for said in ("http", "https", "https"):
        assert client.get("/", headers={"X-Forwarded-Proto": said}).text == "http"
    assert caplog.text.count("LABELPOD_TRUSTED_PROXY does not name") == 1
    caplog.clear()
    trusted = TestClient(TrustedProxy(tell_scheme, PROXIES), client=("10.0.0.5", 1))
    assert trusted.get("/", headers={"X-Forwarded-Proto": "https"}).text == "https" and not caplog.text


def test_in_a_rented_pod_the_scheme_is_that_of_the_proxy_in_front_and_the_address_is_not():
    assert scheme("100.64.0.9", "https", in_pod=True) == "https" and scheme("100.64.0.9", in_pod=True) == "http"
    client = TestClient(TrustedProxy(tell, (), in_pod=True), client=("100.64.0.9", 1))
    assert client.get("/", headers={"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}).text == "100.64.0.9"


@pytest.mark.parametrize(("peer", "tls"), [("10.0.0.5", True), ("192.0.2.9", False)])
def test_cookies_and_hsts_are_those_of_https_behind_a_trusted_proxy_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peer: str, tls: bool
):
    monkeypatch.setattr(gateway, "TRUSTED_PROXIES", PROXIES)
    gate = Server(TestClient(Gateway(tell, web.users(tmp_path), open_on_loopback=False), client=(peer, 1)))
    answer = gate.ask("GET", f"/{TOKENS['anna']}/", headers=web.HTML | {"X-Forwarded-Proto": "https"})
    cookies = answer.headers.get_list("set-cookie")
    assert answer.status_code == 303 and len(cookies) == 2
    assert [("secure" in each.lower()) for each in cookies] == [tls, tls]
    assert cookies[0].startswith("__Host-labelpod=" if tls else "labelpod-80=")
    assert ("strict-transport-security" in answer.headers) is tls
    assert ("https%3A%2F%2Ftestserver" in cookies[1]) is tls, "what OHIF's panel asks"

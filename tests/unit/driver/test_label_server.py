"""How the driver asks the label server, and what becomes of answers that are none."""

import json
import ssl

import pytest

from labelpod.clients.label_server import LabelServer, RefusedError
from labelpod.config.settings import Settings
from labelpod.errors import DeployError
from tests.support import certificates
from tests.support.ports import held_port

TOKEN = "t" * 32


def server(port: int | str, seconds: float = 5, **values: str) -> LabelServer:
    return LabelServer(Settings(LABEL_SERVER_PORT=int(port), LABEL_SERVER_TOKEN=TOKEN, **values), seconds)


@pytest.fixture
def port(web) -> str:
    return web.url.rpartition(":")[2]


def error_of(asked: LabelServer) -> DeployError:
    with asked, pytest.raises(DeployError) as raised:
        asked.info()
    assert TOKEN not in f"{raised.value.message}{raised.value.remedy}"
    assert "\n" not in f"{raised.value.message}{raised.value.remedy}"
    return raised.value


def test_the_token_is_sent_in_a_header_and_never_in_a_url(web, port, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY")
    web.pages["/info/"] = web.answer(200, b'{"device": "CPU"}')
    with server(port) as asked:
        assert asked.info() == {"device": "CPU"}
    ((path, headers),) = web.asked
    assert path == "/info/" and headers["Authorization"] == f"Bearer {TOKEN}"


def test_a_server_that_does_not_run_is_said_with_how_to_start_it():
    error = error_of(server(held_port()))
    assert "no answer" in error.message and "deploy.py up" in error.remedy


def test_a_busy_server_is_waited_for_as_long_as_was_said(web, port):
    web.pages["/info/"] = web.hang()
    assert "busy: no answer within 0.2 s" in error_of(server(port, 0.2)).message


def test_a_token_that_is_not_the_servers_is_said_with_what_to_do(web, port):
    web.pages["/info/"] = web.answer(401, b'{"detail": "Not authorised"}')
    error = error_of(server(port))
    assert "LABEL_SERVER_TOKEN" in error.message and "deploy.py up" in error.remedy


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (403, {"detail": "This takes the role admin"}, "This takes the role admin"),
        (429, {"detail": "Too many requests at once"}, "Too many requests at once"),
        (503, {"detail": "The DICOMweb server does not answer"}, "The DICOMweb server does not answer"),
        (502, None, "Bad Gateway"),
        (500, ["no object"], "Internal Server Error"),
    ],
)
def test_a_refusal_has_its_status_and_the_servers_words(web, port, status, body, words):
    web.pages["/info/"] = web.answer(status, json.dumps(body).encode() if body else b"")
    error = error_of(server(port))
    assert isinstance(error, RefusedError) and error.status == status
    assert f"{status}: {words}" in error.message


@pytest.mark.parametrize("body", [b"<html>", b"", b"\xff"])
def test_what_is_not_json_is_no_answer(web, port, body):
    web.pages["/info/"] = web.answer(200, body)
    assert "no answer" in error_of(server(port)).message


@certificates.needs_openssl
def test_over_tls_the_stacks_own_certificate_is_trusted_and_no_other(web, port, tmp_path):
    pairs = [certificates.make(tmp_path, name) for name in ("own", "other")]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pairs[0])
    web.socket = context.wrap_socket(web.socket, server_side=True)
    web.pages["/info/"] = web.answer(200, b"{}")
    own, other = (server(port, TLS_CERT=str(certificate), TLS_KEY=str(key)) for certificate, key in pairs)
    with own:
        assert own.info() == {}
    assert "no answer" in error_of(other).message
    assert len(web.asked) == 1


def test_it_serves_where_it_answers_what_it_is_asked(web, port):
    with server(held_port()) as away, server(port, 0.2) as asked:
        assert not away.answers()
        for page, serves in ((web.hang(), False), (web.answer(503), False), (web.answer(200, b'{"device": ""}'), True)):
            web.pages["/info/"] = page
            assert asked.answers() is serves

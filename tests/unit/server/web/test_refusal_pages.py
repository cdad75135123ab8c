"""What a person is told in a browser where a program gets JSON."""

import re
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from label_server.web.audit_log import Audit
from label_server.web.gateway import Gateway
from labelpod_common import users_file
from tests.support import web
from tests.support.ct import Ct
from tests.support.web import HTML, ROLES, TOKENS, Server


async def _answer(request: Request) -> Response:
    kind = request.path_params["kind"]
    if kind == "plain":
        return PlainTextResponse("not ready\n", 503)
    if kind == "packed":
        return Response(b"\x1f\x8b\xff", 503, {"Content-Encoding": "gzip"}, "application/json")
    if kind == "list":
        return JSONResponse(["x"], 503)
    if kind == "good":
        return JSONResponse({"detail": "x"})
    return JSONResponse({"detail": "a <b>reason</b>"}, int(kind), {"Retry-After": "5"})


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Server]:
    inner = Starlette(routes=[Route("/{kind}", _answer, methods=["GET", "POST", "HEAD"])])
    yield Server(TestClient(Gateway(inner, web.users(tmp_path), open_on_loopback=False)))


def page(answer) -> str:
    assert answer.headers["content-type"] == "text/html; charset=utf-8", answer.text
    assert "content-encoding" in answer.headers or int(answer.headers["content-length"]) == len(answer.content)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    return unescape(answer.text)


def revoke_anna(folder: Path) -> None:
    left = [users_file.entry(each, ROLES[each], TOKENS[each]) for each in ("berta", "rita")]
    (folder / "users.json").write_text(users_file.dump(left))
    time.sleep(1.1)  # the file is looked at once a second


def test_who_is_not_known_gets_one_page_whatever_the_reason(gate: Server, tmp_path: Path):
    gate.ask("GET", f"/{TOKENS['anna']}/good", headers=HTML)
    session = {"Cookie": f"labelpod-80={gate.client.cookies['labelpod-80']}"}
    gate.client.cookies.clear()
    assert gate.ask("GET", "/good", headers=HTML | session).status_code == 200
    revoke_anna(tmp_path)
    answers = [
        gate.ask("GET", "/good", headers=HTML),
        gate.ask("GET", "/good", headers=HTML | session),
        gate.ask("GET", "/good", headers=HTML | {"Cookie": "labelpod-80=over"}),
        gate.ask("GET", "/good", token="wrong-token-of-nobody", headers=HTML),
        gate.ask("GET", f"/{TOKENS['anna']}/", headers=HTML),
        gate.ask("GET", "/a-token-that-never-was/ohif/", headers=HTML),
        gate.ask("GET", "/no/such/page", headers=HTML),
        gate.ask("POST", "/next", headers=HTML),
    ]
    numbers = {each.headers.pop("X-Request-ID") for each in answers}
    assert len(numbers) == len(answers)  # and nothing else differs
    assert {(each.status_code, each.text, str(each.headers)) for each in answers} == {
        (401, answers[0].text, str(answers[0].headers))
    }
    text = page(answers[0])
    assert "You are not logged in" in text and "Open your address again" in text and "ask whoever gave it" in text
    assert answers[0].headers["www-authenticate"] == "Bearer"


def test_who_has_tried_too_often_is_told_to_wait(gate: Server):
    answers = [gate.ask("GET", "/x", headers=HTML) for _ in range(31)]
    assert [each.status_code for each in answers] == [401] * 30 + [429]
    assert "Wait a minute" in page(answers[-1]) and answers[-1].headers["retry-after"] == "60"
    assert "Wait a minute" not in page(answers[0])


@pytest.mark.parametrize("status", [400, 403, 404, 409, 429, 500, 502, 503, 507])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_user_is_told_the_reason_with_its_status_and_headers(gate: Server, method: str, status: int):
    answer = gate.ask(method, f"/{status}", "anna", headers=HTML)
    assert answer.status_code == status and answer.headers["retry-after"] == "5"
    assert "<p>a &lt;b&gt;reason&lt;/b&gt;</p>" in answer.text and "ask whoever runs this server" in page(answer)
    assert "Open your address again" not in answer.text


@pytest.mark.parametrize("accept", ["application/json", "*/*", ""])
def test_programs_get_json_as_ever(gate: Server, accept: str):
    for user, path, status in (("", "/good", 401), ("anna", "/404", 404), ("anna", "/503", 503)):
        answer = gate.ask("GET", path, user, headers={"Accept": accept})
        assert answer.status_code == status and set(answer.json()) == {"detail"}


def test_what_is_no_refusal_in_json_goes_as_it_is(gate: Server):
    assert gate.ask("GET", "/plain", "anna", headers=HTML).text == "not ready\n"
    assert gate.ask("GET", "/good", "anna", headers=HTML).json() == {"detail": "x"}
    assert gate.ask("HEAD", "/404", "anna", headers=HTML).headers["content-type"] == "application/json"


@pytest.mark.parametrize("kind", ["packed", "list"])
def test_a_refusal_of_another_form_is_a_page_without_a_reason(gate: Server, kind: str):
    answer = gate.ask("GET", f"/{kind}", "anna", headers=HTML)
    assert answer.status_code == 503 and "The server cannot answer now" in page(answer)


def test_a_full_disk_is_told_to_who_asks_for_the_next_ct(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Audit, "works", lambda self: False)
    gate = Server(TestClient(Gateway(_answer, web.users(tmp_path), False, audit=web.audit(tmp_path))))
    answer = gate.ask("POST", "/next", "anna", headers=HTML)
    assert answer.status_code == 503 and "The audit log cannot be written" in page(answer)


def test_every_door_of_the_server_has_the_page(server: Server, image: Ct):
    doors = {
        "/no/such/page": (404, "There is no such page"),
        "/a//b": (400, "This address is not understood"),
        "/proxy/dicom/wado/system": (404, "There is no such page"),
        "/logs/": (403, "You may not do this"),
        "/datastore/label?label=1.2.3&tag=final": (404, "There is no such page"),
        "/datastore/label": (422, "This did not work"),
    }
    for path, (status, title) in doors.items():
        answer = server.ask("GET", path, "anna", headers=HTML)
        assert answer.status_code == status and f"<h1>{title}</h1>" in page(answer), path
        assert "detail" in server.ask("GET", path, "anna").json(), path
    answer = server.ask("POST", "/next", "anna", data={"strategy": "none"}, headers=HTML)
    assert answer.status_code == 404 and "There is no such strategy" in page(answer)


def test_the_page_needs_no_file_that_takes_a_token(gate: Server):
    assert not re.search(r"\ssrc=|<link|<script|style", gate.ask("GET", "/", headers=HTML).text)
    assert 'href="/start.css"' in gate.ask("GET", "/404", "anna", headers=HTML).text

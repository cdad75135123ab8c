"""The gateway as a whole, in front of an application that tells what came through."""

import asyncio
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from label_server import users
from label_server.audit import Trail
from label_server.web import gateway, middleware
from label_server.web.audit_log import Audit
from label_server.web.browser_sessions import BrowserSessions
from label_server.web.gateway import Gateway
from tests.support import web
from tests.support.paths import ROOT
from tests.support.web import TOKENS, Server

LINE = re.compile(r"testclient (\S+) (GET|PUT|POST) (\S+) (\d{3}) \d+ ms")
STARTED: list[str] = []


async def tell(request: Request) -> JSONResponse:
    if request.url.path == "/fails":
        raise RuntimeError("a fault of the application's own")
    body = await request.body()
    told = {"path": request.url.path, "user": request.user.name, "current": users.current.get().name, "got": len(body)}
    return JSONResponse(told)


@asynccontextmanager
async def lifespan(_: Starlette) -> Iterator[None]:
    STARTED.append("started")
    yield
    STARTED.append("stopped")


def inner() -> Starlette:
    return Starlette(routes=[Route("/{path:path}", tell, methods=["GET", "PUT", "POST"])], lifespan=lifespan)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Server]:
    app = Gateway(inner(), web.users(tmp_path), open_on_loopback=False)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Server(client)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture):
    """The lines of the access log so far."""
    caplog.set_level(logging.INFO, "access")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "access"]


def test_the_cheapest_comes_first():
    nobody = users.Users(Path("/nowhere"), "")
    audit = Audit(Trail(Path("/nowhere")), lambda image: None)
    parts = gateway.middleware(nobody, False, BrowserSessions(nobody), audit)
    assert [part.cls.__name__ for part in parts] == [
        *(
            "Liveness",
            "TrustedProxy",
            "RequestIds",
            "AccessLog",
            "SecurityHeaders",
            "Compression",
            "RefusalPages",
            "Refusals",
        ),
        *("HeaderLimit", "RequestFigures", "AuditLog", "Authentication"),
        *("AddressCheck", "Monitors", "UseNote", "Concurrency", "BrowserLogin", "BodyLimit"),
    ]


def test_the_gate_loads_neither_torch_nor_monailabel():
    code = "import sys, label_server.web.gateway; print(sorted({'monai', 'monailabel', 'torch'} & set(sys.modules)))"
    path = {"PYTHONPATH": f"{ROOT / 'images' / 'label-server'}:{ROOT}"}
    said = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


def test_start_and_stop_reach_the_application(tmp_path: Path):
    STARTED.clear()
    with TestClient(Gateway(inner(), web.users(tmp_path), False)):
        assert STARTED == ["started"]
    assert STARTED == ["started", "stopped"]


def test_a_websocket_is_closed_before_anybody_sees_it(tmp_path: Path):
    seen: list[str] = []

    async def note(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    client = TestClient(Gateway(note, web.users(tmp_path), open_on_loopback=False))
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(f"/{TOKENS['admin']}/info/"):
        pass
    assert seen == []


def test_healthz_answers_nobody_else_does(gate: Server, lines):
    alive = gate.ask("GET", "/healthz")
    assert (alive.text, alive.headers["labelpod-role"]) == ("alive\n", "all"), "a door asks who trains"
    assert lines() == []
    for path in ("/healthz/", "/healthz/x", "/", "/readyz"):
        assert gate.ask("GET", path).status_code == 401, path


def test_the_user_is_in_the_scope_and_in_the_context(gate: Server):
    told = gate.ask("GET", "/info/", "rita").json()
    assert told["user"] == told["current"] == "rita"
    assert users.current.get().name == "server"


@pytest.mark.parametrize(
    ("method", "path", "user", "status"),
    [
        ("GET", "/info/", "anna", 200),
        ("GET", "/info/", "", 401),
        ("GET", "/a//b", "anna", 400),
        ("GET", f"/{TOKENS['anna']}/", "", 303),
        ("GET", "/fails", "anna", 500),
    ],
)
def test_every_answer_has_the_security_headers(gate: Server, method: str, path: str, user: str, status: int):
    answer = gate.ask(method, path, user, headers=web.HTML)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in answer.headers["permissions-policy"]
    assert answer.headers["cache-control"] == "no-store", "patients' data stays in no browser"


def test_a_browser_is_told_of_tls_where_there_is_tls(gate: Server):
    said = {url: gate.ask("GET", f"{url}/info/", "anna").headers for url in ("http://testserver", "https://testserver")}
    assert said["https://testserver"]["strict-transport-security"] == "max-age=31536000"
    assert "strict-transport-security" not in said["http://testserver"]


def test_headers_that_are_too_long_are_refused_before_the_token(gate: Server):
    answer = gate.ask("GET", "/info/", "anna", headers={"X-Long": "x" * 40_000})
    assert answer.status_code == 431 and answer.headers["connection"] == "close"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert gate.ask("GET", "/info/", headers={"X-Long": "x" * 40_000}).status_code == 431


@pytest.mark.parametrize("length", [str(2 * 2**30 + 1), "-1", "many"])
def test_a_body_that_says_it_is_too_long_is_not_read(gate: Server, length: str):
    answer = gate.ask("PUT", "/info/", "anna", headers={"Content-Length": length}, content=b"")
    assert answer.status_code == 413


def test_a_body_arrives_as_it_was_sent(gate: Server):
    assert gate.ask("PUT", "/x", "anna", content=b"x" * 100_000).json()["got"] == 100_000


# --- the log ---


@pytest.mark.parametrize(
    ("path", "user", "who", "logged", "status"),
    [
        ("/info/?image=1.2", "anna", "anna", "/info/", "200"),
        (f"/{TOKENS['berta']}/info/", "", "berta", "/info/", "200"),
        ("/a-token-with-one-letter-wrong/info/", "", "-", "-", "401"),
        ("/..%2f..%2fx", "anna", "-", "-", "400"),
        ("/info/?x=..%2fy", "anna", "-", "-", "400"),
        ("/fails", "rita", "rita", "/fails", "500"),
    ],
)
def test_a_line_says_who_what_and_how_it_ended(gate, lines, path, user, who, logged, status):
    gate.ask("GET", path, user)
    (line,) = lines()
    assert LINE.fullmatch(line).groups() == (who, "GET", logged, status)


def test_no_token_is_logged_however_it_came(gate: Server, lines, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "label_server")
    mistyped = "a-token-with-one-letter-wrong-1234567"
    gate.ask("GET", f"/{mistyped}/info/")
    gate.ask("GET", f"/info/?token={mistyped}", token=mistyped)
    gate.ask("GET", f"/{TOKENS['anna']}/ohif/..%2f..%2fx", headers=web.HTML)
    gate.ask("GET", f"/{TOKENS['admin']}/ohif/?token={TOKENS['admin']}", headers=web.HTML)
    gate.ask("GET", f"/info/{mistyped}", headers={"Cookie": f"labelpod-80={mistyped}"})
    text = "\n".join([*lines(), *(r.getMessage() for r in caplog.records if r.name.startswith("label_server"))])
    assert len(lines()) == 5 and mistyped not in text
    assert not [token for token in TOKENS.values() if token in text]


# --- a rented pod ---


@pytest.mark.parametrize(
    ("path", "noted"), [("/info", 0), ("/info/", 0), ("/readyz", 0), ("/metrics", 0), ("/datastore/", 1)]
)
def test_only_work_keeps_a_pod_from_stopping(gate: Server, monkeypatch, path: str, noted: int):
    notes: list[str] = []
    monkeypatch.setattr(middleware.state, "note_use", lambda: notes.append("used"))
    gate.ask("GET", path, "anna")
    assert len(notes) == noted
    gate.ask("GET", "/datastore/")
    assert len(notes) == noted, "a stranger's request is no use"


# --- nobody needs a token ---


def test_without_users_this_machine_needs_no_token(tmp_path: Path):
    nobody = users.Users(tmp_path / "none.json", "")
    with TestClient(Gateway(inner(), nobody, True), base_url="http://127.0.0.1:8000") as client:
        assert client.get("/info/").json()["user"] == "local"
        assert client.get("/info/", headers={"Host": "evil.example"}).status_code == 401
        assert client.post("/info/", headers={"Origin": "http://evil.example"}).status_code == 401
        assert client.post("/info/", headers={"Origin": "http://127.0.0.1:8000"}).status_code == 200
    with TestClient(Gateway(inner(), nobody, False), base_url="http://127.0.0.1:8000") as client:
        assert client.get("/info/").status_code == 401


def test_with_users_this_machine_needs_a_token_too(tmp_path: Path):
    with TestClient(Gateway(inner(), web.users(tmp_path), True), base_url="http://127.0.0.1:8000") as client:
        assert client.get("/info/").status_code == 401
        assert json.loads(client.get(f"/{TOKENS['anna']}/info/").text)["user"] == "anna"


@pytest.mark.parametrize("path", ["/info/", "/proxy/dicom/qido", "/proxy/dicom/qido/studies"])
def test_a_query_of_bytes_that_no_url_has_is_refused(path: str, tmp_path: Path):
    """A redirect of the router's own failed on it, with a bare 500."""
    scope = {"type": "http", "method": "GET", "scheme": "http", "client": ("1.2.3.4", 5), "path": path}
    bearer = f"Bearer {TOKENS['anna']}".encode()
    scope |= {"raw_path": path.encode(), "query_string": b"a=\xff", "headers": [(b"authorization", bearer)]}
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Gateway(JSONResponse({}), web.users(tmp_path), False)(scope, receive, send))
    assert sent[0]["status"] == 400 and b"not encoded" in sent[1]["body"]

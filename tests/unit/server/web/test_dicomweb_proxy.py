"""The viewer's way to the DICOMweb server."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from monailabel.config import settings
from starlette.requests import Request

from label_server.web import dicomweb_proxy
from tests.support import dicomweb
from tests.support.ct import Ct, ct
from tests.support.dicomweb import Pacs, multipart
from tests.support.web import TOKENS, Server


@pytest.mark.parametrize(
    "path",
    [
        *("studies", "studies/", "series", "instances", "studies/1.2", "studies/1.2/metadata", "studies/1.2/series"),
        *("studies/1.2/instances", "studies/1.2/series/1.3", "studies/1.2/series/1.3/metadata"),
        *("studies/1.2/series/1.3/instances", "studies/1.2/series/1.3/instances/1.4"),
        *("studies/1.2/series/1.3/instances/1.4/frames/1", "studies/1.2/series/1.3/instances/1.4/frames/1,2/rendered"),
        *(
            "studies/1.2/series/1.3/instances/1.4/bulk/7FE00010",
            "studies/1.2/series/1.3/rendered",
            "studies/1/thumbnail",
        ),
    ],
)
def test_what_viewers_read_is_allowed(path: str):
    assert dicomweb_proxy.allowed("GET", path)


@pytest.mark.parametrize(
    "path",
    [
        *("", "system", "instances/1.2/x", "changes", "../system", "studies/../../system", "studies/1.2/../x"),
        *("tools/execute-script", "patients", "studies/abc", "studies/1.2/archive", "series/1.2/x", "studies\n"),
        *("studies/" + "1" * 65, "studies/1.2/series/1.3/instances/1.4/frames/x", "modalities", "studies/1.2?x=1"),
    ],
)
def test_nothing_else_is_allowed(path: str):
    assert not dicomweb_proxy.allowed("GET", path) and not dicomweb_proxy.allowed("POST", path)


def test_only_studies_are_stored_to():
    paths = ("studies", "studies/", "studies/1.2", "series", "studies/1.2/series", "instances")
    assert [dicomweb_proxy.allowed("POST", path) for path in paths] == [True] * 3 + [False] * 3


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/proxy/dicom/wado/system", 404),
        ("GET", "/proxy/dicom/qido/patients", 404),
        ("POST", "/proxy/dicom/stow/series", 404),
        ("POST", "/proxy/dicom/qido/studies", 405),
        ("DELETE", "/proxy/dicom/wado/studies/1.2", 405),
        ("PUT", "/proxy/dicom/stow/studies", 405),
        ("GET", "/proxy/dicom/other/studies", 404),
        ("GET", "/proxy/other", 404),
    ],
)
def test_what_is_refused_does_not_reach_the_server(server: Server, pacs: Pacs, method: str, path: str, status: int):
    before = len(pacs.asked)
    assert server.ask(method, path, "admin").status_code == status
    assert len(pacs.asked) == before


def test_the_query_goes_as_it_is(server: Server, image: Ct, pacs: Pacs):
    """Upstream drops it (proxy.py:60). A backslash parts the values of one key."""
    answer = server.ask("GET", "/proxy/dicom/qido/series?Modality=CT&includefield=a%5Cb&PatientID=a%2Fb", "anna")
    assert answer.status_code == 200
    assert pacs.asked[-1].query == {"Modality": "CT", "includefield": "a\\b", "PatientID": "a/b"}


def test_fields_that_are_asked_for_are_parted_by_plain_commas():
    """Orthanc answers `includefield=00081030%2C00080060` with neither: a study list without descriptions."""
    asked = b"PatientName=A%2CB&includefield=00081030%2C00080060%2c00200010&limit=1&includefield=all"
    as_read = b"PatientName=A%2CB&includefield=00081030,00080060,00200010&limit=1&includefield=all"
    assert dicomweb_proxy.with_plain_commas(asked) == as_read


def test_only_some_headers_pass_and_the_servers_login_is_added(
    server: Server, image: Ct, pacs: Pacs, tmp_path, monkeypatch
):
    dicomweb.log_in(monkeypatch, tmp_path, "own", "password")
    headers = {"Accept": "application/dicom+json", "Range": "bytes=0-1", "X-Other": "x", "Cookie": "a=b"}
    answer = server.ask("GET", "/proxy/dicom/qido/studies", "anna", headers=headers)
    got = pacs.asked[-1].headers
    assert (got["accept"], got["range"], got["authorization"][:6]) == ("application/dicom+json", "bytes=0-1", "Basic ")
    assert "x-other" not in got and "cookie" not in got and TOKENS["anna"] not in str(got)
    assert "server" not in answer.headers, "what software answers is not told"


def test_a_viewer_reads_a_series_through_the_gate(server: Server, image: Ct):
    answer = server.ask("GET", f"/proxy/dicom/wado/studies/{image.study_uid}/series/{image.uid}", "anna")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("multipart/related")
    assert all(file in answer.content for file in image.files)


def test_a_viewer_stores_through_the_gate(server: Server, pacs: Pacs):
    """Its body is passed on as it comes, of no length that anybody knows."""
    body, kind = multipart(*ct(5).files)
    pieces = (body[start : start + 999] for start in range(0, len(body), 999))
    answer = server.ask("POST", "/proxy/dicom/stow/studies", "admin", content=pieces, headers={"Content-Type": kind})
    assert answer.status_code == 200 and "00081199" in answer.json()
    assert list(pacs.series[ct(5).uid].values()) == list(ct(5).files)


@pytest.mark.parametrize("user", ["anna", "rita"])
@pytest.mark.parametrize("way", ["wado/studies", "stow/studies", "stow/studies/1.2"])
def test_nobody_but_an_admin_stores_past_the_checks_of_a_label(server: Server, pacs: Pacs, user: str, way: str):
    """A forged label, a slice in another's CT, an instance larger than Orthanc's memory."""
    body, kind = multipart(*ct(5).files)
    answer = server.ask("POST", f"/proxy/dicom/{way}", user, content=body, headers={"Content-Type": kind})
    assert answer.status_code == 403 and "takes the role admin" in answer.json()["detail"]
    assert pacs.series == {} and pacs.requests("POST", ".*") == []


@pytest.mark.parametrize("said", [True, False], ids=["of a length that is said", "of no length"])
def test_more_than_orthancs_memory_takes_is_not_stored(server: Server, pacs: Pacs, monkeypatch, said: bool):
    monkeypatch.setattr(dicomweb_proxy, "_MOST_STORED", 10_000)
    body, kind = multipart(*ct(5).files)
    pieces = body if said else (body[start : start + 999] for start in range(0, len(body), 999))
    answer = server.ask("POST", "/proxy/dicom/stow/studies", "admin", content=pieces, headers={"Content-Type": kind})
    assert answer.status_code == 413 and "one instance after another" in answer.json()["detail"]
    assert pacs.series == {}


@pytest.mark.parametrize("status", [401, 404, 500])
def test_an_error_of_the_server_is_passed_on(server: Server, pacs: Pacs, status: int):
    pacs.status = status
    assert server.ask("GET", "/proxy/dicom/qido/studies", "anna").status_code == status


def test_a_question_that_is_in_conflict_with_another_is_asked_again(server: Server, image: Ct, pacs: Pacs):
    """Orthanc says so to one of two who ask for the headers of a new series at the same time."""
    pacs.conflicts = 3
    assert server.ask("GET", "/proxy/dicom/wado/studies", "anna").status_code == 200
    pacs.conflicts = 3
    assert server.ask("GET", f"/datastore/image?image={image.uid}", "anna").status_code == 200
    assert pacs.conflicts == 0
    pacs.conflicts = 100
    assert server.ask("GET", "/proxy/dicom/wado/studies", "anna").status_code == 409


def test_a_server_that_is_away_is_503(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(settings, "MONAI_LABEL_STUDIES", "http://127.0.0.1:9/dicom-web")
    answer = server.ask("GET", "/proxy/dicom/qido/studies?PatientName=secret", "anna")
    assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
    assert answer.json() == {"detail": "The DICOMweb server does not answer"}


class _Slow(BaseHTTPRequestHandler):
    go = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"first ")
        self.go.wait(5)
        self.wfile.write(b"last")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def slow() -> Iterator[str]:
    """A DICOMweb server that sends half an answer and waits."""
    _Slow.go.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Slow)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_answer_is_passed_on_while_it_comes(slow: str, monkeypatch: pytest.MonkeyPatch):
    """A study of a gigabyte is not held in memory. The test client itself gathers answers: ask the function."""
    monkeypatch.setattr(settings, "MONAI_LABEL_STUDIES", slow)
    sent: list[bytes] = []

    async def send(message: dict[str, Any]) -> None:
        if message.get("body"):
            sent.append(message["body"])
            _Slow.go.set()

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(10)
        return {"type": "http.disconnect"}

    async def forward() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", "server": ("x", 80)}
        scope |= {"path_params": {"path": "studies"}, "scheme": "http"}
        answer = await dicomweb_proxy._forward(Request(scope, receive))
        await answer(scope, receive, send)

    asyncio.run(forward())
    assert sent == [b"first ", b"last"]


def test_headers_and_queries_of_any_bytes_are_answered(server: Server, image: Ct):
    for header in ("Accept", "Content-Type", "Range"):
        answer = server.ask("GET", "/proxy/dicom/qido/studies", "anna", headers={header: b"\xe9\xff"})
        assert answer.status_code == 200, answer.text
    assert server.ask("GET", "/proxy/dicom/qido/studies?PatientName=%ff%00", "anna").status_code == 200
    answer = server.ask("GET", "/proxy/dicom/qido/studies?PatientName=" + '"' * 25_000, "anna")
    assert (answer.status_code, answer.json()["detail"]) == (414, "The query is too long")

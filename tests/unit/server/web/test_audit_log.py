"""Who did what: each request is recorded as it was answered, and nothing of what a client says gets into a record."""

import logging
import os
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from label_server import audit
from label_server.audit import Kind, Trail
from label_server.web import audit_actions, audit_log, routes
from label_server.web.audit_log import Audit
from label_server.web.gateway import Gateway
from tests.support import web
from tests.support.ct import Ct
from tests.support.web import Server

KEYS = ["time", "user", "role", "address", "action", "study", "series", "outcome", "milliseconds", "request"]


def records(folder: Path, **asked: str) -> list[dict[str, Any]]:
    return list(audit.records(audit.folder_of(folder), **asked))


def told(folder: Path) -> list[tuple[Any, ...]]:
    return [tuple(each[key] for key in ("user", "action", "series", "outcome")) for each in records(folder)]


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Server]:
    """The gateway in front of an application that answers anything."""

    async def answer(request: Any) -> PlainTextResponse:
        return PlainTextResponse("x", 404 if "missing" in str(request.url) else 200)

    inner = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "HEAD", "POST", "PUT", "DELETE"])])
    trail = Trail(audit.folder_of(tmp_path))
    app = Gateway(inner, web.users(tmp_path), False, audit=Audit(trail, {"1.2": "9.9"}.get))
    with TestClient(app) as client:
        yield Server(client)


def test_a_record_says_who_what_when_from_where_and_how_it_ended(server: Server, image: Ct, tmp_path: Path):
    server.image(image.uid)
    assert server.submit(image.uid, np.ones(image.shape)).status_code == 200
    submitted = records(tmp_path)[-1]
    assert list(submitted) == KEYS
    assert re.fullmatch("[0-9a-f]{16}", submitted["request"])
    assert submitted | {"time": "", "milliseconds": 0, "request": ""} == {
        **{"time": "", "user": "anna", "role": "annotator", "address": "testclient", "action": "submit label"},
        **{"study": image.study_uid, "series": image.uid, "outcome": 200, "milliseconds": 0, "request": ""},
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", submitted["time"])
    assert submitted["milliseconds"] > 0


def test_every_endpoint_that_is_open_has_a_word_or_needs_none():
    named = {*audit_actions.ENDPOINTS, *audit_actions.UNRECORDED}
    endpoints = routes.ENDPOINTS | routes.WHOLE_SLIDES
    assert {f"{method} {path}" for method, path in endpoints} == named
    for method, path in endpoints:
        asked = re.sub(r"\{\w+\}", "x", path)
        for form in (asked, asked.rstrip("/")):
            words = audit_actions.action(method, form).words
            assert words != "other" and (words == "ask") == (f"{method} {path}" in audit_actions.UNRECORDED), form


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", "/proxy/dicom/wado/studies/1.2/series/1.2.3/instances/4/frames/1", "DICOMweb read"),
        ("GET", "/proxy/dicom/wado/studies/1.2/series/1.2.3/metadata", "DICOMweb read"),
        ("GET", "/proxy/dicom/wado/studies/1.2", "DICOMweb read"),
        ("GET", "/proxy/dicom/qido/studies", "DICOMweb search"),
        ("GET", "/proxy/dicom/qido/studies/1.2/series", "DICOMweb search"),
        ("POST", "/proxy/dicom/stow/studies", "DICOMweb store"),
        ("POST", "/infer/deepgrow_2d", "infer"),
        ("GET", "/ohif/index.html", "other"),
        ("GET", "/made/up", "other"),
    ],
)
def test_an_action_has_a_fixed_word(method: str, path: str, action: str):
    assert audit_actions.action(method, path).words == action


def test_what_dicomweb_reads_is_of_a_study_and_series(gate: Server, tmp_path: Path):
    gate.ask("GET", "/proxy/dicom/wado/studies/1.2/series/1.2.3/metadata", "anna")
    (record,) = records(tmp_path)
    assert (record["study"], record["series"], record["action"]) == ("1.2", "1.2.3", "DICOMweb read")
    assert [record["user"] for record in records(tmp_path, study="1.2")] == ["anna"]


def test_a_series_of_hundreds_of_frames_is_one_line_and_a_sum(gate: Server, tmp_path: Path, monkeypatch):
    for frame in range(1, 301):
        gate.ask("GET", f"/proxy/dicom/wado/studies/1.2/series/1.2.3/instances/{frame}/frames/1", "anna")
    gate.ask("GET", "/proxy/dicom/wado/studies/1.2/series/1.2.3/instances/1/frames/1", "berta")
    assert [(each["user"], each.get("times")) for each in records(tmp_path)] == [("anna", None), ("berta", None)]
    monkeypatch.setattr(audit_log.time, "monotonic", lambda: 1e9)
    gate.ask("GET", "/datastore/image?image=1.2", "anna")
    assert [(each["user"], each.get("times")) for each in records(tmp_path)] == [
        *(("anna", None), ("berta", None), ("anna", 299), ("anna", None))
    ]


def test_sums_are_written_when_the_server_ends(tmp_path: Path):
    app = Gateway(
        Starlette(), web.users(tmp_path), False, audit=Audit(Trail(audit.folder_of(tmp_path)), lambda _: None)
    )
    with TestClient(app) as client:
        for _ in range(5):
            client.get("/info/")
    assert [each.get("times") for each in records(tmp_path)] == [None, 4]


def test_each_change_has_a_line_of_its_own(gate: Server, tmp_path: Path):
    for _ in range(3):
        gate.ask("DELETE", "/datastore/label?id=1.2&tag=final", "admin")
    assert told(tmp_path) == [("admin", "delete label", "1.2", 200)] * 3
    assert {each["study"] for each in records(tmp_path)} == {"9.9"}


def test_a_refused_login_tells_the_address_and_nothing_that_was_said(gate: Server, tmp_path: Path):
    for number in range(40):
        gate.ask("GET", f"/a-mistyped-token-{number}/datastore/image?image=1.2")
        gate.ask("GET", "/info/", token=f"a-mistyped-token-{number}")
    assert told(tmp_path) == [("-", "login", None, 401)]
    assert (tmp_path / "audit" / "refusals.jsonl").stat().st_size < 300
    assert "mistyped" not in "".join(path.read_text() for path in (tmp_path / "audit").iterdir())


def test_a_flood_of_made_up_names_by_a_user_makes_one_line(gate: Server, tmp_path: Path):
    for number in range(200):
        gate.ask("GET", f"/datastore/image?image=1.{number}&x=missing", "anna")
        gate.ask("GET", f"/made/up/{number}/missing", "anna")
    assert [(each["action"], each["outcome"]) for each in records(tmp_path)] == [("open image", 404), ("other", 404)]


@pytest.mark.parametrize(
    "value", ["Doe%5EJane", "Doe_Jane", "1.2%0Aforged", "%7B%22user%22:1%7D", "1.2%E2%80%A8x", "1" * 80, "../x", "%00"]
)
def test_no_word_of_a_client_gets_into_a_record_of_what_was_refused(gate: Server, tmp_path: Path, value: str):
    gate.ask("GET", f"/datastore/image?image={value}&x=missing", "anna")
    gate.ask("PUT", f"/datastore/label?image={value}&tag={value}&x=missing", "anna", data={"params": value})
    gate.ask(
        "GET",
        f"/{value}/missing?patient={value}",
        "anna",
        headers={"User-Agent": "forged", "X-Forwarded-For": "x", "X-Request-ID": "forged-number"},
    )
    found = records(tmp_path)
    assert len(found) == 3 and {each["series"] for each in found} == {None}
    assert all(re.fullmatch("[0-9a-f]{16}", each.pop("request")) for each in found)
    fixed = {"user", "anna", "role", "annotator", "testclient", "open image", "submit label", "other"}
    assert {word for each in found for word in each.values() if isinstance(word, str) and "T" not in word} <= fixed


def test_an_image_of_a_folder_has_the_name_of_its_file_if_it_was_found(gate: Server, tmp_path: Path):
    gate.ask("GET", "/datastore/image?image=LUNG_001", "anna")
    gate.ask("GET", "/datastore/image?image=Doe%5EJane", "anna")
    assert [each["series"] for each in records(tmp_path)] == ["LUNG_001", None]


def test_a_role_that_is_not_enough_is_recorded(server: Server, tmp_path: Path):
    assert server.ask("DELETE", "/datastore/label?id=1.2&tag=final", "anna").status_code == 403
    assert told(tmp_path) == [("anna", "delete label", "1.2", 403)]


def test_questions_about_the_server_are_not_recorded(server: Server, tmp_path: Path):
    for path in ("/info/", "/", "/readyz", "/train/", "/healthz", "/ohif/"):
        server.ask("GET", path, "anna")
    assert records(tmp_path) == []


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """The disk is full until the list is empty."""
    write, full = os.write, [True]
    monkeypatch.setattr(os, "write", lambda file, content: 0 if full else write(file, content))
    return full


def test_nothing_is_changed_that_cannot_be_recorded(gate: Server, tmp_path: Path, full, caplog):
    caplog.set_level(logging.ERROR)
    assert gate.ask("GET", "/datastore/image?image=1.2", "anna").status_code == 200, "reading goes on"
    assert "cannot be written, No space left on device: user anna" in caplog.text
    answer = gate.ask("PUT", "/datastore/label?image=1.2", "anna")
    assert answer.status_code == 503 and "audit log" in answer.json()["detail"]
    assert gate.ask("GET", "/healthz").status_code == 200
    full.clear()
    assert gate.ask("PUT", "/datastore/label?image=1.2", "anna").status_code == 200
    assert [each["action"] for each in records(tmp_path)] == [audit.LOST, "submit label"]


def test_addresses_without_number_do_not_fill_the_memory(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(audit_log, "_MOST_ALIKE", 50)
    known = audit_log.Alike()
    for number in range(500):
        list(known.over())
        known.first((number,), Kind.REFUSAL, {})
    assert len(known._seen) <= 51


@pytest.mark.parametrize("lasting", ["", "records/servers/pod"])
def test_the_running_server_has_an_audit_log_in_what_lasts_of_it(lasting: str, tmp_path: Path, monkeypatch):
    from label_server.web import asgi

    monkeypatch.setenv("WORKSPACE", str(tmp_path))
    monkeypatch.setenv("LASTING", lasting and str(tmp_path / lasting))
    audited = runpy.run_path(asgi.__file__)["app"]._audit
    assert isinstance(audited, Audit) and audited._trail._folder == tmp_path / lasting / "audit"

"""The number of a request: from a trusted proxy or made here, in the answer, the logs, the audit log and at Orthanc."""

import json
import logging
import logging.config
import re
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import monailabel
import numpy as np
import pytest
from starlette.testclient import TestClient

from label_server import audit, logs, request_id
from label_server.web import gateway
from label_server.web.gateway import Gateway
from tests.support import web
from tests.support.ct import Ct
from tests.support.dicomweb import Pacs
from tests.support.web import Server

NUMBER = "of-the-door-0001"


@pytest.fixture
def behind(label_app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Server]:
    """The label server, asked from an address; the proxy at 10.0.0.5 is trusted."""
    monkeypatch.setattr(gateway, "TRUSTED_PROXIES", (ip_network("10.0.0.5"),))
    app = Gateway(web.application(), web.users(tmp_path), False, audit=web.audit(tmp_path))
    return lambda peer: Server(TestClient(app, client=(peer, 1)))


@pytest.fixture(params=["text", "json"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    """The lines of the server's log so far, in either format."""
    upstreams = Path(monailabel.__file__).with_name("logging.json").read_text()
    log = tmp_path / "app.log"
    config = logs.formatted(json.loads(upstreams.replace("${LOGFILE}", str(log))), request.param)
    root, factory = logging.getLogger(), logging.getLogRecordFactory()
    before = root.level, list(root.handlers)
    logging.setLogRecordFactory(logs.PlainRecord)
    logging.config.dictConfig(config | {"loggers": {}})
    yield lambda: log.read_text().splitlines()
    logging.setLogRecordFactory(factory)
    root.handlers, root.level = before[1], before[0]


def asked(server: Server, *numbers: str | bytes, path: str = "/info/", user: str = "anna") -> str:
    """The number that the answer names."""
    headers = [("X-Request-ID", each) for each in numbers] + [("Authorization", f"Bearer {web.TOKENS[user]}")]
    return str(server.client.request("GET", path, headers=headers).headers["X-Request-ID"])


def test_a_trusted_proxys_number_is_taken(behind):
    assert asked(behind("10.0.0.5"), NUMBER) == NUMBER


def test_what_a_client_names_itself_is_not(behind):
    made = [asked(behind("192.0.2.7"), NUMBER) for _ in range(2)]
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in made) and made[0] != made[1]


@pytest.mark.parametrize(
    "number",
    [
        "",
        "short",
        "x" * 65,
        "two words here",
        "a,b,c,d,e,f",
        'quote"quote"',
        "{percent}%s%s",
        "größe-größe",
        "-leading-dash",
    ],
    ids=range(9),
)
def test_odd_characters_are_not_taken_from_a_proxy_either(behind, number: str):
    assert re.fullmatch("[0-9a-f]{16}", asked(behind("10.0.0.5"), number.encode("latin-1")))


def test_of_two_numbers_none_is_taken(behind):
    assert asked(behind("10.0.0.5"), NUMBER, "of-the-client-1") not in (NUMBER, "of-the-client-1")


@pytest.mark.parametrize(
    ("path", "user", "status"), [("/info/", "", 401), ("/%2e%2e/x", "anna", 400), ("/x", "anna", 404)]
)
def test_what_is_refused_has_one_too(server: Server, path: str, user: str, status: int):
    answer = server.ask("GET", path, user)
    assert answer.status_code == status and len(answer.headers["X-Request-ID"]) == 16


def test_every_line_of_a_request_ends_with_it_or_has_it(behind, written, image: Ct):
    server = behind("10.0.0.5")
    asked(server, NUMBER, path=f"/datastore/image?image={image.uid}")
    asked(server, "another-request", path="/datastore/image?image=1.2.3.4")
    logging.getLogger("label_server").warning("of nobody's request")
    lines = written()
    *told, last = [json.loads(line) for line in lines] if lines[0].startswith("{") else lines
    found = [each["request"] if isinstance(each, dict) else re.search(r" \[([^\]]+)\]$", each)[1] for each in told]
    assert found.count(NUMBER) >= 2 and found.count("another-request") >= 2, "the thread's and the gate's"
    assert set(found) == {NUMBER, "another-request"}
    assert last["request"] == "-" if isinstance(last, dict) else last.endswith(" [-]")


def test_a_line_of_json_has_what_it_says_in_parts_and_nobody_forges_one():
    record = logs.PlainRecord("label_server.x", logging.WARNING, "x.py", 1, 'a "b"\n{"level": "ERROR"}\u2028', (), None)
    line = logs.JsonLines().format(record)
    assert line.isascii() and line.isprintable()
    told = json.loads(line)
    assert list(told) == ["time", "level", "logger", "message", "request"]
    assert (told["level"], told["logger"], told["request"]) == ("WARNING", "label_server.x", "-")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", told["time"])


def test_an_exception_is_part_of_its_line_of_json():
    try:
        raise ValueError("what was wrong")
    except ValueError as error:
        about = (ValueError, error, error.__traceback__)
        record = logs.PlainRecord("x", logging.ERROR, "x.py", 1, "failed", (), about)
    told = json.loads(logs.JsonLines().format(record))
    assert told["message"] == "failed" and "builtins.ValueError: what was wrong" in told["exception"]


def test_the_lines_of_a_training_are_passed_on_as_they_are():
    config = {"formatters": {"single": {"format": "%(message)s"}, "simple": {"format": "[%(levelname)s] %(message)s"}}}
    made = logs.formatted(config, "text")["formatters"]
    assert made["single"]["format"] == "%(message)s" and made["simple"]["format"].endswith(" [%(request)s]")


def test_the_audit_log_has_it(behind, image: Ct, tmp_path: Path):
    server = behind("10.0.0.5")
    asked(server, NUMBER, path=f"/datastore/image?image={image.uid}")
    server.client.get("/info/", headers={"X-Request-ID": "of-a-stranger"})
    found = [each["request"] for each in audit.records(audit.folder_of(tmp_path))]
    assert found == [NUMBER, "of-a-stranger"]


def test_orthanc_gets_it_with_all_that_is_asked_for_a_request(behind, image: Ct, pacs: Pacs):
    server = behind("10.0.0.5")
    asked(server, "request-number-1", path=f"/datastore/image?image={image.uid}")
    asked(server, "request-number-2", path=f"/proxy/dicom/wado/studies/{image.study_uid}/series/{image.uid}/metadata")
    sent = [each.headers.get("x-request-id") for each in pacs.asked if "/series/" in each.path]
    assert {"request-number-1", "request-number-2"} <= set(sent)
    del pacs.asked[:]
    answer = server.submit(image.uid, np.zeros(image.shape), **{"X-Request-ID": "request-number-3"})
    assert answer.status_code == 200
    assert {each.headers["x-request-id"] for each in pacs.requests("POST", ".*/studies.*")} == {"request-number-3"}


def test_outside_of_a_request_there_is_none():
    assert request_id.current.get() == ""

"""Who may ask the stack's Orthanc for what: a person everything, the label server DICOMweb and the names of series."""

import base64
import http.client
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.support.clone import Clone
from tests.support.pacs import Pacs

Ask = Callable[..., int]
STORE = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=part'}
# What is not for the label server, plainly and in disguise.
CLOSED = [
    ("GET", "/"),
    ("GET", "/system"),
    ("GET", "/app/explorer.html"),
    ("GET", "/instances"),
    ("GET", "/changes/1"),
    ("DELETE", "/changes"),
    ("GET", "/statistics/"),
    ("GET", "/dicom-web/servers"),
    ("GET", "/system?/dicom-web/studies"),
    ("GET", "/dicom-web/../system"),
    ("GET", "/dicom-web/%2e%2e/system"),
    ("GET", "/dicom-web/..%2fsystem"),
    ("GET", "/dicom-web/%252e%252e/system"),
    ("GET", "/dicom-web/studies/../../system"),
    ("GET", "/dicom-web/studies/%2e%2e/%2E%2E/system"),
    ("GET", "/dicom-web/studies/..\\..\\system"),
    ("GET", "//system"),
    ("POST", "/instances"),
    ("POST", "/tools/execute-script"),
    ("POST", "/tools/find"),
    ("POST", "/tools/reset"),
    ("POST", "/tools/shutdown"),
    ("POST", "/dicom-web/studies/../../tools/find"),
    ("POST", "/dicom-web/studies/1.2/series/3.4"),
    ("PUT", "/dicom-web/studies/1.2"),
    ("DELETE", "/dicom-web/studies/1.2"),
    ("DELETE", "/patients/1"),
    ("GET", "/dicom-web/studies?_method=DELETE"),
]


@pytest.fixture
def ask(stack: Clone) -> Ask:
    """Ask Orthanc, byte for byte; returns the status."""
    users = json.loads((stack.root / "secrets" / "orthanc_users.json").read_text())["RegisteredUsers"]

    def run(user: str, method: str, path: str, body: bytes = b"", password: str = "", **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", int(stack.environment["ORTHANC_PORT"]), timeout=20)
        connection.putrequest(method, path, skip_accept_encoding=True)
        if user:
            login = base64.b64encode(f"{user}:{password or users[user]}".encode()).decode()
            headers["Authorization"] = f"Basic {login}"
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return connection.getresponse().status

    return run


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_the_label_server_is_kept_to_what_it_needs(ask: Ask, method: str, path: str):
    assert ask("label-server", method, path) == 403


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-Http-Method-Override"])
def test_a_method_in_disguise_is_the_method_that_counts(ask: Ask, name: str):
    assert ask("label-server", "POST", "/dicom-web/studies/1.2", **{name: "DELETE"}) == 403


@pytest.mark.parametrize(("method", "path"), [*CLOSED, ("GET", "/dicom-web/studies"), ("POST", "/dicom-web/studies")])
def test_without_a_login_or_with_a_wrong_one_every_door_is_closed(ask: Ask, method: str, path: str):
    assert ask("", method, path) == 401
    assert ask("label-server", method, path, password="guessed") == 401


def test_the_label_server_reads_and_stores(ask: Ask, pacs: Pacs, data: Path):
    file = sorted((data / "chest-ct-mini").rglob("*.dcm"))[0]
    header = pydicom.dcmread(file, stop_before_pixels=True)
    part = b"--part\r\nContent-Type: application/dicom\r\n\r\n" + file.read_bytes() + b"\r\n--part--\r\n"
    study = f"/dicom-web/studies/{header.StudyInstanceUID}"
    series = f"{study}/series/{header.SeriesInstanceUID}"
    instance = f"{series}/instances/{header.SOPInstanceUID}"
    for path in ("/dicom-web/studies", study):
        assert ask("label-server", "POST", path, part, **STORE) == 200
    reads = ["/dicom-web/studies?limit=1", "/dicom-web/series", "/dicom-web/instances", study, f"{study}/series"]
    (name,) = pacs.session.get(f"{pacs.url}/series", timeout=20).json()
    reads += [
        "/changes?last",
        "/statistics",
        "/series",
        f"/series/{name}",
        f"{series}/metadata",
        f"{instance}/frames/1",
        f"{instance}/bulk/7fe00010",
    ]
    assert {path: ask("label-server", "GET", path) for path in reads} == dict.fromkeys(reads, 200)


def test_a_person_may_do_everything(ask: Ask, pacs: Pacs):
    for path in ("/system", "/app/explorer.html", "/changes", "/dicom-web/servers"):
        assert ask("labelpod", "GET", path) == 200
    assert ask("labelpod", "POST", "/tools/find", b'{"Level": "Study", "Query": {}}') == 200


def test_not_even_a_person_may_run_scripts_or_write_files_on_the_server(ask: Ask):
    assert ask("labelpod", "POST", "/tools/execute-script", b"return 1") == 403
    assert ask("labelpod", "PROPFIND", "/webdav/") in (400, 403, 404, 405)


def test_orthanc_knows_nobody_else(stack: Clone):
    settings = stack.run_in("orthanc", "cat", "/etc/orthanc/users.json")
    assert set(json.loads(settings)["RegisteredUsers"]) == {"labelpod", "label-server"}
    assert "PASSWORD" not in stack.run_in("orthanc", "bash", "-c", "env")


def test_the_label_server_deletes_labels_of_its_own_and_nothing_else(ask: Ask, pacs: Pacs, annotator, ct: str):
    image = annotator.image(ct)
    annotator.submit(ct, image, np.zeros(image.GetSize()[::-1], np.uint8))
    for kind, status in (("CT", 403), ("SEG", 200)):
        found = pacs.session.post(
            f"{pacs.url}/tools/find", json={"Level": "Series", "Query": {"Modality": kind}}
        ).json()
        assert [ask("label-server", "DELETE", f"/series/{each}") for each in found] == [status], kind
    assert len(pacs.series("CT")) == 1 and pacs.series("SEG") == []

"""Who may ask the stack's Orthanc for what: a person everything, the label server DICOMweb and the names of series."""

import base64
import http.client
import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    ("POST", "/tools/bulk-delete"),
    ("POST", "/tools/reset"),
    ("POST", "/tools/shutdown"),
    ("POST", "/dicom-web/studies/../../tools/bulk-delete"),
    ("POST", "/dicom-web/studies/1.2/series/3.4"),
    ("PUT", "/dicom-web/studies/1.2"),
    ("DELETE", "/dicom-web/studies/1.2"),
    ("DELETE", "/patients/1"),
    ("GET", "/dicom-web/studies?_method=DELETE"),
    ("PUT", "/series/1/metadata/RemoteAET"),
    ("PUT", "/series/1/metadata/1098"),
    ("GET", "/series/1/metadata/labelpod-lease-2"),
    ("GET", "/series/1/metadata"),
    ("PUT", "/studies/1/metadata/labelpod-lease"),
    ("POST", "/series/1/metadata/labelpod-lease"),
    ("DELETE", "/series/1/metadata/labelpod-review"),
    ("DELETE", "/series/1/metadata/labelpod-confirmed"),
]


FIND = b'{"Level": "Series", "Query": {}}'


@pytest.fixture
def ask(stack: Clone) -> Ask:
    """Ask Orthanc, byte for byte; returns the status."""
    users = json.loads((stack.root / "secrets" / "orthanc_users.json").read_text())["RegisteredUsers"]

    def run(user: str, method: str, path: str, body: bytes | None = b"", password: str = "", **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", int(stack.environment["ORTHANC_PORT"]), timeout=20)
        connection.putrequest(method, path, skip_accept_encoding=True)
        if user:
            login = base64.b64encode(f"{user}:{password or users[user]}".encode()).decode()
            headers["Authorization"] = f"Basic {login}"
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None:
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
    assert ask("label-server", "POST", "/tools/find", FIND) == 200, "whether all of a series has come"


@pytest.mark.parametrize("name", ["labelpod-lease", "labelpod-review", "labelpod-confirmed"])
def test_of_two_label_servers_that_write_at_once_one_is_refused(
    ask: Ask, stack: Clone, pacs: Pacs, data: Path, name: str
):
    pacs.store(data / "transfer-syntaxes" / "explicit-le.dcm")
    (series,) = pacs.session.get(f"{pacs.url}/series", timeout=20).json()
    address = f"/series/{series}/metadata/{name}"
    assert ask("label-server", "GET", address) == 404, "nobody has written"
    assert [ask("label-server", "PUT", address, each) for each in (b"one", b"two")] == [200, 409]
    seen = pacs.session.get(f"{pacs.url}{address}", timeout=20)
    assert seen.text == "one"
    last = {"If-Match": seen.headers["ETag"]}
    assert [ask("label-server", "PUT", address, each, **last) for each in (b"two", b"three")] == [200, 409]
    assert ask("label-server", "GET", f"/series/0/metadata/{name}") == 404
    assert ask("label-server", "PUT", address, bytes(32769), **last) == 403, "it is long"
    assert ask("label-server", "PUT", address, None, **{"Transfer-Encoding": "chunked"}) == 403


def test_a_person_may_do_everything(ask: Ask, pacs: Pacs):
    for path in ("/system", "/app/explorer.html", "/changes", "/dicom-web/servers"):
        assert ask("labelpod", "GET", path) == 200
    assert ask("labelpod", "POST", "/tools/find", b'{"Level": "Study", "Query": {}}') == 200


# --- a browser that remembers the login, and pages of others ---


@pytest.fixture
def own(stack: Clone) -> str:
    """What a browser says of Orthanc's own pages."""
    return f"http://127.0.0.1:{stack.environment['ORTHANC_PORT']}"


@pytest.mark.parametrize("user", ["labelpod", "label-server"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=["another site", "another port", "a page that hides", "nothing", "said to be another site", "said to be near"],
)
def test_a_page_of_others_changes_and_reads_nothing(ask: Ask, user: str, headers: dict[str, str]):
    text = {"Content-Type": "text/plain"}  # of a form, which no browser asks Orthanc about before
    assert ask(user, "POST", "/tools/lookup", b"1.2.3", **text, **headers) == 403
    assert ask(user, "GET", "/statistics", None, **headers) == 403
    assert ask(user, "POST", "/tools/lookup", b"1.2.3", **text) == 200, "a program"


def test_orthancs_own_pages_and_links_to_them_work(ask: Ask, own: str):
    for origin in (own, own.replace("http:", "https:")):  # a tunnel may speak HTTPS
        headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
        assert ask("labelpod", "POST", "/tools/find", FIND, **headers) == 200
        assert ask("labelpod", "DELETE", "/series/none", None, **headers) == 404
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert ask("labelpod", "GET", "/app/explorer.html", None, **link) == 200
    assert ask("labelpod", "POST", "/tools/find", FIND, **link) == 403


@pytest.mark.parametrize(
    "headers", [{}, {"Sec-Fetch-Site": "none", "Sec-Fetch-Dest": "document"}], ids=["img", "typed"]
)
@pytest.mark.parametrize("method", ["DELETE", "delete", "PUT"])
def test_a_change_that_comes_as_get_is_refused(ask: Ask, pacs: Pacs, data: Path, method: str, headers: dict[str, str]):
    pacs.store(data / "transfer-syntaxes" / "explicit-le.dcm")
    (series,) = pacs.session.get(f"{pacs.url}/series", timeout=20).json()
    assert ask("labelpod", "GET", f"/series/{series}?_method={method}", None, **headers) == 403
    assert ask("labelpod", "GET", f"/series/{series}", None, **{"X-HTTP-Method-Override": method}) == 403
    assert pacs.session.get(f"{pacs.url}/series", timeout=20).json() == [series]


# --- what Orthanc takes in ---


@pytest.mark.parametrize("way", ["/instances", "/dicom-web/studies"])
def test_only_kinds_that_belong_here_are_taken(ask: Ask, pacs: Pacs, data: Path, way: str):
    file = pydicom.dcmread(data / "transfer-syntaxes" / "explicit-le.dcm")
    for kind in ("", "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.66", "1.2.3.4", str(file.SOPClassUID)):
        file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = kind
        file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        content = io.BytesIO()
        file.save_as(content)
        if way == "/instances":
            ask("labelpod", "POST", way, content.getvalue())
        else:
            part = b"--part\r\nContent-Type: application/dicom\r\n\r\n" + content.getvalue() + b"\r\n--part--\r\n"
            ask("label-server", "POST", way, part, **STORE)
    (stored,) = pacs.session.get(f"{pacs.url}/instances", timeout=20).json()
    metadata = pacs.session.get(f"{pacs.url}/instances/{stored}/metadata/SopClassUid", timeout=20).text
    assert metadata == "1.2.840.10008.5.1.4.1.1.2"


def test_more_than_orthancs_memory_takes_is_refused_before_it_is_read(ask: Ask):
    for user in ("labelpod", "label-server"):
        assert ask(user, "POST", "/dicom-web/studies", None, **{"Content-Length": str(513 * 2**20)}) == 403
    assert ask("labelpod", "POST", "/instances", None, **{"Transfer-Encoding": "chunked"}) == 403


def test_not_even_a_person_may_run_scripts_or_write_files_on_the_server(ask: Ask):
    assert ask("labelpod", "POST", "/tools/execute-script", b"return 1") == 403
    assert ask("labelpod", "PROPFIND", "/webdav/") in (400, 403, 404, 405)


def test_orthanc_knows_nobody_else(stack: Clone):
    settings = stack.run_in("orthanc", "cat", "/etc/orthanc/users.json")
    assert set(json.loads(settings)["RegisteredUsers"]) == {"labelpod", "label-server", "monitor"}
    assert "PASSWORD" not in stack.run_in("orthanc", "bash", "-c", "env")


def test_the_label_server_deletes_labels_and_nothing_else_and_its_login_does_not_do(
    ask: Ask, stack: Clone, pacs: Pacs, annotator, ct: str
):
    image = annotator.image(ct)
    annotator.submit(ct, image, np.zeros(image.GetSize()[::-1], np.uint8))
    permit = {"X-Labelpod-Deletion": (stack.root / "secrets" / "label_deletion").read_text()}
    found = {kind: pacs.session.post(f"{pacs.url}/tools/find", json=_of(kind)).json() for kind in ("CT", "SEG")}
    for kind, names in found.items():
        for headers in ({}, {"X-Labelpod-Deletion": ""}, {"X-Labelpod-Deletion": "guessed"}):
            assert [ask("label-server", "DELETE", f"/series/{each}", **headers) for each in names] == [403], kind
    for kind, status in (("CT", 403), ("SEG", 200)):
        assert [ask("label-server", "DELETE", f"/series/{each}", **permit) for each in found[kind]] == [status], kind
    assert len(pacs.series("CT")) == 1 and pacs.series("SEG") == []


def _of(kind: str) -> dict:
    return {"Level": "Series", "Query": {"Modality": kind}}


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("dcmsend"), reason="needs root, and dcmsend of package dcmtk")
def test_the_label_server_cannot_send_over_dicom(stack: Clone, pacs: Pacs, data: Path):
    """As somebody would who has gained control of it; the port of this machine takes the same file."""
    file = next((data / "chest-ct-mini").rglob("*.dcm"))
    label_server, orthanc = inspected(stack, "label-server"), inspected(stack, "orthanc")
    (network,) = set(label_server["NetworkSettings"]["Networks"])
    address = orthanc["NetworkSettings"]["Networks"][network]["IPAddress"]
    inside = ["nsenter", "--net", "--target", str(label_server["State"]["Pid"])]
    send = ["dcmsend", "--call", "LABELPOD", address, "4242", str(file)]
    assert subprocess.run([*inside, *send], check=False).returncode == 0, "the port is reached"
    assert pacs.series("CT") == []
    send[3:5] = ["127.0.0.1", stack.environment["DICOM_PORT"]]
    assert subprocess.run(send, check=False).returncode == 0 and len(pacs.series("CT")) == 1


def inspected(stack: Clone, service: str) -> dict[str, Any]:
    """What Docker knows of a service's container."""
    identity = stack.compose("ps", "-q", service).stdout.strip()
    return dict(json.loads(subprocess.run(["docker", "inspect", identity], capture_output=True, check=True).stdout)[0])

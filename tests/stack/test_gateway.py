"""The gateway: nobody in without a token, each user as far as the role goes, and none may take more than a share."""

import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.stack.test_models import MAKE_WEIGHTS
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.waiting import eventually

SERVER = "label-server"
NODULE = [181, 285, 25]
HTML = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture(scope="module")
def base(running: Clone) -> str:
    return f"http://127.0.0.1:{running.environment['LABEL_SERVER_PORT']}"


@pytest.fixture(scope="module")
def token(running: Clone) -> str:
    return running.environment["LABEL_SERVER_TOKEN"]


@pytest.fixture(scope="module")
def people(running: Clone) -> Iterator[dict[str, str]]:
    """One user of each role; role -> token."""
    tokens = {"admin": running.environment["LABEL_SERVER_TOKEN"]}
    for role in ("annotator", "reviewer"):
        tokens[role] = json.loads(running.done("users", "add", f"test-{role}", "--role", role, "--json"))["token"]
    time.sleep(1.5)
    yield tokens
    for role in ("annotator", "reviewer"):
        running.done("users", "revoke", f"test-{role}")


def ask(method: str, url: str, token: str = "", **arguments) -> requests.Response:
    headers = arguments.pop("headers", {}) | ({"Authorization": f"Bearer {token}"} if token else {})
    return requests.request(method, url, headers=headers, timeout=60, allow_redirects=False, **arguments)


# --- credentials ---


def test_without_a_token_nothing_but_healthz_answers(base: str, token: str):
    operations = ask("GET", f"{base}/openapi.json", token).json()["paths"]
    asked = [(method, path) for path, methods in operations.items() for method in methods]
    asked += [("get", path) for path in ("/", "/ohif/", "/ohif/app-config.js", "/readyz", "/docs", "/static/", "/x")]
    asked += [("get", "/proxy/dicom/qido/studies"), ("post", "/proxy/dicom/stow/studies"), ("post", "/reload")]
    answers = [(method, ask(method, f"{base}{path}")) for method, path in asked]
    assert len(asked) > 40
    # One answer for all: whether a place exists is not told. Many failures of one address end in 429.
    assert {answer.status_code for _, answer in answers} <= {401, 429}
    texts = {answer.text for method, answer in answers if method != "head"}  # to HEAD, the answer has none
    assert len(texts) == 1, texts
    assert ask("GET", f"{base}/healthz").status_code == 200


def test_the_token_is_taken_in_the_path_and_as_bearer(base: str, token: str):
    assert ask("GET", f"{base}/{token}/info/").status_code == 200
    assert ask("GET", f"{base}/{token}/info").status_code == 200
    assert ask("GET", f"{base}/info/", token).status_code == 200
    assert ask("GET", f"{base}/info/", token[:-1]).status_code in (401, 429)
    assert ask("GET", f"{base}/{token[:-1]}x/info/").status_code in (401, 429)


def test_a_browser_gets_a_cookie_and_an_address_without_the_token(base: str, token: str):
    answer = ask("GET", f"{base}/{token}/ohif/viewer?StudyInstanceUIDs=1.2.3", headers=HTML)
    assert answer.status_code == 303 and answer.headers["Location"] == "/ohif/viewer?StudyInstanceUIDs=1.2.3"
    cookie = next(each for each in answer.raw.headers.getlist("set-cookie") if each.startswith("labelpod-"))
    flags = {flag.strip().lower() for flag in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= flags and "secure" not in flags and token not in cookie
    assert ask("GET", f"{base}/info/", headers={"Cookie": cookie.partition(";")[0]}).status_code == 200


def test_nobody_but_a_trusted_proxy_says_that_a_browser_speaks_https(base: str, token: str):
    answer = ask("GET", f"{base}/{token}/", headers=HTML | {"X-Forwarded-Proto": "https"})
    assert not any("secure" in each.lower() for each in answer.raw.headers.getlist("set-cookie"))
    assert "strict-transport-security" not in answer.headers


def test_pages_of_other_origins_cannot_use_the_cookie_to_change_anything(base: str, token: str):
    answer = ask("GET", f"{base}/{token}/", headers=HTML)
    cookie = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
    assert ask("POST", f"{base}/activelearning/random", headers=cookie | {"Origin": base}).status_code == 200
    for foreign in ({"Origin": "http://127.0.0.1:9"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}):
        assert ask("POST", f"{base}/activelearning/random", headers=cookie | foreign).status_code in (401, 429), foreign


def test_no_other_origin_is_invited(base: str, token: str):
    answer = ask("GET", f"{base}/info/", token, headers={"Origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    assert ask("OPTIONS", f"{base}/info/", token, headers={"Origin": "http://evil.example"}).status_code >= 400


def test_wrong_tokens_are_rate_limited_by_address(base: str, token: str):
    statuses = [ask("GET", f"{base}/info/", f"wrong-{number}").status_code for number in range(40)]
    assert statuses[-1] == 429
    assert ask("GET", f"{base}/info/", token).status_code == 200


def test_no_token_and_no_password_stands_in_a_log_or_in_docker_inspect(stack: Clone, base: str, people: dict[str, str]):
    mistyped = "a-token-with-one-letter-wrong-1234567"
    ask("GET", f"{base}/{mistyped}/info/")
    ask("GET", f"{base}/info/?token={mistyped}", mistyped)
    ask("GET", f"{base}/{people['annotator']}/ohif/..%2f..%2fx", headers=HTML)
    ask("GET", f"{base}/{people['admin']}/info/")
    secrets = [*people.values(), mistyped, stack.environment["ORTHANC_PASSWORD"]]
    containers = stack.compose("ps", "-q").stdout.split()
    shown = subprocess.run(["docker", "inspect", *containers], capture_output=True, text=True, check=True).stdout
    shown += stack.compose("logs").stdout + stack.compose("config").stdout
    shown += stack.run_in(SERVER, "bash", "-c", "cat /workspace/radiology/logs/app.log*; ps -eo args")
    for image in ("labelpod/label-server:local", "labelpod/orthanc:local"):
        history = ["docker", "history", "--no-trunc", image]
        shown += subprocess.run(history, capture_output=True, text=True, check=True).stdout
    assert "/info/ 200" in shown
    for secret in secrets:
        assert secret not in shown


# --- users and roles ---

ROLES = [
    ("GET", "/info/", "annotator"),
    ("GET", "/train/", "annotator"),
    ("POST", "/activelearning/random", "annotator"),
    ("GET", "/proxy/dicom/qido/studies?limit=1", "annotator"),
    ("PUT", "/datastore/label/info?label=1.2.3&tag=final", "reviewer"),
    ("PUT", "/datastore/updatelabelinfo?label=1.2.3&tag=final", "reviewer"),
    ("POST", "/train/no_such_trainer", "admin"),
    ("DELETE", "/train/", "admin"),
    ("GET", "/model/no_such_model", "admin"),
    ("PUT", "/model/no_such_model", "admin"),
    ("DELETE", "/model/no_such_model", "admin"),
    ("DELETE", "/datastore/label?id=1.2.3&tag=none", "admin"),
    ("DELETE", "/datastore/image?id=1.2.3", "admin"),
    ("POST", "/batch/infer/no_such_model", "admin"),
    ("GET", "/logs/", "admin"),
]
RANKS = ("annotator", "reviewer", "admin")


@pytest.mark.parametrize("method, path, needed", ROLES)
def test_each_role_goes_as_far_as_it_should(base, people, method, path, needed):
    for role in RANKS:
        status = ask(method, f"{base}{path}", people[role]).status_code
        if RANKS.index(role) < RANKS.index(needed):
            assert status == 403, role
        else:
            assert status not in (401, 403) and status < 500, (role, status)


def test_users_come_and_go_within_5_seconds_without_a_restart(stack: Clone, base: str):
    started = stack.compose("ps", "--format", "{{.RunningFor}}").stdout
    token = json.loads(stack.done("users", "add", "anna", "--json"))["token"]
    eventually(lambda: ask("GET", f"{base}/info/", token).status_code == 200, 5, "a new user is let in")
    assert "anna" in stack.done("users", "list") and token not in stack.done("users", "list", "--json")
    stack.done("users", "revoke", "anna")
    eventually(lambda: ask("GET", f"{base}/info/", token).status_code in (401, 429), 5, "a revoked user stays out")
    assert started and stack.compose("ps", "-q").stdout


def test_the_users_name_stands_in_the_log_and_with_the_label(stack: Clone, base: str, people, ct: str):
    annotator = Annotator(f"{base}/{people['annotator']}")
    image = annotator.image(ct)
    voxels = np.zeros(image.GetSize()[::-1], np.uint8)
    voxels[10:12, 100:110, 100:110] = 1
    annotator.submit(ct, image, voxels, user="somebody else")
    info = ask("GET", f"{base}/datastore/label/info?label={ct}&tag=final", people["reviewer"]).json()
    assert info["user"] == "test-annotator"
    assert re.search(r"test-annotator PUT /datastore/label 200", stack.compose("logs", SERVER).stdout)


# --- limits ---


def test_healthz_answers_while_an_inference_runs(base: str, annotator: Annotator, ct: str):
    annotator.click("deepgrow_2d", ct, NODULE)
    work = threading.Thread(target=annotator.click, args=("deepgrow_3d", ct, NODULE))
    work.start()
    seconds = []
    with requests.Session() as session:
        while work.is_alive():
            started = time.perf_counter()
            assert session.get(f"{base}/healthz", timeout=30).text == "alive\n"
            seconds.append(time.perf_counter() - started)
            time.sleep(0.01)
    seconds.sort()
    middle, late = seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.99)]
    print(f"/healthz during an inference: median {middle * 1000:.1f} ms, 99 % {late * 1000:.1f} ms, n={len(seconds)}")
    assert len(seconds) > 100 and late < 0.05


def test_readyz_says_whether_the_dicomweb_server_answers(stack: Clone, base: str, token: str):
    assert ask("GET", f"{base}/readyz", token).status_code == 200
    stack.compose("stop", "orthanc")
    answer = ask("GET", f"{base}/readyz", token)
    assert answer.status_code == 503 and "DICOMweb" in answer.text
    assert ask("GET", f"{base}/healthz").status_code == 200


def test_only_so_many_inferences_wait(stack: Clone, base: str, token: str, annotator: Annotator, ct: str):
    most = 1 + int(stack.environment["INFER_QUEUE"])
    form = {"params": json.dumps({"label": "nodule1", "foreground": [NODULE], "background": []})}

    def infer(_: int) -> requests.Response:
        return ask("POST", f"{base}/infer/deepgrow_2d?image={ct}", token, data=form)

    with ThreadPoolExecutor(most + 3) as pool:
        answers = list(pool.map(infer, range(most + 3)))
    assert sorted({answer.status_code for answer in answers}) == [200, 503]
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 503)


def test_a_user_has_only_so_many_requests_at_once(running: Clone, base: str, people: dict[str, str]):
    most = int(running.environment["MAX_REQUESTS_PER_USER"])
    head = f"PUT /datastore/label?image=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {people['annotator']}\r\n"
    head += "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n"
    open_ones = [_connection(base, head.encode()) for _ in range(most)]
    try:
        time.sleep(0.5)
        assert ask("GET", f"{base}/info/", people["annotator"]).status_code == 429
        assert ask("GET", f"{base}/info/", people["admin"]).status_code == 200
    finally:
        for each in open_ones:
            each.close()
    eventually(lambda: ask("GET", f"{base}/info/", people["annotator"]).status_code == 200, 5, "room again")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nX: ", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET"])
def test_a_connection_whose_request_does_not_come_is_closed(running: Clone, base: str, sent: bytes):
    """Upstream holds it for ever."""
    patience = int(running.environment["SLOW_CLIENT_SECONDS"])
    connection = _connection(base, sent)
    connection.settimeout(patience + 10)
    started = time.monotonic()
    while connection.recv(4096):
        pass
    assert time.monotonic() - started < patience + 5


def test_a_body_that_stops_coming_is_given_up(running: Clone, base: str, token: str):
    patience = int(running.environment["SLOW_CLIENT_SECONDS"])
    head = f"PUT /datastore/label?image=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    head += "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n--x\r\n"
    connection = _connection(base, head.encode())
    connection.settimeout(patience + 10)
    assert connection.recv(4096).startswith(b"HTTP/1.1 408")


def test_a_body_or_headers_that_are_too_long_are_not_read(running: Clone, base: str, token: str):
    too_long = int(running.environment["MAX_BODY_MB"]) * 2**20 + 1
    head = f"PUT /datastore/label?image=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    connection = _connection(base, f"{head}Content-Length: {too_long}\r\n\r\n".encode())
    assert connection.recv(4096).startswith(b"HTTP/1.1 413")

    def endless() -> Iterator[bytes]:
        for _ in range(too_long // 2**20 + 1):
            yield bytes(2**20)

    multipart = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = ask("PUT", f"{base}/datastore/label?image=1", token, data=endless(), headers=multipart)
    assert answer.status_code in (400, 413)
    assert ask("GET", f"{base}/info/", token, headers={"X-Long": "x" * 40_000}).status_code == 431
    assert ask("GET", f"{base}/info/", token, headers={"X-Long": "x" * 200_000}).status_code in (400, 431)


def _connection(base: str, sent: bytes) -> socket.socket:
    host, _, port = base.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(sent)
    return connection


# --- models ---


def test_uploaded_weights_must_fit_and_the_old_are_kept(running: Clone, base: str, token: str, tmp_path: Path):
    running.run_program(SERVER, MAKE_WEIGHTS, "fitting=3", "other=1")
    for name in ("fitting.pt", "other.pt"):
        assert running.compose("cp", f"{SERVER}:/workspace/{name}", str(tmp_path / name)).returncode == 0

    def upload(name: str) -> int:
        with (tmp_path / name).open("rb") as file:
            return ask("PUT", f"{base}/model/deepgrow_2d", token, files={"file": (name, file)}).status_code

    kept = "ls /workspace/radiology/model | grep -c replaced || true"
    before = int(running.run_in(SERVER, "bash", "-c", kept))
    assert [upload("fitting.pt"), upload("fitting.pt")] == [200, 200]
    assert int(running.run_in(SERVER, "bash", "-c", kept)) > before
    assert upload("other.pt") == 422
    served = ask("GET", f"{base}/model/deepgrow_2d", token)
    assert served.content == (tmp_path / "fitting.pt").read_bytes()
    assert ask("GET", f"{base}/info/", token).json()["models"]["deepgrow_2d"]["trained"] is True
    running.run_in(SERVER, "bash", "-c", "rm -f /workspace/*.pt /workspace/radiology/model/deepgrow_2d.pt*")


# --- the way to Orthanc ---


def test_the_query_reaches_orthanc_through_the_proxy(base: str, token: str, pacs: Pacs, ct: str):
    """Upstream drops it, so that every study list is the whole archive."""
    found = ask("GET", f"{base}/proxy/dicom/qido/series?Modality=SEG", token)
    assert found.status_code in (200, 204) and not (found.content and found.json())
    series = ask("GET", f"{base}/proxy/dicom/qido/series?SeriesInstanceUID={ct}", token).json()
    assert [each["0020000E"]["Value"] for each in series] == [[ct]]

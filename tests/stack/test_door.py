"""The door of a whole stack: Orthanc's web port, as other machines reach it, and two label servers."""

import base64
import http.client
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from monailabel.client.client import MONAILabelClientException

from labelpod.dicom import phantom
from labelpod.security import users
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.waiting import eventually

PASSWORD, TOKEN = "throw-away", "throw-away-token-of-32-letters-0"
ANNOTATORS, EACH = 20, 2
HEADERS = {"Host": "pacs:8042"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, engine: None) -> Iterator[Clone]:
    """A stack of two label servers; the door is in front of Orthanc as well."""
    clone = Clone.make(tmp_path_factory.mktemp("door"), "labelpod-test-door")
    clone.environment |= {"ORTHANC_PASSWORD": PASSWORD}
    clone.environment |= {"LABEL_SERVERS": "2", "LABEL_SERVER_TOKEN": TOKEN}
    clone.environment |= {"SERIES_QUIET_SECONDS": "1", "SLOW_CLIENT_SECONDS": "5"}
    try:
        clone.done("up", "--yes")
        yield clone
    finally:
        clone.cli("down", "--volumes", "--yes")


def ask(stack: Clone, method: str, path: str, password: str = PASSWORD, **headers: str) -> int:
    """Ask Orthanc through the door, byte for byte; the status."""
    port = int(stack.environment["ORTHANC_PORT"])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    login = base64.b64encode(f"labelpod:{password}".encode()).decode()
    for name, value in ({"Authorization": f"Basic {login}"} | HEADERS | headers).items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_admins_page_and_tools_work_through_the_door(stack: Clone, tmp_path: Path):
    state = stack.status()
    assert state["orthanc"]["answers"] is True and state["door"] == {"state": "running"}
    assert state["label_server"]["ready"] is True and state["label_server"]["servers"] == ["running"] * 2
    phantom.write(tmp_path, slices=4, size=32)
    stack.done("studies", "push", str(tmp_path))
    page = requests.get(f"{state['orthanc']['url']}app/explorer.html", auth=("labelpod", PASSWORD), timeout=20)
    assert page.status_code == 200 and "Orthanc" in page.text
    (study,) = requests.get(f"{state['orthanc']['url']}studies", auth=("labelpod", PASSWORD), timeout=20).json()
    assert ask(stack, "GET", f"/studies/{study}/archive") == 200


def test_what_orthanc_refuses_it_refuses_through_the_door(stack: Clone):
    assert ask(stack, "GET", "/patients/1?_method=DELETE") == 403, "a change that comes as GET"
    assert ask(stack, "GET", "/studies", Sec_Fetch_Site="cross-site") == 403
    assert ask(stack, "GET", "/studies", Origin="http://evil.example") == 403
    assert ask(stack, "DELETE", "/patients/1") == 403, "neither a body nor an origin"
    assert ask(stack, "DELETE", "/patients/1", Content_Length="0", Origin="http://pacs:8042") == 404, "its own page"
    assert ask(stack, "POST", "/tools/execute-script", Content_Length="0") == 403
    assert ask(stack, "POST", "/instances", Content_Length=str(513 * 2**20)) == 403


def test_who_guesses_at_orthancs_door_is_slowed_down_and_the_admin_is_not(stack: Clone):
    assert ask(stack, "GET", "/system") == 200
    answers = [ask(stack, "GET", "/system", f"guess {number}") for number in range(40)]
    # The right one counted until it was let in.
    assert answers[:9] == [401] * 9 and answers[12:] == [429] * 28
    assert ask(stack, "GET", "/system") == 200
    assert ask(stack, "GET", "/system", "guess") == 429


@pytest.mark.parametrize("sent", [b"", b"POST /instances HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"])
def test_who_does_not_go_on_is_cut_off(stack: Clone, sent: bytes):
    with socket.create_connection(("127.0.0.1", int(stack.environment["ORTHANC_PORT"])), timeout=10) as slow:
        started = time.monotonic()
        slow.sendall(sent)
        slow.recv(100)
        assert time.monotonic() - started < 8


def test_the_door_has_no_rights_and_little_memory(stack: Clone):
    identity = stack.compose("ps", "-q", "door").stdout.strip()
    told = stack.compose(
        "exec", "-T", "door", "bash", "-c", "id -u; touch /x 2>&1; grep CapEff /proc/self/status"
    ).stdout
    assert identity and told.split()[0] == "99" and "Read-only" in told and told.split()[-1] == "0" * 16
    (usage,) = [
        json.loads(line)
        for line in stack.compose("stats", "--no-stream", "--format", "json", "door").stdout.splitlines()
    ]
    assert usage["MemUsage"].endswith("1GiB")


def test_each_label_server_has_a_folder_of_its_own_and_one_trains(stack: Clone):
    roles = {each: role(stack, each) for each in servers(stack)}
    assert sorted(roles.values()) == ["all", "annotate"]
    listed = stack.run_in("label-server", "bash", "-c", "ls -d /workspace/cache /workspace/servers/2/cache")
    assert len(listed.split()) == 2
    models = stack.run_in("label-server", "readlink", "-f", "/workspace/servers/2/radiology/model")
    assert models.strip() == "/workspace/radiology/model", "what one trains, the other takes up"
    assert requests.get(f"{url(stack)}/{TOKEN}/train/", timeout=20).status_code == 404, "nothing is trained"
    asked = [each for each in roles if "GET /train/ 404" in logged(each)]
    assert [roles[each] for each in asked] == ["all"]


def test_a_label_server_that_is_killed_costs_no_label_and_its_users_a_moment(stack: Clone, tmp_path: Path):
    pacs = Pacs(f"http://127.0.0.1:{stack.environment['ORTHANC_PORT']}", "labelpod", PASSWORD)
    pacs.delete_everything()
    for seed in range(1, ANNOTATORS * EACH + 1):
        phantom.write(tmp_path / str(seed), slices=4, size=32, seed=seed)
    pacs.store(tmp_path)
    tokens = [users.add(f"reader{number}", "annotator", stack.root / "secrets") for number in range(ANNOTATORS)]
    time.sleep(2)
    working = [Working(f"{url(stack)}/{token}") for token in tokens]
    for each in working:
        eventually(
            lambda each=each: each.annotator.total() == ANNOTATORS * EACH, 60, "all CTs are offered by its server"
        )
    with ThreadPoolExecutor(ANNOTATORS) as pool:
        ends = [pool.submit(each.run) for each in working]
        eventually(lambda: sum(len(each.stored) for each in working) >= ANNOTATORS // 2, 120, "labels are stored")
        killed = next(each for each in servers(stack) if role(stack, each) == "annotate")
        subprocess.run(["docker", "kill", killed], check=True, capture_output=True)
        for end in ends:
            end.result(timeout=300)
    waits = sorted(wait for each in working for wait in each.waits)
    p50, p95, most = (waits[min(len(waits) - 1, int(share * len(waits)))] for share in (0.5, 0.95, 1))
    print(f"\n{len(waits)} answers: p50 {p50:.2f} s, p95 {p95:.2f} s, longest {most:.2f} s")
    stored = [image for each in working for image in each.stored]
    segmented = [str(each.SeriesInstanceUID) for seg in segs(pacs) for each in seg.ReferencedSeriesSequence]
    assert sorted(segmented) == sorted(stored) and len(set(stored)) == ANNOTATORS * EACH
    assert most < 15, "nobody waits long"
    stack.compose("up", "--detach", "--wait")


def test_the_number_of_label_servers_may_be_changed_and_changed_back(stack: Clone):
    """A port has another owner each time."""
    seen = []
    for number in ("1", "2"):
        stack.done("up", "--yes", LABEL_SERVERS=number)
        state = json.loads(stack.done("status", "--json", LABEL_SERVERS=number))
        seen.append((state["label_server"]["servers"], "door" in state, state["orthanc"]["answers"]))
        assert requests.get(f"{url(stack)}/{TOKEN}/info/", timeout=20).json()["datastore"]["total"] > 0
        assert ask(stack, "GET", "/system") == 200
    assert seen == [(["running"], False, True), (["running", "running"], True, True)]


class Working:
    """Somebody who labels one image after the other, and asks again if there is no answer."""

    def __init__(self, address: str) -> None:
        self.annotator = Annotator(address)
        self.stored: list[str] = []
        self.waits: list[float] = []

    def run(self) -> None:
        for _ in range(EACH):
            image = str(self._until_answered(self._next)["id"])
            voxels = self._until_answered(lambda image=image: self.annotator.image(image))
            label = np.zeros(voxels.GetSize()[::-1], np.uint8)
            label[0, :4, :4] = 1
            self._until_answered(lambda: self.annotator.submit(image, voxels, label))  # noqa: B023, called at once
            self.stored.append(image)

    def _next(self) -> dict[str, Any]:
        given = dict(self.annotator.client.next_sample("random", {}))
        assert "id" in given, given
        return given

    def _until_answered(self, ask: Callable[[], Any]) -> Any:
        started = time.monotonic()
        while True:
            try:
                answer = ask()
            except (MONAILabelClientException, requests.RequestException, OSError, http.client.HTTPException):
                assert time.monotonic() - started < 60
                time.sleep(0.2)
            else:
                self.waits.append(time.monotonic() - started)
                return answer


def segs(pacs: Pacs) -> list[pydicom.Dataset]:
    found = pacs.series("SEG")
    return [pacs.dicomweb.retrieve_series(str(each.StudyInstanceUID), str(each.SeriesInstanceUID))[0] for each in found]


def url(stack: Clone) -> str:
    return f"http://127.0.0.1:{stack.environment['LABEL_SERVER_PORT']}"


def servers(stack: Clone) -> list[str]:
    """The label servers' containers."""
    return stack.compose("ps", "--quiet", "label-server").stdout.split()


def logged(container: str) -> str:
    told = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True)
    return told.stdout + told.stderr


def role(stack: Clone, container: str) -> str:
    """What a label server says of itself."""
    ask = "exec 3<>/dev/tcp/127.0.0.1/8000; printf 'GET /healthz HTTP/1.0\r\n\r\n' >&3; cat <&3"
    told = subprocess.run(["docker", "exec", container, "bash", "-c", ask], capture_output=True, text=True, check=True)
    return told.stdout.lower().partition("labelpod-role: ")[2].split()[0]

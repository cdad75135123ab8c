"""The door of a whole stack: Orthanc's web port, as other machines reach it, and two label servers."""

import base64
import http.client
import json
import socket
import subprocess
import time
from pathlib import Path

import pytest
import requests

from labelpod.dicom import phantom
from tests.stack.several.members import PASSWORD, TOKEN, logged, names, role, servers, url
from tests.support.clone import Clone

HEADERS = {"Host": "pacs:8042"}


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
    (trains,) = [each for each in roles if roles[each] == "all"]
    named = subprocess.run(["docker", "inspect", "--format", "{{.Name}}", trains], capture_output=True, text=True)
    assert named.stdout.strip().endswith("-label-server-1"), "each has the folder of its own number"
    listed = stack.run_in("label-server", "bash", "-c", "ls -d /workspace/cache /workspace/servers/2/cache")
    assert len(listed.split()) == 2
    models = stack.run_in("label-server", "readlink", "-f", "/workspace/servers/2/radiology/model")
    assert models.strip() == "/workspace/radiology/model", "what one trains, the other takes up"
    assert requests.get(f"{url(stack)}/{TOKEN}/train/", timeout=20).status_code == 404, "nothing is trained"
    asked = [each for each in roles if "GET /train/ 404" in logged(each)]
    assert [roles[each] for each in asked] == ["all"]


def test_the_number_of_servers_may_be_changed_and_changed_back(stack: Clone):
    """A port has another owner each time."""
    seen = []
    for number in ("1", "2"):
        values = {"LABEL_SERVERS": number, "ORTHANC_SERVERS": number}
        stack.done("up", "--yes", **values)
        state = json.loads(stack.done("status", "--json", **values))
        running = [state[name]["servers"] for name in ("label_server", "orthanc")]
        seen.append((running, "door" in state, state["orthanc"]["answers"]))
        assert requests.get(f"{url(stack)}/{TOKEN}/info/", timeout=20).json()["datastore"]["total"] > 0
        assert ask(stack, "GET", "/system") == 200
        # The door knows them by these names.
        assert {f"{stack.project}-label-server-{each}" for each in range(1, int(number) + 1)} == names(stack)
    assert seen == [([["running"]] * 2, False, True), ([["running"] * 2] * 2, True, True)]

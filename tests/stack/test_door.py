"""The door of a whole stack: Orthanc's web port, as other machines reach it, and two label servers."""

import base64
import http.client
import json
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests

from labelpod.dicom import phantom
from labelpod.security import users
from tests.support import engine as docker_engine
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.waiting import eventually
from tests.support.working import Working, longest

PASSWORD, TOKEN = "throw-away", "throw-away-token-of-32-letters-0"
ANNOTATORS, IMAGES, TOGETHER_SECONDS = 20, 300, 5
SHARES = {"half within": 0.5, "95 % within": 0.95, "longest": 1.0}
HEADERS = {"Host": "pacs:8042"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, engine: None) -> Iterator[Clone]:
    """A stack of two label servers and PostgreSQL; the door is in front of Orthanc as well."""
    clone = Clone.make(tmp_path_factory.mktemp("door"), "labelpod-test-door")
    clone.environment |= {"ORTHANC_PASSWORD": PASSWORD}
    clone.environment |= {"LABEL_SERVERS": "2", "LABEL_SERVER_TOKEN": TOKEN, "ORTHANC_DB": "postgres"}
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


def test_whatever_is_killed_while_annotators_work_costs_no_label(stack: Clone, tmp_path: Path):
    """A label server, Orthanc, PostgreSQL and the door in turn; docs/several-servers.md has what this prints."""
    pacs = Pacs(f"http://127.0.0.1:{stack.environment['ORTHANC_PORT']}", "labelpod", PASSWORD)
    working, over = at_work(stack, pacs, tmp_path), threading.Event()
    with ThreadPoolExecutor(ANNOTATORS) as pool:
        ends = [pool.submit(work, each, over) for each in working.values()]
        try:
            kills = kill_each(stack, list(working.values()))
        finally:
            over.set()
            for end in ends:
                end.result(timeout=120)
    tell(kills, list(working.values()))
    offered = [image for each in working.values() for image in each.offered]
    assert len(offered) == len(set(offered)), "nobody gets another's image"
    acknowledged = sorted((name, image) for name, each in working.items() for image in each.stored)
    assert sorted(labels(pacs)) == acknowledged, "each acknowledged label is there once"
    assert longest([wait for each in working.values() for wait in each.waits]) < 45, "nobody waits long"


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


def at_work(stack: Clone, pacs: Pacs, folder: Path) -> dict[str, Working]:
    """Annotators by name, and CTs that are offered to all of them."""
    pacs.delete_everything()
    for seed in range(1, IMAGES + 1):
        phantom.write(folder / str(seed), slices=3, size=16, seed=seed)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(pacs.store, folder.iterdir()))
    names = [f"reader{number}" for number in range(ANNOTATORS)]
    addresses = {name: f"{url(stack)}/{users.add(name, 'annotator', stack.root / 'secrets')}" for name in names}
    time.sleep(2)
    for each in map(Annotator, addresses.values()):
        eventually(lambda each=each: each.total() == IMAGES, 60, "all CTs are offered by its server")
    return {name: Working(address, think) for name, address in addresses.items()}


def think(what: str) -> None:
    """Look at the CT; many save at the same moment, so that a kill meets some of them at each step of a save."""
    if what == "save":
        time.sleep(TOGETHER_SECONDS - time.monotonic() % TOGETHER_SECONDS)


def work(annotator: Working, over: threading.Event) -> None:
    while not over.is_set():
        assert annotator.label_next(), "there are too few CTs"


def kill_each(stack: Clone, working: list[Working]) -> list[tuple[str, float]]:
    """Kill one service after the other, each when the one before it is back and work goes on; which, and when."""

    def stored() -> int:
        return sum(len(each.stored) for each in working)

    kills = []
    for service in ("label-server", "orthanc", "postgres", "door"):
        so_far = stored()
        eventually(lambda so_far=so_far: stored() >= so_far + ANNOTATORS // 2, 60, "labels are stored")
        eventually(lambda: sum(each.asks == "save" for each in working) >= ANNOTATORS // 4, 60, "many save")
        victim = container(stack, service)
        before = state(victim)["StartedAt"]
        kills.append((service, time.monotonic()))
        docker_engine.kill(victim)
        eventually(lambda victim=victim, before=before: back(victim, before), 60, f"{service} is back")
    so_far = stored()
    eventually(lambda: stored() >= so_far + ANNOTATORS // 2, 60, "labels are stored after the last kill")
    return kills


def tell(kills: list[tuple[str, float]], working: list[Working]) -> None:
    """Print how long the answers took that came after each kill."""
    waits = [wait for each in working for wait in each.waits]
    failed = dict(sum((each.failed for each in working), Counter()))
    print(f"\n{sum(len(each.stored) for each in working)} labels, {len(waits)} answers; asked again after {failed}")
    for (service, moment), (_, end) in pairwise([*kills, ("", float("inf"))]):
        theirs = [wait for wait in waits if moment < wait.started + wait.seconds <= end]
        told = ", ".join(f"{name} {longest(theirs, share):.1f} s" for name, share in SHARES.items())
        print(f"{service} killed: {len(theirs)} answers, {told}")


def labels(pacs: Pacs) -> list[tuple[str, str]]:
    """Whose label of which image each DICOM SEG in Orthanc is."""
    found = pacs.series("SEG")
    segs = [pacs.dicomweb.retrieve_series(str(each.StudyInstanceUID), str(each.SeriesInstanceUID)) for each in found]
    return [
        (str(seg.ContentCreatorName), str(reference.SeriesInstanceUID))
        for (seg,) in segs
        for reference in seg.ReferencedSeriesSequence
    ]


def url(stack: Clone) -> str:
    return f"http://127.0.0.1:{stack.environment['LABEL_SERVER_PORT']}"


def servers(stack: Clone) -> list[str]:
    """The label servers' containers."""
    return stack.compose("ps", "--quiet", "label-server").stdout.split()


def container(stack: Clone, service: str) -> str:
    """The container of a service; of the label servers one that only annotates."""
    found = stack.compose("ps", "--quiet", service).stdout.split()
    return next(each for each in found if service != "label-server" or role(stack, each) == "annotate")


def state(container: str) -> dict[str, Any]:
    """What Docker knows of a container's process."""
    told = subprocess.run(["docker", "inspect", container], capture_output=True, check=True).stdout
    return dict(json.loads(told)[0]["State"])


def back(container: str, before: str) -> bool:
    """Whether a container was started again since, and is well."""
    now = state(container)
    return now["StartedAt"] != before and now["Running"] and now["Health"]["Status"] == "healthy"


def logged(container: str) -> str:
    told = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True)
    return told.stdout + told.stderr


def role(stack: Clone, container: str) -> str:
    """What a label server says of itself."""
    ask = "exec 3<>/dev/tcp/127.0.0.1/8000; printf 'GET /healthz HTTP/1.0\r\n\r\n' >&3; cat <&3"
    told = subprocess.run(["docker", "exec", container, "bash", "-c", ask], capture_output=True, text=True, check=True)
    return told.stdout.lower().partition("labelpod-role: ")[2].split()[0]

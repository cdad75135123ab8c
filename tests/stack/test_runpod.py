"""A rented GPU from the template to the last bill, with a RunPod that runs our published image in the local engine."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.contract.fake_runpod import KEY
from tests.contract.runpod_document import FILE, Document
from tests.stack.pod_host import PodHost, docker, need_ssh
from tests.stack.test_models import MAKE_WEIGHTS
from tests.support import registry as registries
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.waiting import eventually

POINT = [181, 285, 25]
FOLDER = "/workspace/radiology/model"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, engine: None) -> Iterator[str]:
    with registries.serving(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def host(engine: None) -> Iterator[PodHost]:
    """The service, on the address that containers know this machine by."""
    need_ssh()
    gateway = json.loads(docker("network", "inspect", "bridge"))[0]["IPAM"]["Config"][0]["Gateway"]
    service = PodHost(Document() if FILE.exists() else None, gateway)
    yield service
    service.remove_everything()
    service.close()
    assert service.violations == []


@pytest.fixture
def rented(stack: Clone, host: PodHost, registry: str) -> Clone:
    """The stack's clone, with an account."""
    account = {"RUNPOD_API_KEY": KEY, "RUNPOD_API_URL": host.url, "RUNPOD_PROXY_URL": host.url + "/proxy/{pod}/"}
    more = {"RUNPOD_IMAGE": f"{registry}/labelpod", "IDLE_STOP_MINUTES": "1"}
    return Clone(stack.root, stack.project, stack.environment | account | more)


@contextmanager
def connected(clone: Clone, *options: str) -> Iterator[str]:
    """`runpod connect` until the context ends; the URL that it prints."""
    command = [sys.executable, "-u", "deploy.py", "runpod", "connect", *options]
    process = subprocess.Popen(
        command, cwd=clone.root, env=clone.variables(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http"), process.stderr.read()
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
        assert process.returncode == 130


def test_from_the_template_to_the_last_bill(
    rented: Clone, host: PodHost, ct: str, pacs: Pacs, tmp_path: Path, stack: Clone
):
    said = rented.done("runpod", "publish")
    assert "created" in said and "@sha256:" in said
    assert "unchanged" in rented.done("runpod", "publish")

    rented.done("runpod", "launch", "--yes", "--volume", "nodules", "--create-volume", "10", "--minutes", "5")
    (pod,) = host.live()
    secrets = [stack.environment["LABEL_SERVER_TOKEN"], (stack.root / "secrets" / "dicomweb_password").read_text()]
    assert not any(secret in json.dumps(host.pods) + host.log(pod["id"]) for secret in secrets)

    with connected(rented) as url:
        annotator = Annotator(url)
        assert annotator.next_sample() == ct
        mask = annotator.click("deepgrow_2d", ct, POINT) > 0
        annotator.submit(ct, annotator.image(ct), mask)
        assert len(pacs.segmentations(ct)) == annotator.completed() == 1
        (state,) = json.loads(rented.done("runpod", "status", "--json"))["pods"]
        assert datetime.fromisoformat(state["stops_at"]) > datetime.now(UTC) + timedelta(hours=11)
        host.run_in(pod["id"], "start_server", "python", "-c", MAKE_WEIGHTS.read_text(), "a=3")
        host.run_in(pod["id"], "mv", "/workspace/a.pt", f"{FOLDER}/deepgrow_2d.pt")
        archive = tmp_path / "nodules.tar.zst"
        rented.done("models", "export", "--pod", "deepgrow_2d", str(archive))
        assert json.loads(stack.done("models", "verify", "--json", str(archive)))["ok"]

    eventually(lambda: pod["status"] == "EXITED", 180, "the idle pod stops itself")
    assert "stopped" in rented.cli("runpod", "connect").stderr
    rented.done("runpod", "resume", "--minutes", "5")
    with connected(rented) as url:
        assert Annotator(url).completed() == 1
        two_d, _ = json.loads(rented.done("models", "list", "--pod", "--json"))
        assert two_d["name"] == "deepgrow_2d" and two_d["weights"] != "untrained"

    day = {"startTime": "2026-11-24T00:00:00Z", "endTime": "2026-11-25T00:00:00Z"}
    host.bills = [day | {"podId": pod["id"], "totalAmount": 0.48, "gpuAmount": 0.48}]
    assert "0.48" in rented.done("runpod", "cost")
    rented.done("runpod", "terminate", "--yes")
    assert host.live() == [] and docker("ps", "-aq", "--filter", "name=labelpod-test-pod") == ""

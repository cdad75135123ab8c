"""Who did what, as the running stack and the stopped one tell it; what no process there holds in its environment."""

import json
import subprocess
from pathlib import Path

import pytest

from labelpod.dicom import phantom
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.waiting import eventually

ENVIRONMENTS = "cat /proc/[0-9]*/environ | tr '\\0' '\\n' | sort -u"


def container(stack: Clone) -> str:
    return stack.compose("ps", "-q", "label-server").stdout.strip()


def audited(stack: Clone, *arguments: str) -> list[dict]:
    return [json.loads(line) for line in stack.done("audit", "--json", *arguments).splitlines()]


def test_no_process_of_the_label_server_has_the_password_in_its_environment(stack: Clone):
    password = (stack.root / "secrets" / "dicomweb_password").read_text().strip()
    command = ["docker", "exec", container(stack), "start_server", "bash", "-c", ENVIRONMENTS]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "DICOMWEB_PASSWORD_FILE=/run/secrets/dicomweb_password" in told and password and password not in told


@pytest.fixture
def image(pacs: Pacs, annotator: Annotator, tmp_path: Path) -> str:
    """A synthetic CT that no other test has: of what is alike within five minutes only the first is recorded."""
    phantom.write(tmp_path, slices=6, size=32, seed=71)
    pacs.store(tmp_path)
    (series,) = pacs.series("CT")
    uid = str(series.SeriesInstanceUID)
    eventually(lambda: annotator.total() == 1, 10, "the image is counted")
    return uid


def test_who_did_what_is_told_by_the_running_stack_and_by_the_stopped_one(
    stack: Clone, annotator: Annotator, image: str
):
    annotator.image(image)
    (record,) = audited(stack, "--study", image, "--since", "10m")
    assert (record["user"], record["action"], record["outcome"]) == ("admin", "open image", 200)
    assert record["study"] and [each["user"] for each in audited(stack, "--study", record["study"])] == ["admin"]
    assert "admin" in stack.done("audit") and audited(stack, "--user", "nobody") == []
    seen = {each["name"]: each["last_seen"] for each in json.loads(stack.done("users", "list", "--json"))}
    assert seen["admin"] >= record["time"]
    stack.compose("stop", "label-server")
    assert audited(stack, "--study", image) == [record]


def test_only_the_label_servers_user_can_open_the_log(stack: Clone, ct: str):
    command = ["docker", "exec", container(stack), "stat", "-c", "%a %U %n", "/workspace/audit"]
    assert (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout == "700 labelpod /workspace/audit\n"
    )

"""A second label server beside the stack's, over the same Orthanc, with a workspace of its own."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from labelpod.dicom import phantom
from tests.stack.conftest import TOKEN, answers
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.ports import held_port
from tests.support.waiting import eventually

ANNOTATORS = 20
SECOND = "second-label-server"


@pytest.fixture
def second(stack: Clone, annotator: Annotator) -> Iterator[Annotator]:
    """The annotator at the second server."""
    port = held_port()
    ours = json.loads(stack.compose("config", "--format", "json").stdout)["services"]["label-server"]
    ours |= {
        "ports": [f"127.0.0.1:{port}:8000"],
        "volumes": [each for each in ours["volumes"] if each["type"] != "volume"] + ["second-workspace:/workspace"],
    }
    overlay = stack.root / f"{SECOND}.yaml"
    overlay.write_text(json.dumps({"services": {SECOND: ours}, "volumes": {"second-workspace": {}}}))
    files = ["--file", "compose.yaml", "--file", "compose.closed.yaml", "--file", overlay.name]
    result = stack.compose(*files, "up", "--detach", "--wait", "--no-deps", SECOND)
    try:
        assert result.returncode == 0, result.stderr
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(f"{url}/healthz"), 30, "the second server answers")
        yield Annotator(f"{url}/{TOKEN}")
    finally:
        stack.compose(*files, "rm", "--stop", "--force", SECOND)
        subprocess.run(["docker", "volume", "rm", "--force", f"{stack.project}_second-workspace"], check=False)
        overlay.unlink()


@pytest.fixture
def images(second: Annotator, annotator: Annotator, pacs: Pacs, tmp_path: Path) -> list[str]:
    """As many CTs as there are annotators; both servers know them all."""
    for seed in range(1, ANNOTATORS + 1):
        phantom.write(tmp_path / str(seed), slices=4, size=32, seed=seed)
    pacs.store(tmp_path)
    for each in (annotator, second):
        eventually(lambda each=each: each.total() == ANNOTATORS, 30, "all CTs are offered")
    return sorted(str(series.SeriesInstanceUID) for series in pacs.series("CT"))


def given(annotator: Annotator, client: str) -> str:
    """Which image somebody gets who shares the token."""
    return str(asked(annotator, client)["id"])


def asked(annotator: Annotator, client: str) -> dict[str, Any]:
    answer = requests.post(f"{annotator.url}/activelearning/first", json={"client_id": client}, timeout=60)
    answer.raise_for_status()
    return dict(answer.json())


def test_nobody_gets_anothers_image_whichever_server_is_asked(
    annotator: Annotator, second: Annotator, images: list[str], pacs: Pacs
):
    servers = (annotator, second)
    with ThreadPoolExecutor(8) as pool:  # a user may ask so often at once
        first = [pool.submit(given, servers[n % 2], f"reader {n}") for n in range(ANNOTATORS)]
        got = [each.result() for each in first]
    assert sorted(got) == images
    with ThreadPoolExecutor(4) as pool:
        again = [pool.submit(given, servers[(n + 1) % 2], f"reader {n}") for n in range(ANNOTATORS)]
        assert [each.result() for each in again] == got, "at the other server each goes on with the same"
    late = asked(second, "late")
    assert late["on_loan"] == ANNOTATORS
    assert {loan["user"] for loan in late["loans"]} == {f"admin/reader {n}" for n in range(ANNOTATORS)}


def test_what_a_reviewer_says_at_one_server_is_known_at_the_other_and_outlives_the_cache(
    annotator: Annotator, second: Annotator, stack: Clone, ct: str
):
    image = annotator.image(ct)
    annotator.submit(ct, image, np.zeros(image.GetSize()[::-1], np.uint8))
    said = {"status": "flagged", "level": "hard", "comment": "größer"}
    address = f"{annotator.url}/datastore/updatelabelinfo?label={ct}&tag=final"
    requests.put(address, data={"params": json.dumps({"segmentationMeta": said})}, timeout=60).raise_for_status()
    eventually(lambda: judgements(second) == [("flagged", "hard", "größer")], 10, "the second server tells")
    stack.run_in("label-server", "bash", "-c", "rm -r /workspace/cache")
    stack.compose("restart", "label-server")
    eventually(lambda: answers(f"{annotator.url.removesuffix(TOKEN)}healthz"), 60, "the first server answers")
    assert judgements(annotator) == [("flagged", "hard", "größer")]


def judgements(annotator: Annotator) -> list[tuple[str, str, str]]:
    listed = requests.get(f"{annotator.url}/datastore/review", timeout=60).json()
    return [(each["state"], each["difficulty"], each["comment"]) for each in listed]

"""Two Orthancs over one PostgreSQL and one folder of images: what one stores the other has, and one may die."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from labelpod.dicom import phantom
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.waiting import eventually

PASSWORD, TOKEN = "throw-away", "throw-away-token-of-32-letters-0"
BOTH = ("orthanc", "orthanc-2")
SERIES, SLICES = 12, 20


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, engine: None) -> Iterator[Clone]:
    clone = Clone.make(tmp_path_factory.mktemp("orthancs"), "labelpod-test-orthancs")
    clone.environment |= {"ORTHANC_PASSWORD": PASSWORD, "LABEL_SERVER_TOKEN": TOKEN, "SERIES_QUIET_SECONDS": "2"}
    clone.environment |= {"ORTHANC_DB": "postgres", "ORTHANC_SERVERS": "2"}
    try:
        clone.done("up", "--yes")
        yield clone
    finally:
        clone.cli("down", "--volumes", "--yes")


def inspected(stack: Clone, service: str) -> dict:
    identity = stack.compose("ps", "--quiet", "--all", service).stdout.strip()
    return json.loads(subprocess.run(["docker", "inspect", identity], capture_output=True, check=True).stdout)[0]


def pacs_of(stack: Clone, service: str) -> Pacs:
    """One of the Orthancs, past the door."""
    network, *_ = inspected(stack, service)["NetworkSettings"]["Networks"].values()
    return Pacs(f"http://{network['IPAddress']}:8042", "labelpod", PASSWORD)


def through_the_door(stack: Clone) -> Pacs:
    return Pacs(f"http://127.0.0.1:{stack.environment['ORTHANC_PORT']}", "labelpod", PASSWORD)


def annotator(stack: Clone) -> Annotator:
    return Annotator(f"http://127.0.0.1:{stack.environment['LABEL_SERVER_PORT']}/{TOKEN}")


def test_what_is_sent_to_both_at_once_is_there_once(stack: Clone, tmp_path: Path):
    assert stack.status()["orthanc"]["servers"] == ["running"] * 2
    for seed in range(1, SERIES + 1):
        phantom.write(tmp_path / str(seed), slices=SLICES, size=32, seed=seed)
    files = sorted(tmp_path.rglob("*.dcm"))
    both = [pacs_of(stack, name) for name in BOTH]

    def store(numbered: tuple[int, Path]) -> int:
        number, file = numbered
        to = both[number % 2]
        return to.session.post(f"{to.url}/instances", data=file.read_bytes(), timeout=60).status_code

    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(store, [*enumerate(files), *enumerate(files, start=1)]))
    print(f"\n{len(answers)} stores to two in {time.monotonic() - started:.1f} s")
    assert set(answers) == {200}
    for pacs in (*both, through_the_door(stack)):
        assert pacs.session.get(f"{pacs.url}/statistics", timeout=20).json()["CountInstances"] == SERIES * SLICES
    eventually(lambda: annotator(stack).total() == SERIES, 60, "all CTs are offered")


def test_a_series_that_arrives_at_either_is_offered_when_it_is_whole(stack: Clone, tmp_path: Path):
    """The one that is asked calls stable what comes to the other."""
    phantom.write(tmp_path, slices=10, size=32, seed=99)
    files, second = sorted(tmp_path.rglob("*.dcm")), pacs_of(stack, "orthanc-2")
    before = annotator(stack).total()
    for file in files:
        second.store(file)
        time.sleep(0.7)
        offered = annotator(stack).total()
        assert offered == before, f"{file.name} has just come"
    eventually(lambda: annotator(stack).total() == before + 1, 20, "it is whole")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may kill what runs in a container as Linux would")
@pytest.mark.parametrize("service", BOTH)
def test_labelling_goes_on_when_one_dies(stack: Clone, service: str):
    working = annotator(stack)
    before = working.completed()
    stack.compose("stop", service) if service == "orthanc-2" else os.kill(inspected(stack, service)["State"]["Pid"], 9)
    waits = []
    for _ in range(3):
        started = time.monotonic()
        image = working.next_sample()
        assert image
        voxels = working.image(image)
        label = np.zeros(voxels.GetSize()[::-1], np.uint8)
        label[0, :4, :4] = 1
        working.submit(image, voxels, label)
        waits.append(time.monotonic() - started)
    print(f"\n{service} dead: a CT fetched and labelled in {max(waits):.2f} s at most")
    assert working.completed() == before + 3 and max(waits) < 15
    pacs = through_the_door(stack)
    assert len(pacs.series("SEG")) == before + 3
    stack.done("up", "--yes")
    assert stack.status()["orthanc"]["servers"] == ["running"] * 2


def test_one_orthanc_again(stack: Clone):
    stack.done("up", "--yes", ORTHANC_SERVERS="1")
    state = json.loads(stack.done("status", "--json", ORTHANC_SERVERS="1"))
    assert state["orthanc"]["servers"] == ["running"] and annotator(stack).completed() == 6

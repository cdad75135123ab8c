"""Two Orthancs over one PostgreSQL and one folder of images: what one stores the other has, and one may die."""

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from labelpod.dicom import phantom
from tests.stack.several.members import PASSWORD, TOKEN, pacs_through_the_door
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.waiting import eventually

BOTH = ("orthanc", "orthanc-2")
SERIES, SLICES = 6, 20


def inspected(stack: Clone, service: str) -> dict:
    identity = stack.compose("ps", "--quiet", "--all", service).stdout.strip()
    return json.loads(subprocess.run(["docker", "inspect", identity], capture_output=True, check=True).stdout)[0]


def pacs_of(stack: Clone, service: str) -> Pacs:
    """One of the Orthancs, past the door."""
    network, *_ = inspected(stack, service)["NetworkSettings"]["Networks"].values()
    return Pacs(f"http://{network['IPAddress']}:8042", "labelpod", PASSWORD)


def annotator(stack: Clone) -> Annotator:
    return Annotator(f"http://127.0.0.1:{stack.environment['LABEL_SERVER_PORT']}/{TOKEN}")


def test_what_is_sent_to_both_at_once_is_there_once(stack: Clone, tmp_path: Path):
    assert stack.status()["orthanc"]["servers"] == ["running"] * 2
    pacs_through_the_door(stack).delete_everything()
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
    for pacs in (*both, pacs_through_the_door(stack)):
        assert pacs.session.get(f"{pacs.url}/statistics", timeout=20).json()["CountInstances"] == SERIES * SLICES
    eventually(lambda: annotator(stack).total() == SERIES, 60, "all CTs are offered")


def test_a_series_that_arrives_at_either_is_offered_when_it_is_whole(stack: Clone, tmp_path: Path):
    """The one that is asked calls stable what comes to the other."""
    phantom.write(tmp_path, slices=10, size=32, seed=99)
    files, both = sorted(tmp_path.rglob("*.dcm")), [pacs_of(stack, name) for name in BOTH]
    before = annotator(stack).total()
    for number, file in enumerate(files):  # half of them to either, one half after the other
        both[2 * number // len(files)].store(file)
        time.sleep(0.3)  # less than SERIES_QUIET_SECONDS, by a clock of whole seconds
        offered = annotator(stack).total()
        assert offered == before, f"{file.name} has just come"
    eventually(lambda: annotator(stack).total() == before + 1, 20, "it is whole")

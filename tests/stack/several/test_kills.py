"""Each service is killed while annotators work: no label is lost or double, and nobody waits long."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from labelpod.dicom import phantom
from labelpod.security import users
from tests.stack.several.members import back, container, pacs_through_the_door, state, url
from tests.support import engine as docker_engine
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.waiting import eventually
from tests.support.working import Working, longest

ANNOTATORS, IMAGES, TOGETHER_SECONDS = 20, 300, 5
SHARES = {"half within": 0.5, "95 % within": 0.95, "longest": 1.0}


def test_whatever_is_killed_while_annotators_work_costs_no_label(stack: Clone, tmp_path: Path):
    """A label server, Orthanc, PostgreSQL and the door in turn; docs/several-servers.md has what this prints."""
    pacs = pacs_through_the_door(stack)
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
    assert longest([wait for each in working.values() for wait in each.waits]) < 30, "nobody waits long"


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

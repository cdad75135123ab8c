"""Many annotators at two label servers behind the door, beside the same on paper (bench/simulation.py)."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import requests

from bench import data
from bench.report import Row
from bench.simulation import CLICK, KINDS, Habits, Service, lot, simulate
from bench.sizes import Sizes
from bench.stand import Stand, pacs_of, running
from labelpod.security import users
from tests.support.clone import Clone
from tests.support.waiting import eventually
from tests.support.working import Working, longest

SHARES = {"half within": 0.5, "95 % within": 0.95, "99 % within": 0.99}
_SERVERS = 2
_MODEL = "clicked"  # bench/stand_in
_FILES = ("compose.yaml", "compose.door.yaml", "compose.servers.yaml", "bench/annotators.yaml")


class _Over(Exception):
    """Time is up."""


class _Thinking:
    """What an annotator thinks, from now until time is up; on paper they think just as long."""

    def __init__(self, habits: Habits, mine: Random, seconds: float) -> None:
        self._habits, self._mine = habits, mine
        self._over = time.monotonic() + seconds
        self._arrives = time.monotonic() + mine.uniform(0, habits.arrival)

    def think(self, what: str) -> None:
        """Wait for as long as that takes before a request of this kind."""
        thought = max(self._arrives, time.monotonic()) + self._habits.think(what, self._mine)
        time.sleep(max(0.0, min(thought, self._over) - time.monotonic()))
        if thought >= self._over:
            raise _Over


def measure(stand: Stand, sizes: Sizes, folder: Path) -> Iterator[Row]:
    """What each request took; on paper, with what it takes an annotator who works without others."""
    for side in stand.sides:  # they would take a core from what is measured
        stand.clone.compose("stop", side.name)
    number, habits = sizes.annotators, Habits().hurried(sizes.hurry)
    with running("annotators", **_settings(sizes)) as clone:
        addresses = _addresses(clone, sizes)
        data.unlabelled(pacs_of(clone), folder, sizes.annotators_images, sizes.memory_slices, sizes.memory_size)
        _offered(addresses, sizes.annotators_images)
        alone = _alone(addresses[0], sizes.alone)
        places = Counter(map(_server, addresses))
        working = [
            Working(address, _Thinking(habits, lot(place), sizes.working).think, _MODEL, habits.clicks)
            for place, address in enumerate(sorted(addresses, key=_server))
        ]
        with ThreadPoolExecutor(number) as pool:
            list(pool.map(_until_over, working))
    service = Service(sizes.click, alone | {CLICK: max(0.0, alone[CLICK] - sizes.click)})
    paper = simulate([places[each] for each in sorted(places)], habits, service, sizes.working)
    note = _told(working, list(places.values()), alone, sizes)
    for kind in KINDS:
        waits = [wait for each in working for wait in each.waits if wait.what == kind]
        for words, share in SHARES.items():
            what = f"{number} annotators, {kind}, {words}; by the simulation"
            yield Row(what, longest(waits, share), paper.within(kind, share), "s", 1.25, note)
            note = ""
    answered = [len(each.waits) for each in working]
    pace = [sizes.working * number / answers for answers in (sum(answered), sum(map(len, paper.waits.values())))]
    yield Row(f"{number} annotators, from one answer to the next; by the simulation", *pace, "s", 1.25)
    labels = [len(each.stored) for each in working]
    note = f"of {sum(labels)} labels, who has least has {min(labels)}, and who has most {max(labels)}"
    yield Row(
        f"{number} annotators, who got most answers by who got least", max(answered), min(answered), "answers", 2, note
    )


def _settings(sizes: Sizes) -> dict[str, str]:
    return {
        "COMPOSE_FILE": ":".join(_FILES),
        "LABEL_SERVERS": str(_SERVERS),
        "INFER_QUEUE": str(sizes.annotators),
        "SERIES_QUIET_SECONDS": "1",
        "STAND_IN_SECONDS": str(sizes.click),
    }


def _addresses(clone: Clone, sizes: Sizes) -> list[str]:
    """Where each annotator works."""
    url = f"http://127.0.0.1:{clone.environment['LABEL_SERVER_PORT']}"
    names = [f"annotator{number}" for number in range(sizes.annotators)]
    return [f"{url}/{users.add(name, 'annotator', clone.root / 'secrets')}" for name in names]


def _offered(addresses: list[str], images: int) -> None:
    """Wait until all of them are offered all images."""
    for address in addresses:
        eventually(lambda address=address: _info(address)["datastore"]["total"] == images, 60, "all images are offered")


def _info(address: str) -> dict[str, Any]:
    answer = requests.get(f"{address}/info/", timeout=60)
    answer.raise_for_status()
    return dict(answer.json())


def _server(address: str) -> str:
    """At which label server somebody is."""
    return str(_info(address)["server"])


def _alone(address: str, images: int) -> dict[str, float]:
    """How long each kind of request takes without anybody else, in seconds."""
    working = Working(address, model=_MODEL, clicks=Habits().clicks)
    for _ in range(images):
        working.label_next()
    return {kind: median(wait.seconds for wait in working.waits if wait.what == kind) for kind in KINDS}


def _until_over(working: Working) -> None:
    try:
        while working.label_next():
            pass
    except _Over:
        return
    raise RuntimeError("there are too few images")


def _told(working: list[Working], places: list[int], alone: dict[str, float], sizes: Sizes) -> str:
    """What must be said besides."""
    answers, failed = sum(len(each.waits) for each in working), sum((each.failed for each in working), Counter[str]())
    took = ", ".join(f"{kind} {seconds:.3g} s" for kind, seconds in alone.items())
    at = " and ".join(map(str, places))
    return (
        f"{answers} requests in {sizes.working:g} s, {failed.total()} errors; {at} annotators at the two label servers,"
        f" whose model takes {sizes.click:g} s; by one annotator without others: {took}"
    )

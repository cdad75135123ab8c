"""The lists of the server, as the number of labelled studies grows."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from bench import data
from bench.report import Row
from bench.sizes import Sizes
from bench.stand import Side, Stand, timed
from tests.support.waiting import eventually

_EXPIRED_SECONDS = 2.5  # after which what the servers know is older than it may be
_WHY = "thousands of studies have just come: for minutes Orthanc itself answers more slowly than at rest"
_QUESTIONS: dict[str, Callable[[Side], object]] = {
    "/info": lambda side: side.get("/info/"),
    "training list": lambda side: side.get("/datastore/?output=train"),
    "next sample": lambda side: side.annotator.client.next_sample("first", {})["id"],
}


def measure(stand: Stand, sizes: Sizes, folder: Path) -> Iterator[Row]:
    """Each list older than it may be, as it is when an annotator comes back to it."""
    stand.empty()
    stand.restart()
    unlabelled = folder / "unlabelled"
    data.ct(unlabelled, 4, 16, seed=2)
    found: dict[tuple[str, int], float] = {}
    have = 0
    for number in sizes.labelled:
        data.labelled(stand, folder, number, have)
        stand.pacs.store(unlabelled)
        have = number
        eventually(stand.ours.annotator.next_sample, 60, "all of it has come, and the lists know")
        for name, question in _QUESTIONS.items():
            found[name, number] = _asked(stand.ours, question, sizes.asked)
        if number <= sizes.upstream_lists:
            stand.theirs.restart()
            for name, question in _QUESTIONS.items():
                what = f"{name} with {number} labelled studies"
                yield Row(what, found[name, number], _asked(stand.theirs, question, sizes.runs), "s", 0.05)
    least, *more = sizes.labelled
    for number in more:
        for name in _QUESTIONS:
            what = f"{name} with {number} labelled studies, by that with {least}"
            yield Row(what, found[name, number], found[name, least], "s", 2, _WHY)


def _asked(side: Side, question: Callable[[Side], object], runs: int) -> float:
    question(side)  # learns what is new
    times = []
    for _ in range(runs):
        time.sleep(_EXPIRED_SECONDS)
        times.append(timed(lambda: question(side)))
    return median(times)

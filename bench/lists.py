"""The lists of the server, as the number of labelled studies grows."""

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench import data
from bench.report import Row
from bench.sizes import Sizes
from bench.stand import Stand

_EXPIRED_SECONDS = 2.5  # after which what the servers know is older than it may be
_PATHS = {"/info": "/info/", "training list": "/datastore/?output=train"}


def measure(stand: Stand, sizes: Sizes, folder: Path) -> Iterator[Row]:
    """Each list older than it may be, as it is when an annotator comes back to it."""
    stand.empty()
    found: dict[tuple[str, int], float] = {}
    have = 0
    for number in sizes.labelled:
        data.labelled(stand, folder, number, have)
        have = number
        for name, path in _PATHS.items():
            found[name, number] = _ours(stand, sizes, path)
        if number <= sizes.upstream_lists:
            stand.theirs.restart()
            theirs = median(stand.theirs.ask("/info/") for _ in range(sizes.runs))
            ours = found["/info", number]
            yield Row(f"/info with {number} labelled studies", ours, theirs, "s", 0.05)
    least, most = sizes.labelled[0], sizes.labelled[-1]
    for name in _PATHS:
        what = f"{name} with {most} labelled studies, by that with {least}"
        yield Row(what, found[name, most], found[name, least], "s", 2)


def _ours(stand: Stand, sizes: Sizes, path: str) -> float:
    stand.ours.ask(path)  # learns what is new
    times = []
    for _ in range(sizes.runs):
        time.sleep(_EXPIRED_SECONDS)
        times.append(stand.ours.ask(path))
    return median(times)

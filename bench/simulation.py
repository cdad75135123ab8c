"""Annotators at label servers, on paper: how long they wait if each server computes one click at a time.

A discrete-event simulation with SimPy. Everybody stays at one server, whose clicks are computed in the order in which
they come; nothing else waits for anything.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import numpy as np
import simpy

CLICK = "click"
KINDS = ("next sample", "image", CLICK, "save")


@dataclass(frozen=True)
class Habits:
    """How somebody labels.

    Attributes:
        medians: seconds that they think before a request, by its kind; log-normal.
        spread: standard deviation of its logarithm.
        clicks: on each image.
        arrival: seconds within which all of them begin: not at once, or all would click at first and save later.

    """

    medians: Mapping[str, float] = field(
        default_factory=lambda: {"next sample": 2.0, "image": 0.0, CLICK: 4.0, "save": 20.0}
    )
    spread: float = 0.6
    clicks: int = 10
    arrival: float = 60.0

    def hurried(self, times: float) -> "Habits":
        """The same, so many times faster."""
        medians = {what: seconds / times for what, seconds in self.medians.items()}
        return replace(self, medians=medians, arrival=self.arrival / times)

    def think(self, what: str, lot: Random) -> float:
        """For how long, in seconds, before a request of this kind."""
        return self.medians[what] * lot.lognormvariate(0, self.spread)

    def requests(self) -> list[str]:
        """What is asked for one image."""
        return ["next sample", "image", *[CLICK] * self.clicks, "save"]


@dataclass(frozen=True)
class Service:
    """How long a server takes.

    Attributes:
        click: seconds for which a click keeps the server's GPU.
        besides: seconds that a request takes besides, by its kind, however many there are.

    """

    click: float
    besides: Mapping[str, float]


@dataclass
class Outcome:
    """What came of it: seconds waited, by the kind of request, and labels by annotator."""

    waits: dict[str, list[float]]
    labels: list[int]

    def within(self, what: str, share: float) -> float:
        """The wait that this share of a kind of request does not exceed, in seconds."""
        return float(np.quantile(self.waits[what], share, method="higher"))


def lot(number: int, seed: int = 1) -> Random:
    """What an annotator's thinking goes by."""
    return Random(f"{seed} {number}")


def simulate(servers: Sequence[int], habits: Habits, service: Service, seconds: float, seed: int = 1) -> Outcome:
    """Let people work for some time.

    Args:
        servers: how many annotators are at each.
        habits: of all of them.
        service: of each server.
        seconds: for which they work.
        seed: of their thinking.

    """
    environment = simpy.Environment()
    outcome = Outcome({kind: [] for kind in KINDS}, [0] * sum(servers))
    gpus = [simpy.Resource(environment) for _ in servers]
    places = [gpu for gpu, annotators in zip(gpus, servers, strict=True) for _ in range(annotators)]
    for number, gpu in enumerate(places):
        environment.process(_work(environment, gpu, habits, service, lot(number, seed), outcome, number))
    environment.run(until=seconds)
    return outcome


def _work(
    environment: simpy.Environment,
    gpu: simpy.Resource,
    habits: Habits,
    service: Service,
    mine: Random,
    outcome: Outcome,
    number: int,
) -> Generator[simpy.Event, Any, None]:
    yield environment.timeout(mine.uniform(0, habits.arrival))
    while True:
        for what in habits.requests():
            yield environment.timeout(habits.think(what, mine))
            asked = environment.now
            if what == CLICK:
                with gpu.request() as turn:
                    yield turn
                    yield environment.timeout(service.click)
            yield environment.timeout(service.besides[what])
            outcome.waits[what].append(environment.now - asked)
        outcome.labels[number] += 1


def split(annotators: int, servers: int, seed: int = 1) -> list[int]:
    """How many annotators the door sends to each server: it goes by a digest of their tokens."""
    hashes = Random(seed)
    places = [hashes.randrange(servers) for _ in range(annotators)]
    return [places.count(server) for server in range(servers)]

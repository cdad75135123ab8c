"""The watchdog over simulated weeks: clocks that jump, disks that are full, an API that lies, a driver that hangs."""

import heapq
import itertools
import random
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from label_server.pod import state, stopping, watchdog, work
from label_server.pod.bounded import Question

HOUR, MINUTE = 3600.0, 60.0


class Ended(BaseException):
    """The pod has ended, and its watchdog with it."""


class Over(BaseException):
    """The simulated time is over."""


@dataclass
class World:
    """A pod's clocks, what goes on in it, and what its API does with a request to stop."""

    until: float
    boot: float = 1_000_000.0
    wall: float = 1_790_000_000.0
    events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    accepts: Callable[[str], bool] = lambda _: True
    works: Callable[[str], bool] = lambda _: True
    tried: list[tuple[float, str]] = field(default_factory=list)
    session = False
    gpu = 0
    broken: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.began = self.boot

    @property
    def age(self) -> float:
        return self.boot - self.began

    def at(self, age: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self.events, (age, len(self.events), happens))

    def found(self) -> str:
        if "the tasks" in self.broken:
            raise OSError(28, "No space left on device")
        return "a session over SSH" if self.session else ""

    def percent(self) -> int:
        if "the gpu" in self.broken:
            raise OSError(28, "No space left on device")
        return self.gpu

    def sleep(self, seconds: float) -> None:
        end = self.age + seconds
        while self.events and self.events[0][0] <= end:
            age, _, happens = heapq.heappop(self.events)
            self._pass(age - self.age)
            happens()
        self._pass(end - self.age)
        if self.age >= self.until:
            raise Over

    def _pass(self, seconds: float) -> None:
        self.boot += max(0.0, seconds)
        self.wall += max(0.0, seconds)

    def way(self, name: str) -> None:
        self.tried.append((self.age, name))
        if not self.accepts(name):
            raise stopping.NotStopped("it answers 403")
        if self.works(name):
            raise Ended


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Make a world, which the watchdog's clocks and calls are of."""
    monkeypatch.setattr(state, "_FOLDER", str(tmp_path))
    monkeypatch.setattr(watchdog, "_FIRST", tmp_path / "absent")

    def make(days: float, idle: str = "60", most: str = "12", files: bool = False) -> World:
        world = World(days * 24 * HOUR)
        monkeypatch.setenv("IDLE_STOP_MINUTES", idle)
        monkeypatch.setenv("MAX_HOURS", most)
        monkeypatch.setenv("RUNPOD_POD_ID", "pod1")
        monkeypatch.setattr(state, "now", lambda: world.boot)
        monkeypatch.setattr(watchdog.time, "time", lambda: world.wall)
        monkeypatch.setattr(watchdog.time, "sleep", world.sleep)
        monkeypatch.setattr(stopping, "sleep", world.sleep)
        if not files:
            notes: dict[str, float] = {}
            monkeypatch.setattr(state, "note", notes.__setitem__)
            monkeypatch.setattr(state, "noted", lambda name: notes.get(name, 0.0))
            monkeypatch.setattr(state, "set_stop", lambda _: None)
        monkeypatch.setattr(work, "found", world.found)
        monkeypatch.setattr(work, "gpu_percent", world.percent)
        monkeypatch.setattr(watchdog, "Question", Asked)
        monkeypatch.setattr(stopping, "Question", Asked)
        monkeypatch.setattr(stopping, "_rest", lambda _: world.way("REST"))
        monkeypatch.setattr(stopping, "_runpodctl", lambda first, *_: world.way(f"runpodctl {first}"))
        monkeypatch.setattr(stopping, "_graphql", lambda _: world.way("GraphQL"))
        return world

    yield make


class Asked:
    """A question without a thread: weeks are over in a second."""

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask = ask

    def answer(self, _: float) -> object:
        return self._ask()


def ended(world: World) -> float:
    """Run the watchdog; the age at which the pod ended."""
    with pytest.raises(Ended):
        watchdog.watch()
    return world.age


def use(world: World) -> None:
    state.note(state.USED, world.boot)


def test_an_idle_pod_ends_within_a_minute_of_its_time(worlds):
    assert HOUR <= ended(worlds(1)) <= HOUR + MINUTE


def test_a_pod_in_use_runs_for_weeks_if_nothing_bounds_it_and_ends_an_hour_after(worlds):
    world = worlds(30, most="0")
    for minute in range(0, 21 * 24 * 60, 50):
        world.at(minute * MINUTE, lambda: use(world))
    last = (21 * 24 * 60 - 40) * MINUTE
    assert last + HOUR <= ended(world) <= last + HOUR + MINUTE


def test_the_most_hours_hold_whatever_goes_on(worlds):
    world = worlds(30)
    world.session, world.gpu = True, 100
    assert 12 * HOUR <= ended(world) <= 12 * HOUR + MINUTE


@pytest.mark.parametrize("hours", [2, 100, -2, -100, 24 * 365])
def test_a_clock_that_is_set_stops_nothing_and_keeps_nothing(worlds, hours: int):
    world = worlds(30)
    for minute in range(0, 180, 10):
        world.at(minute * MINUTE, lambda: use(world))
    world.at(95 * MINUTE, lambda: setattr(world, "wall", world.wall + hours * HOUR))
    assert 170 * MINUTE + HOUR <= ended(world) <= 170 * MINUTE + HOUR + MINUTE


def test_a_gpu_that_is_stuck_keeps_no_pod_and_one_that_is_worked_with_does(worlds):
    world = worlds(30, most="0")
    world.gpu = 100
    for minute in range(0, 600, 30):
        world.at(minute * MINUTE, lambda: use(world))
    assert 570 * MINUTE + 2 * HOUR <= ended(world) <= 570 * MINUTE + 2 * HOUR + MINUTE


@pytest.mark.parametrize("only", ["REST", "runpodctl stop", "runpodctl pod", "GraphQL"])
def test_whichever_way_works_is_found_behind_those_that_are_accepted_without_effect(worlds, only: str):
    world = worlds(1)
    world.works = lambda name: name == only
    assert ended(world) <= HOUR + 6 * MINUTE
    assert [name for _, name in world.tried] == ["REST", "runpodctl stop", "runpodctl pod", "GraphQL"][
        : len(world.tried)
    ]


def test_when_no_way_works_it_tries_for_weeks_and_says_so_each_time(worlds, caplog: pytest.LogCaptureFixture):
    world = worlds(14)
    world.accepts = lambda _: False
    with pytest.raises(Over):
        watchdog.watch()
    rounds = caplog.messages.count(stopping.CANNOT)
    assert rounds == len(world.tried) / 4 and rounds > 13 * 24 * 60 * 0.9
    world.until += 24 * HOUR
    world.accepts = lambda name: name == "GraphQL"
    ended(world)


@pytest.mark.parametrize("broken", ["the folder", "the tasks", "the gpu", "everything"])
def test_what_cannot_be_asked_or_noted_ends_no_watchdog(worlds, monkeypatch, caplog, tmp_path: Path, broken: str):
    world = worlds(30, files=True)

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def breaks() -> None:
        world.broken = ("the tasks", "the gpu") if broken == "everything" else (broken,)
        if broken in ("the folder", "everything"):
            monkeypatch.setattr(state.atomic_file, "write", fails)
            monkeypatch.setattr(state.os, "utime", fails)
            monkeypatch.setattr(state, "_FOLDER", str(tmp_path / "gone"))

    world.session = True
    world.at(20 * MINUTE, breaks)
    # What is not known is no work: the pod ends an hour after the last that was seen.
    known = broken in ("the folder", "the gpu")
    least, most = (12 * HOUR, 12 * HOUR) if known else (80 * MINUTE - 15, 80 * MINUTE)
    assert least <= ended(world) <= most + MINUTE
    assert sum("No space left" in said or "gone" in said for said in caplog.messages) <= 4, "each is said once"


def test_a_look_that_fails_altogether_is_repeated(worlds, monkeypatch: pytest.MonkeyPatch, caplog):
    world = worlds(1)
    real, failed = watchdog.Watch.look, []

    def look(self: watchdog.Watch, *given: object) -> object:
        if world.age < 30 * MINUTE:
            failed.append(1)
            raise MemoryError
        return real(self, *given)

    monkeypatch.setattr(watchdog.Watch, "look", look)
    assert ended(world) <= HOUR + MINUTE and len(failed) == 30 * 4
    assert caplog.messages.count("A look has failed, and is repeated: MemoryError") == len(failed)


def test_a_container_that_is_started_over_all_day_ends_with_the_most_hours(worlds):
    world = worlds(30)
    world.session = True
    lives = 0
    with pytest.raises(Ended):
        while True:
            lives += 1
            world.until = world.age + 5 * MINUTE
            with pytest.raises(Over):
                watchdog.watch()
            world.boot += 40  # until the container is there again
    assert 12 * HOUR <= world.age <= 12 * HOUR + 6 * MINUTE and lives > 100


def test_random_weeks_end_in_time_and_never_in_the_middle_of_use(worlds, monkeypatch: pytest.MonkeyPatch):
    for seed in range(12):
        chance = random.Random(seed)
        world = worlds(60, idle=str(chance.choice([5, 30, 60, 240])), most=str(chance.choice([1, 12, 100, 0])))
        idle = float(watchdog.os.environ["IDLE_STOP_MINUTES"]) * MINUTE
        most = float(watchdog.os.environ["MAX_HOURS"]) * HOUR or float("inf")
        uses = [0.0]
        while uses[-1] < chance.choice([1, 5, 20]) * 24 * HOUR:
            uses.append(uses[-1] + chance.uniform(1, idle * 1.02))
        for age in uses[1:]:
            world.at(age, lambda world=world: use(world))
        for _ in range(10):
            jump = chance.uniform(-200, 200) * HOUR
            world.at(
                chance.uniform(0, uses[-1]), lambda jump=jump, world=world: setattr(world, "wall", world.wall + jump)
            )
        gap = next((a for a, b in zip(uses, [*uses[1:], float("inf")], strict=True) if b - a > idle + 20), uses[-1])
        expected = min(gap + idle, most)
        assert abs(ended(world) - expected) <= MINUTE or any(
            idle - 20 <= b - a <= idle + 20 for a, b in itertools.pairwise(uses)
        ), seed


# --- a question that hangs ---


def test_a_question_that_hangs_is_not_asked_again_and_one_that_answers_is(monkeypatch: pytest.MonkeyPatch):
    go, asked = threading.Event(), []
    question = Question(lambda: (asked.append(1), go.wait(10))[1])
    for _ in range(3):
        with pytest.raises(TimeoutError, match=re.escape("no answer within 0.05 s")):
            question.answer(0.05)
    assert len(asked) == 1
    go.set()
    assert question.answer(5) is True and question.answer(5) is True and len(asked) == 2


def test_a_question_that_fails_says_why():
    with pytest.raises(ZeroDivisionError):
        Question(lambda: 1 / 0).answer(5)

"""The annotators on paper, beside what can be reckoned without them."""

from pathlib import Path
from random import Random
from statistics import fmean

import pytest

from bench import sizing
from bench.simulation import CLICK, KINDS, Habits, Service, simulate, split
from tests.support.paths import ROOT

NOTHING = dict.fromkeys(KINDS, 0.0)
HABITS = Habits()


def mean_wait(servers: list[int], seconds: float, click: float = 0.2, habits: Habits = HABITS) -> float:
    return fmean(simulate(servers, habits, Service(click, NOTHING), seconds).waits[CLICK])


class Seldom(Habits):
    """Many of them ask by chance: a Poisson process."""

    def think(self, what: str, lot: Random) -> float:
        return lot.expovariate(1 / self.medians[what]) if what == CLICK else 0.0


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_many_at_one_server_wait_as_in_an_m_d_1_queue(load: float):
    """For their turn: load / 2 (1 - load) of a click."""
    habits = Seldom({CLICK: 400 * 0.2 / load}, clicks=1)
    expected = 0.2 + 0.2 * load / (2 * (1 - load))
    assert mean_wait([400], 1500, 0.2, habits) == pytest.approx(expected, rel=0.1)


def test_one_annotator_never_waits_for_another():
    outcome = simulate([1, 1, 1], HABITS, Service(0.5, NOTHING | {"save": 2.0}), 600)
    for what, seconds in ((CLICK, 0.5), ("save", 2)):
        assert outcome.waits[what] == pytest.approx([seconds] * len(outcome.waits[what]))
    assert min(outcome.labels) >= 4


def test_a_server_that_has_too_much_to_do_computes_without_a_pause():
    outcome = simulate([100], Habits(arrival=0), Service(2.0, NOTHING), 600)
    assert len(outcome.waits[CLICK]) == pytest.approx(300, abs=5)


def test_more_servers_never_make_anybody_wait_longer():
    waits = [mean_wait([60 // servers] * servers, 200) for servers in (1, 2, 3, 4, 6, 10)]
    assert waits == sorted(waits, reverse=True) and waits[0] > 2 * waits[-1]


def test_the_same_seed_gives_the_same_and_another_one_another():
    first, again = (simulate([5], HABITS, Service(0.2, NOTHING), 200) for _ in range(2))
    assert first == again != simulate([5], HABITS, Service(0.2, NOTHING), 200, seed=2)


def test_thinking_is_log_normal():
    lot = Random(3)
    thought = sorted(HABITS.think(CLICK, lot) for _ in range(2001))
    assert thought[1000] == pytest.approx(4, rel=0.05)
    assert fmean(thought) == pytest.approx(4 * 1.197, rel=0.05)


def test_the_door_sends_everybody_somewhere():
    assert sum(split(500, 7)) == 500 and split(9, 1) == [9] and len(split(3, 5)) == 5


def test_the_table_of_sizes_is_put_into_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in {"_ANNOTATORS": (1, 6), "_GPUS": (1, 3), "_SECONDS": 100}.items():
        monkeypatch.setattr(sizing, name, value)
    document = tmp_path / "several-servers.md"
    document.write_text(f"before\n{sizing.BEGIN}an older one\n{sizing.END}after\n")
    sizing.write(document, 0.5)
    written = document.read_text()
    assert written.startswith("before\n") and written.endswith("after\n") and "older" not in written
    assert "| GPUs | 1 annotators | 6 annotators |" in written
    assert "| 1 | 0.5 s, 0.5 s, 0.5 s | 0.5 s, " in written and "| 3 |  | 0.5 s, " in written
    sizing.write(document, 0.5)
    assert document.read_text() == written
    document.write_text("nothing\n")
    with pytest.raises(ValueError, match="no place"):
        sizing.write(document, 0.5)


def test_the_document_of_several_servers_has_a_place_for_the_table():
    document = (ROOT / "docs" / "several-servers.md").read_text()
    assert document.count(sizing.BEGIN) == document.count(sizing.END) == 1

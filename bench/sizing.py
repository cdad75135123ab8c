"""How many GPUs so many annotators need: the simulation's answers, as a table in docs/several-servers.md."""

from pathlib import Path

from bench.annotators import SHARES
from bench.simulation import CLICK, KINDS, Habits, Service, simulate, split

_ANNOTATORS = (5, 50, 500)
_GPUS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40)
_SECONDS = 600
BEGIN, END = "<!-- sizes: made by bench/run.py annotators -->\n", "<!-- /sizes -->\n"


def write(document: Path, click: float) -> None:
    """Put the table into a document, in the place of the one that it has.

    Args:
        document: with the two comments between which the table is.
        click: seconds for which a click keeps a GPU.

    """
    before, begin, rest = document.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{document.name} has no place for the table")
    document.write_text(f"{before}{begin}\n{table(click)}\n{end}{after}")


def table(click: float) -> str:
    """Markdown: what half, 95 % and 99 % of all clicks come within, by annotators and GPUs."""
    lines = [
        f"| GPUs | {' | '.join(f'{number} annotators' for number in _ANNOTATORS)} |",
        f"|--:|{'--:|' * len(_ANNOTATORS)}",
    ]
    for gpus in _GPUS:
        cells = [_waits(annotators, gpus, click) if gpus <= annotators else "" for annotators in _ANNOTATORS]
        lines.append(f"| {gpus} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _waits(annotators: int, gpus: int, click: float) -> str:
    service = Service(click, dict.fromkeys(KINDS, 0.0))
    outcome = simulate(split(annotators, gpus), Habits(), service, _SECONDS)
    return ", ".join(f"{outcome.within(CLICK, share):.2g} s" for share in SHARES.values())

"""What was measured: rows, their table, and their plot."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Row:
    """One thing measured on both sides.

    Attributes:
        what: in words.
        ours: median.
        theirs: median of the alternative in the same run.
        unit: of both.
        target: the highest ratio ours/theirs that was aimed at.
        note: whatever must be said besides.
        part: of the benchmark.

    """

    what: str
    ours: float
    theirs: float
    unit: str
    target: float
    note: str = ""
    part: str = ""

    @property
    def ratio(self) -> float:
        """Ours by theirs."""
        return self.ours / self.theirs

    @property
    def met(self) -> bool:
        """Whether the target was."""
        return self.ratio <= self.target


def row(what: str, ours: list[float], theirs: list[float], unit: str, target: float, note: str = "") -> Row:
    """A row of medians."""
    return Row(what, median(ours), median(theirs), unit, target, note)


def table(rows: list[Row], left_out: list[str]) -> str:
    """Markdown."""
    machine = f"{os.cpu_count()} cores ({platform.machine()}), no GPU"
    lines = [
        f"Medians, measured on {datetime.now(UTC):%Y-%m-%d} with {machine}.",
        "",
        "| what | ours | alternative | ratio | target | met |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for each in rows:
        numbers = f"{_number(each.ours)} {each.unit} | {_number(each.theirs)} {each.unit} | {_number(each.ratio)}"
        lines.append(f"| {each.what} | {numbers} | {_number(each.target)} | {'yes' if each.met else '**no**'} |")
    notes = [f"- {each.what}: {each.note}" for each in rows if each.note]
    missing = [f"- Not measured: {what}" for what in left_out]
    return "\n".join([*lines, "", *notes, *missing]) + "\n"


def read(folder: Path) -> list[Row]:
    """The rows of an earlier run; none where there was none."""
    file = folder / "benchmark.json"
    return [Row(**each) for each in json.loads(file.read_text())] if file.exists() else []


def write(rows: list[Row], left_out: list[str], folder: Path) -> None:
    """benchmark.md, benchmark.json and benchmark.png."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmark.md").write_text(table(rows, left_out))
    (folder / "benchmark.json").write_text(json.dumps([asdict(each) for each in rows], indent=1) + "\n")
    figure = Figure(figsize=(9, 0.4 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    places = range(len(rows), 0, -1)
    colors = ["tab:green" if each.met else "tab:red" for each in rows]
    axes.barh(list(places), [each.ratio for each in rows], color=colors)
    axes.plot([each.target for each in rows], list(places), "k|", markersize=14, label="target")
    axes.axvline(1, color="gray", linewidth=0.8)
    axes.set_yticks(list(places), [each.what for each in rows], fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("ours / alternative (1: the same; further left is better)")
    axes.legend(loc="lower right")
    figure.savefig(folder / "benchmark.png", dpi=100)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"

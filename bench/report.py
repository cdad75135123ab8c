"""What was measured: rows, their table, and their plot."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.figure import Figure

from bench.gpu_results import number, section

_NO_GPU = "anything on a GPU: bench/gpu.sh measures it where there is one"


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


def table(rows: list[Row], left_out: list[str], day: str) -> str:
    """Markdown."""
    machine = f"{os.cpu_count()} cores ({platform.machine()}), no GPU"
    lines = [
        f"Medians, measured on {day} with {machine}.",
        "",
        "| what | ours | alternative | ratio | target | met |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for each in rows:
        numbers = f"{number(each.ours)} {each.unit} | {number(each.theirs)} {each.unit} | {number(each.ratio)}"
        lines.append(f"| {each.what} | {numbers} | {number(each.target)} | {'yes' if each.met else '**no**'} |")
    notes = [f"- {each.what}: {each.note}" for each in rows if each.note]
    missing = [f"- Not measured: {what}" for what in left_out]
    return "\n".join([*lines, "", *notes, *missing]) + "\n"


def read(folder: Path) -> list[Row]:
    """The rows of an earlier run; none if there was none."""
    return [Row(**each) for each in _kept(folder)["rows"]]


def write(rows: list[Row], left_out: list[str], folder: Path) -> None:
    """benchmark.md, benchmark.json and benchmark.png; what was measured on a GPU stays in them."""
    _write({"day": f"{datetime.now(UTC):%Y-%m-%d}", "rows": [asdict(each) for each in rows]}, left_out, folder)


def take_up(gpu: Path, left_out: list[str], folder: Path) -> None:
    """Put what bench/gpu.sh found into the report, in the place of what it found earlier."""
    _write({"gpu": json.loads(gpu.read_text())}, left_out, folder)


def _kept(folder: Path) -> dict[str, Any]:
    file = folder / "benchmark.json"
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"day": "", "rows": [], "gpu": None}
    return kept


def _write(found: dict[str, Any], left_out: list[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = _kept(folder) | found
    gpu, rows = content["gpu"], [Row(**each) for each in content["rows"]]
    text = table(rows, left_out if gpu else [_NO_GPU, *left_out], content["day"])
    (folder / "benchmark.md").write_text(f"{text}\n{section(gpu)}" if gpu else text)
    (folder / "benchmark.json").write_text(_dumped(content))
    _plot(rows, folder / "benchmark.png")


def _dumped(content: dict[str, Any]) -> str:
    """The content as JSON, a row a line."""
    rows = ",\n".join(f"  {json.dumps(each)}" for each in content["rows"])
    return json.dumps(content | {"rows": []}, indent=1).replace('"rows": []', f'"rows": [\n{rows}\n ]') + "\n"


def _plot(rows: list[Row], file: Path) -> None:
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
    figure.savefig(file, dpi=100)

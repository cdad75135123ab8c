"""Draws trainings: JSON on standard input, PNG on standard output. Runs in the label server's container."""

import json
import sys
from typing import Any

from matplotlib.figure import Figure


def main() -> None:
    """Loss and Dice of the last training on the left, the best Dice of each on the right."""
    runs: list[dict[str, Any]] = json.load(sys.stdin)
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    last, best = figure.subplots(1, 2)
    _epochs(last, runs[-1])
    _best(best, runs)
    figure.savefig(sys.stdout.buffer, format="png", dpi=120)


def _epochs(axes: Any, run: dict[str, Any]) -> None:
    axes.set_title(
        f"{run['model']}, {run['started'][:16].replace('T', ' ')} UTC, {run['studies']} studies", fontsize=10
    )
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    for name, label, color in (("loss", "loss (mean)", "tab:red"), ("dice", "Dice", "tab:blue")):
        if run[name]:
            axes.plot(*zip(*run[name], strict=True), marker="o", markersize=3, color=color, label=label)
    if axes.lines:
        axes.legend()
    axes.set_ylim(bottom=0)


def _best(axes: Any, runs: list[dict[str, Any]]) -> None:
    axes.set_title("Best Dice of each training", fontsize=10)
    axes.set_xlabel("training")
    axes.xaxis.get_major_locator().set_params(integer=True)
    for model in sorted({run["model"] for run in runs}):
        points = [
            (number, run["best_dice"])
            for number, run in enumerate(runs, start=1)
            if run["model"] == model and run["best_dice"] is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=model)
    if axes.lines:
        axes.legend()
    axes.set_ylim(0, 1.05)


if __name__ == "__main__":
    main()

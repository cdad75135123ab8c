"""What the runs of bench/gpu.py found, as JSON, and as a section of docs/benchmark.md."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# The image's torch, which can be had where the figures are taken or not.
_PINNED = "The image pins torch 2.10 with CUDA 12.8."


class Results:
    """The figures of one run beside those of earlier runs in the same file.

    Args:
        path: the file; it need not be there.
        condition: what the figures of this run are called.

    """

    def __init__(self, path: Path, condition: str) -> None:
        self._path = path
        self._condition = condition
        empty: dict[str, Any] = {"machine": {}, "figures": [], "findings": [], "problems": [], "libraries": {}}
        self._found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else empty

    def machine(self, versions: dict[str, str]) -> None:
        """Where this is measured, with which versions."""
        self._found["machine"] = versions | {"day": f"{datetime.now(UTC):%Y-%m-%d}"}

    def figure(self, what: str, value: float, unit: str, condition: str = "") -> None:
        """Put a figure on record."""
        figure = {"what": what, "value": value, "unit": unit, "condition": condition or self._condition}
        print(f"  {figure['condition']}: {what}: {number(value)} {unit}", flush=True)
        self._found["figures"].append(figure)

    def finding(self, sentence: str) -> None:
        """Put on record what is no figure."""
        print(f"  {self._condition}: {sentence}", flush=True)
        self._found["findings"].append({"condition": self._condition, "sentence": sentence})

    def problem(self, part: str, error: str) -> None:
        """Put on record that a part could not be measured."""
        self._found["problems"].append({"condition": self._condition, "part": part, "error": error})

    def libraries(self, loaded: list[str]) -> None:
        """Put on record which of CUDA's libraries this run has loaded so far."""
        known = self._found["libraries"].get(self._condition, [])
        self._found["libraries"][self._condition] = sorted({*known, *loaded})

    def write(self) -> None:
        """All of it so far."""
        self._path.write_text(json.dumps(self._found, indent=1) + "\n")


def section(found: dict[str, Any]) -> str:
    """Markdown of what Results wrote."""
    machine = found["machine"]
    lines = [
        "## On a GPU",
        "",
        f"Measured on {machine['day']} with {machine['card']}, {machine['memory']}, driver {machine['driver']}, "
        f"torch {machine['torch']} with CUDA {machine['cuda']}, Python {machine['python']}, {machine['cores']} cores. "
        f"{_PINNED} The networks have random weights.",
        "",
        *_table(found["figures"]),
        "",
        *[f"- {each['condition']}: {each['sentence']}" for each in found["findings"]],
        *[f"- {condition}: loaded of cuDNN: {_cudnn(names)}" for condition, names in found["libraries"].items()],
        *[f"- Not measured: {each['part']} ({each['condition']}): {each['error']}" for each in found["problems"]],
    ]
    return "\n".join(lines) + "\n"


def _table(figures: list[dict[str, Any]]) -> list[str]:
    conditions = list(dict.fromkeys(each["condition"] for each in figures))
    cells = {(each["what"], each["condition"]): f"{number(each['value'])} {each['unit']}".strip() for each in figures}
    rows = [
        f"| {what} | {' | '.join(cells.get((what, condition), '') for condition in conditions)} |"
        for what in dict.fromkeys(each["what"] for each in figures)
    ]
    return [f"| what | {' | '.join(conditions)} |", f"|---|{'--:|' * len(conditions)}", *rows]


def _cudnn(libraries: list[str]) -> str:
    names = [name.removeprefix("libcudnn_").split(".so")[0] for name in libraries if name.startswith("libcudnn_")]
    return ", ".join(names) or "nothing"


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"

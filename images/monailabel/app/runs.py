"""What a training did: its progress while it runs, and afterwards one record for good.

Both are files beside the model, because a training is a process of its own.
"""

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROGRESS, RUNS = "progress.json", "runs.jsonl"


class Run:
    """One training, as its events come in.

    Args:
        folder: of the model's runs.
        name: of the run.
        studies: labelled studies that it trains on.
        epochs: that it is to take.

    """

    def __init__(self, folder: Path, name: str, studies: int, epochs: int) -> None:
        self._folder = folder
        self._started = time.time()
        self._data: dict[str, Any] = {
            "run": name,
            "pid": os.getpid(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "studies": studies,
            "epochs": epochs,
            "epoch": 0,
            "iteration": 0,
            "iterations": 0,
            "loss": [],
            "dice": [],
            "published": False,
        }
        folder.mkdir(parents=True, exist_ok=True)
        self.save()

    def iteration(self, number: int, of: int, loss: float) -> None:
        """An iteration of the current epoch is done."""
        self._data.update(iteration=number, iterations=of, last_loss=loss)
        self.save()

    def epoch(self, number: int, loss: float) -> None:
        """An epoch is done; `loss` is its mean."""
        self._data.update(epoch=number, loss=[*self._data["loss"], [number, loss]])
        self.save()

    def validated(self, epoch: int, dice: float) -> None:
        """The model was tried on what it does not train on."""
        self._data.update(dice=[*self._data["dice"], [epoch, dice]])
        self.save()

    def published(self) -> None:
        """The weights serve from now on."""
        self._data.update(published=True)
        self.save()

    def end(self, problem: str = "") -> None:
        """The training has ended; what it did is kept."""
        best = max((value for _, value in self._data["dice"]), default=None)
        record = self._data | {"seconds": round(time.time() - self._started, 1), "best_dice": best, "problem": problem}
        for transient in ("pid", "iteration", "iterations", "last_loss"):
            record.pop(transient, None)
        with (self._folder / RUNS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        (self._folder / PROGRESS).unlink(missing_ok=True)

    def save(self) -> None:
        """Write the progress, whole or not at all."""
        self._data["seconds"] = round(time.time() - self._started, 1)
        draft = self._folder / f"{PROGRESS}.draft"
        draft.write_text(json.dumps(self._data), encoding="utf-8")
        draft.replace(self._folder / PROGRESS)


def progress(folder: Path) -> dict[str, Any] | None:
    """How far the training of this model is; None where none runs."""
    try:
        data: dict[str, Any] = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        os.kill(data["pid"], 0)  # asks whether the process is there, and does nothing to it
    except (OSError, ValueError, KeyError):
        return None
    return data


def history(folder: Path) -> list[dict[str, Any]]:
    """All trainings of this model that ended, oldest first; a killed one is closed with what is known of it."""
    records: list[dict[str, Any]] = []
    path = folder / RUNS
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:  # the line of a process that was killed while it wrote
                continue
    left = folder / PROGRESS
    if left.exists() and progress(folder) is None:
        try:
            killed = json.loads(left.read_text(encoding="utf-8"))
        except ValueError:
            return records
        best = max((value for _, value in killed["dice"]), default=None)
        records.append(killed | {"best_dice": best, "problem": "it was stopped"})
    return records

"""What a training did: its progress while it runs, and afterwards one record for good.

Both are files beside the model, because a training is a process of its own.
"""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from monailabel.config import settings
from monailabel.endpoints import train

from label_server.models.provenance import PROGRESS, RUNS, records
from labelpod_common import atomic_file


class Run:
    """One training, as its events come in.

    Args:
        folder: of the model's runs.
        name: of the run.
        studies: labelled studies that it trains on.
        epochs: that it is to take.
        left_out: labelled images that it could not read, each with its `image` and `reason`.

    """

    def __init__(
        self, folder: Path, name: str, studies: int, epochs: int, left_out: Sequence[Mapping[str, str]] = ()
    ) -> None:
        self._folder = folder
        self._started = time.time()
        self._data: dict[str, Any] = {
            "run": name,
            "process": _process(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "studies": studies,
            "left_out": list(left_out),
            "epochs": epochs,
            "epoch": 0,
            "iteration": 0,
            "iterations": 0,
            "loss": [],
            "dice": [],
            "published": False,
            "checksum": None,
        }
        folder.mkdir(parents=True, exist_ok=True)
        _close_killed(folder)
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

    def published(self, checksum: str) -> None:
        """Weights with this SHA-256 serve from now on."""
        self._data.update(published=True, checksum=checksum)
        self.save()

    def end(self, problem: str = "") -> None:
        """The training has ended; what it did is kept."""
        self._data["seconds"] = round(time.time() - self._started, 1)
        _record(self._folder, self._data, problem)

    def save(self) -> None:
        """Write the progress, whole or not at all."""
        self._data["seconds"] = round(time.time() - self._started, 1)
        atomic_file.write(self._folder / PROGRESS, json.dumps(self._data).encode())


def progress(folder: Path) -> dict[str, Any] | None:
    """How far the training of this model is; None if none runs."""
    try:
        data: dict[str, Any] = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        alive: bool = _process(data["process"][0]) == data["process"]
    except (OSError, ValueError, KeyError, psutil.Error):
        return None
    return data if alive else None


def _process(pid: int | None = None) -> list[float]:
    """A process, this one by default: its number, which may be given again, and when it started."""
    process = psutil.Process(pid)
    return [process.pid, process.create_time()]


def history(folder: Path) -> list[dict[str, Any]]:
    """All trainings of this model that ended, oldest first."""
    _close_killed(folder)
    return records(folder / RUNS)


def stop() -> Any:
    """Stop the training that runs, and remove the images that it worked on; what it had published stays."""
    stopped = train.stop()
    for folder in Path(settings.MONAI_LABEL_APP_DIR, "model").iterdir():
        remove_caches(folder)
    return stopped


def remove_caches(folder: Path) -> None:
    """Remove the copies of images that this model's trainings worked on."""
    for cache in folder.glob("*/cache_*"):
        shutil.rmtree(cache, ignore_errors=True)


def _record(folder: Path, data: dict[str, Any], problem: str) -> None:
    best = max((value for _, value in data["dice"]), default=None)
    record = data | {"best_dice": best, "problem": problem}
    for transient in ("process", "iteration", "iterations", "last_loss"):
        record.pop(transient, None)
    with (folder / RUNS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    (folder / PROGRESS).unlink(missing_ok=True)


def _close_killed(folder: Path) -> None:
    """Record a training that was killed before it could do so itself."""
    left = folder / PROGRESS
    if left.exists() and progress(folder) is None:
        try:
            _record(folder, json.loads(left.read_text(encoding="utf-8")), "it was stopped")
        except (ValueError, KeyError, TypeError):
            left.unlink(missing_ok=True)

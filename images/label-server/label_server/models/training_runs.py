"""What a training did: its progress while it runs, and afterwards one record for good.

Both are files beside the model, because a training is a process of its own.
"""

import json
import shutil
import socket
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from monailabel.config import settings
from monailabel.endpoints import train

from label_server import server_role
from label_server.models.provenance import PROGRESS, RUNS, records
from labelpod_common import atomic_file

# A training of another host is believed to run if it was heard of within that time: it tells each of its iterations.
_FRESH_SECONDS = 900


class Run:
    """One training, as its events come in.

    Args:
        folder: of the model's runs.
        name: of the run.
        studies: labelled studies that it trains on; 0 if they are not known yet.
        epochs: that it is to take.
        batch_size: slices or regions that it works on at once.
        val_split: share of the labels that it is to be measured on.

    Raises:
        RuntimeError: another host trains the model.

    """

    def __init__(
        self,
        folder: Path,
        name: str,
        studies: int,
        epochs: int,
        batch_size: int | None = None,
        val_split: float | None = None,
    ) -> None:
        self._folder = folder
        self._started = time.time()
        self._data: dict[str, Any] = {
            "run": name,
            "process": _process(),
            "host": socket.gethostname(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "studies": studies,
            "left_out": [],
            "epochs": epochs,
            "batch_size": batch_size,
            "val_split": val_split,
            "patients": [],
            "study": None,
            "epoch": 0,
            "iteration": 0,
            "iterations": 0,
            "loss": [],
            "dice": [],
            "published": False,
            "checksum": None,
        }
        folder.mkdir(parents=True, exist_ok=True)
        if (other := progress(folder)) and _of_another_host(other):
            raise RuntimeError(f"{other.get('host')} trains this model already")
        _close_killed(folder)
        self.save()

    def preparing(
        self, entries: Sequence[dict[str, Any]], left_out: Sequence[Mapping[str, str]] = ()
    ) -> list[dict[str, Any]]:
        """The images and labels that it trains on; as they are gone through, the one at hand is noted.

        Args:
            entries: of the datastore.
            left_out: labelled images that it could not read, each with its `image` and `reason`.

        """
        self._data.update(studies=len(entries), left_out=list(left_out))
        self.save()
        return _Noted(entries, self)

    def at(self, study: str | None) -> None:
        """The study, by its image's UID, that is being prepared; None if all are."""
        self._data.update(study=study)
        self.save()

    def measured_on(self, patients: Collection[str]) -> None:
        """The patients that it does not train on."""
        self._data.update(patients=sorted(patients), study=None)
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


def reason(error: BaseException) -> str:
    """Why a training failed: the first line of what was wrong at first; MONAI says only which of its steps failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).splitlines()[0] if str(error).strip() else type(error).__name__


class _Noted(list[dict[str, Any]]):
    """Entries that are noted as they are gone through."""

    def __init__(self, entries: Sequence[dict[str, Any]], run: Run) -> None:
        super().__init__(entries)
        self._run = run

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for entry in super().__iter__():
            self._run.at(Path(entry["image"]).name.partition(".nii")[0])
            yield entry
        self._run.at(None)


def progress(folder: Path) -> dict[str, Any] | None:
    """How far the training of this model is; None if none runs."""
    try:
        file = folder / PROGRESS
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if _of_another_host(data):
            return data if time.time() - file.stat().st_mtime < _FRESH_SECONDS else None
        alive: bool = _process(data["process"][0]) == data["process"]
    except (OSError, ValueError, KeyError, psutil.Error):
        return None
    return data if alive else None


def _of_another_host(data: Mapping[str, Any]) -> bool:
    """Whether its process cannot be looked at here. A workspace is one server's, whatever its container is called."""
    return server_role.shared_models() is not None and data.get("host") != socket.gethostname()


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
        run = progress(folder)
        if run and _of_another_host(run):
            continue
        remove_caches(folder)
        if stopped:
            _close(folder, time.time())
    return stopped


def remove_caches(folder: Path) -> None:
    """Remove the copies of images that this model's trainings worked on."""
    for cache in folder.glob("*/cache_*"):
        shutil.rmtree(cache, ignore_errors=True)


def _record(folder: Path, data: dict[str, Any], problem: str) -> None:
    best = max((value for _, value in data["dice"]), default=None)
    record = data | {"best_dice": best, "problem": problem}
    for transient in ("process", "host", "iteration", "iterations", "last_loss"):
        record.pop(transient, None)
    with (folder / RUNS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    (folder / PROGRESS).unlink(missing_ok=True)


def _close_killed(folder: Path) -> None:
    """Record a training that was killed before it could do so itself; how long it took until it was last heard of.

    Only where trainings run: others cannot know.
    """
    left = folder / PROGRESS
    if server_role.writes_models() and left.exists() and progress(folder) is None:
        _close(folder, left.stat().st_mtime)


def _close(folder: Path, ended: float) -> None:
    """Record a training that has ended without its own doing at this time, in seconds since 1970, if there was one."""
    try:
        data = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        seconds = ended - datetime.fromisoformat(data["started"]).timestamp()
        _record(folder, data | {"seconds": round(max(0.0, seconds), 1)}, "it was stopped")
    except (FileNotFoundError, NotADirectoryError):  # weights lie beside the folders of runs
        return
    except (ValueError, KeyError, TypeError):
        (folder / PROGRESS).unlink(missing_ok=True)

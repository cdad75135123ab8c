"""Where weights came from, found by their checksum: a training here, another server, a release, an upload."""

import json
import os
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from label_server.models.pretrained import RECORD
from label_server.models.registry import Model
from labelpod_common import atomic_file

# Beside the models: what came from outside, by checksum. In a run's folder: the training that runs, and those before.
IMPORTED = "imported.json"
PROGRESS, RUNS = "progress.json", "runs.jsonl"
_Count = Annotated[int, Field(ge=0, le=10**9)]


class Origin(BaseModel):
    """Where weights came from; None is what nobody knows. Strict, because archives from outside hold it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    weights: Literal["trained", "pretrained", "uploaded"]
    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    dice: Annotated[float, Field(ge=0, le=1)] | None = None
    studies: _Count | None = None
    epochs: _Count | None = None


class Imported(Origin):
    """Weights that came from outside, and when (UTC)."""

    imported: str


def on_record(model: Model) -> dict[str, Origin]:
    """All checksums that are known of a model's weights, each with where it came from."""
    pretrained = {
        entry["sha256"]: Origin(weights="pretrained")
        for folder in (Path(os.environ["WEIGHTS"]), model.folder)
        for name, entry in _object(folder / RECORD).items()
        if name == f"pretrained_{model.stem}.pt"
    }
    trained = {run["checksum"]: _of_run(run) for run in _runs(model.runs) if run.get("checksum")}
    return imported(model.folder) | pretrained | trained


def of(model: Model, path: Path, checksum: str) -> Origin:
    """Where the weights in a file of the model came from, as far as anybody knows."""
    guess = Origin(weights="trained" if path == model.published else "pretrained")
    return on_record(model).get(checksum, guess)


def imported(folder: Path) -> dict[str, Imported]:
    """The weights that came from outside, by checksum."""
    found: dict[str, Imported] = {}
    for checksum, entry in _object(folder / IMPORTED).items():
        with suppress(ValidationError):  # of another version
            found[checksum] = Imported.model_validate(entry)
    return found


def record_import(folder: Path, checksum: str, origin: Origin) -> None:
    """Remember weights that come from outside; what is known of them already stays."""
    # The server and an import on the command line may do so at once.
    with FileLock(Path(tempfile.gettempdir(), f"{IMPORTED}.lock")):
        known = _object(folder / IMPORTED)
        known.setdefault(checksum, origin.model_dump() | {"imported": datetime.now(UTC).isoformat(timespec="seconds")})
        atomic_file.write(folder / IMPORTED, json.dumps(known, indent=2).encode())


def records(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of records; one that a killed process left half written is skipped."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def _runs(folder: Path) -> list[dict[str, Any]]:
    """The trainings that ended, and the one that runs, which may have published already."""
    return [*records(folder / RUNS), _object(folder / PROGRESS)]


def _of_run(run: dict[str, Any]) -> Origin:
    # Where nothing is to be found in the image, Dice is not a number.
    dice = max((value for _, value in run["dice"] if 0 <= value <= 1), default=None)
    return Origin(weights="trained", run=run["run"], dice=dice, studies=run["studies"], epochs=run["epoch"])


def _object(path: Path) -> dict[str, Any]:
    """A JSON object; empty if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

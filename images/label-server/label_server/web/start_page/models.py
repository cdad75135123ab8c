"""What the models are for, what trainings made of them, and what runs now."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp

from label_server.models import training_runs
from label_server.web import worker_pools

_TRAININGS = 10


@dataclass(frozen=True)
class Training:
    """A training that has ended: its day, its best Dice from 0 to 1, None if it measured none, and its trouble."""

    day: str
    dice: float | None
    problem: str


@dataclass(frozen=True)
class Running:
    """A training that runs: of which model, how many of its epochs are done, and the loss of the last one, if any."""

    model: str
    epoch: int
    epochs: int
    loss: float | None = None


@dataclass(frozen=True)
class Shown:
    """A model, and its last trainings, the oldest first."""

    name: str
    words: str
    trained: bool
    trainings: list[Training]

    @property
    def measured(self) -> list[Training]:
        """The trainings that measured a Dice."""
        return [each for each in self.trainings if each.dice is not None]


@dataclass(frozen=True)
class Work:
    """What the server works on: inferences, and trainings."""

    inferences: int
    waiting: int
    trainings: list[Running]


def models(app: MONAILabelApp, told: dict[str, dict[str, Any]]) -> list[Shown]:
    """The models.

    Args:
        app: the server's.
        told: what /info/ tells of each.

    """
    return [
        Shown(
            name,
            str(info.get("purpose") or info.get("description", "")),
            bool(info.get("trained")),
            _trainings(app, name),
        )
        for name, info in sorted(told.items())
    ]


def work(app: MONAILabelApp) -> Work:
    """What the server works on now."""
    found = [(name, training_runs.progress(_folder(name))) for name in app._trainers]
    trainings = [_running(name, run) for name, run in found if run]
    return Work(worker_pools.inference.working, worker_pools.inference.waiting, trainings)


def _running(model: str, run: dict[str, Any]) -> Running:
    losses = run.get("loss") or []
    return Running(model, int(run["epoch"]), int(run["epochs"]), losses[-1][1] if losses else None)


def last_dice(app: MONAILabelApp, model: str) -> float | None:
    """The best Dice of the last training of a model that measured one."""
    measured = [each.dice for each in _trainings(app, model) if each.dice is not None]
    return measured[-1] if measured else None


def _trainings(app: MONAILabelApp, model: str) -> list[Training]:
    runs = training_runs.history(_folder(model))[-_TRAININGS:] if model in app._trainers else []
    return [
        Training(str(run.get("started", ""))[:10], _dice(run.get("best_dice")), str(run.get("problem", "")))
        for run in runs
    ]


def _dice(value: Any) -> float | None:
    """Where nothing is to be found in the image, Dice is not a number."""
    return value if isinstance(value, int | float) and 0 <= value <= 1 else None


def _folder(model: str) -> Path:
    return Path(settings.MONAI_LABEL_APP_DIR, "model", model)

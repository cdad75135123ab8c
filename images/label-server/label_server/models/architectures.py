"""The networks of this server's models, made as the sample app makes them, without its datastore."""

import hashlib
import importlib
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from monailabel.interfaces.config import TaskConfig

from label_server.models import registry
from label_server.models.registry import Model
from label_server.paths import SAMPLE_APPS

# The configurations get a folder that does not exist: some remove files of theirs.
_NOWHERE = "/nonexistent"


@dataclass(frozen=True)
class Network:
    """A model's network.

    Args:
        module: with random weights.
        key: under which a checkpoint may keep its weights beside others.
        labels: that it tells apart, name to value; None for click models.

    """

    module: torch.nn.Module
    key: str
    labels: dict[str, int] | None

    @property
    def architecture(self) -> str:
        """A digest of the names and shapes of its weights."""
        state = self.module.state_dict()
        lines = "".join(f"{name} {list(state[name].shape)}\n" for name in sorted(state))
        return hashlib.sha256(lines.encode()).hexdigest()


@cache
def make(model: Model) -> Network:
    """Make the network of a model of this server."""
    sample_app = str(SAMPLE_APPS / "radiology")
    if sample_app not in sys.path:
        sys.path.insert(0, sample_app)  # it imports its own `lib`
    module = importlib.import_module(f"lib.configs.{model.name}")
    (kind,) = (each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__)
    config: TaskConfig = kind()
    config.init(model.name, _NOWHERE, registry.conf(), None)
    if Path(config.path[-1]).name != model.published.name:
        raise RuntimeError(f"{model.name} is kept as {config.path[-1]}, not as {model.published.name}")
    tasks = config.infer()
    task = tasks[model.name] if isinstance(tasks, dict) else tasks
    return Network(config.network, task.model_state_dict, _labels(model.name, config.labels))


def _labels(name: str, labels: dict[str, int] | list[str]) -> dict[str, int] | None:
    if name.startswith("deepgrow"):
        return None
    numbered = labels if isinstance(labels, dict) else {label: value for value, label in enumerate(labels)}
    return {label: value for label, value in numbered.items() if label != "background"}

"""A click model: it tells no labels apart."""

from types import SimpleNamespace
from typing import Any

import torch


class Deepgrow2D:
    def init(self, name: str, model_dir: str, conf: dict[str, str], planner: Any) -> None:
        self.path = [f"{model_dir}/pretrained_{name}.pt", f"{model_dir}/{name}.pt"]
        self.labels = ["spleen"]
        self.network = torch.nn.Module(weight=torch.zeros(3, 2))

    def infer(self) -> Any:
        return SimpleNamespace(model_state_dict="model")

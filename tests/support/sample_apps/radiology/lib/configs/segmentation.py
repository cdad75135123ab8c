"""A model of two organs; of its inferences there are several, by name."""

from types import SimpleNamespace
from typing import Any

import torch


class Segmentation:
    def init(self, name: str, model_dir: str, conf: dict[str, str], planner: Any) -> None:
        self.path = [f"{model_dir}/pretrained_{name}.pt", f"{model_dir}/{name}.pt"]
        self.labels = {"background": 0, "left": 1, "right": 2}
        self.network = torch.nn.Module(weight=torch.zeros(2), bias=torch.zeros(2))

    def infer(self) -> dict[str, Any]:
        return {"segmentation": SimpleNamespace(model_state_dict="net"), "other": SimpleNamespace(model_state_dict="x")}

"""A sample app in the place of upstream's: what it has needs no torch, and does the same each time.

The label server loads it as it loads upstream's, and puts its own datastore, labels, strategies and sessions into it.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask


class Threshold(InferTask):
    """Segments what is denser than `above`; says which image it was given."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            InferType.SEGMENTATION, {"dense": 1}, 3, "What is denser than a threshold", {"device": ["cpu"], "above": 0}
        )
        self.path = [str(path)]
        self.network = torch.nn.Module(weight=torch.zeros(3, 2), bias=torch.zeros(3))
        self.asked: list[dict[str, Any]] = []

    def is_valid(self) -> bool:
        return True

    def get_path(self, validate: bool = True) -> str | None:
        return self.path[0] if not validate or Path(self.path[0]).exists() else None

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        self.asked.append(request)
        image = sitk.ReadImage(request["image"])
        mask = sitk.GetImageFromArray((sitk.GetArrayFromImage(image) > request.get("above", 0)).astype(np.uint8))
        mask.CopyInformation(image)
        with tempfile.NamedTemporaryFile(suffix=".nii.gz", delete=False) as file:
            sitk.WriteImage(mask, file.name)
        return file.name, {"label_names": {"dense": 1}}


class Trainer(TrainTask):
    """Trains nothing; offers what upstream's trainers offer."""

    def __init__(self) -> None:
        super().__init__("Trains nothing")
        self._config = {
            "name": "train_01",
            "pretrained": True,
            "device": ["cpu"],
            "max_epochs": 50,
            "early_stop_patience": -1,
            "val_split": 0.2,
            "gpus": "all",
            "dataset": ["SmartCacheDataset", "Dataset"],
            "tracking_uri": "sqlite:///x",
        }

    def config(self) -> dict[str, Any]:
        return self._config

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any]:
        return {"trained": request}


class First(Strategy):
    """The first image that nobody has labelled."""

    def __init__(self) -> None:
        super().__init__("First")

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any] | None:
        images = sorted(datastore.get_unlabeled_images())
        return {"id": images[0]} if images else None


class Dice(ScoringMethod):
    def __init__(self) -> None:
        super().__init__("Dice")

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any]:
        return {"dice": 1.0}


class MyApp(MONAILabelApp):
    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self._weights = Path(app_dir, "model", "threshold.pt")
        super().__init__(app_dir, studies, conf, name="Stand-in", description=json.dumps(sorted(conf)))

    def init_infers(self) -> dict[str, InferTask]:
        return {"threshold": Threshold(self._weights)}

    def init_trainers(self) -> dict[str, TrainTask]:
        return {"threshold": Trainer()}

    def init_strategies(self) -> dict[str, Strategy]:
        return {"first": First()}

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        return {"dice": Dice()}

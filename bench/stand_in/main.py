"""An app whose model answers a click after a set time, as one does that a GPU computes; MONAI Label loads it."""

import os
import tempfile
import time
from typing import Any

import SimpleITK as sitk
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

_SECONDS = float(os.environ["STAND_IN_SECONDS"])


class Clicked(InferTask):
    """Finds nothing."""

    def __init__(self) -> None:
        super().__init__(InferType.DEEPGROW, {"nodule1": 1}, 3, "Answers after a set time")

    def is_valid(self) -> bool:
        """It is shown."""
        return True

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """An empty mask of the image's size."""
        time.sleep(_SECONDS)
        reader = sitk.ImageFileReader()
        reader.SetFileName(request["image"])
        reader.ReadImageInformation()
        mask = sitk.Image(reader.GetSize(), sitk.sitkUInt8)
        mask.SetOrigin(reader.GetOrigin())
        mask.SetSpacing(reader.GetSpacing())
        mask.SetDirection(reader.GetDirection())
        with tempfile.NamedTemporaryFile(suffix=".nii.gz", delete=False) as file:
            sitk.WriteImage(mask, file.name)
        return file.name, {}


class MyApp(MONAILabelApp):
    """One model, and nothing to train."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        super().__init__(app_dir, studies, conf, name="Stand-in", description="Answers after a set time")

    def init_infers(self) -> dict[str, InferTask]:
        """The model."""
        return {"clicked": Clicked()}

    def init_trainers(self) -> dict[str, TrainTask]:
        """None."""
        return {}

    def init_strategies(self) -> dict[str, Strategy]:
        """None but the label server's own."""
        return {}

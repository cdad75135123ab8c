"""An annotator: the client that 3D Slicer's plugin uses, and what a label is to it."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import requests
import SimpleITK as sitk
from monailabel.client import MONAILabelClient
from numpy.typing import NDArray

LABELS = ("nodule1", "nodule2", "nodule3")


class Annotator:
    """Works at a label server as the Slicer plugin does."""

    def __init__(self, url: str) -> None:
        self.client = MONAILabelClient(url)
        self.url = url.rstrip("/")

    def next_sample(self) -> str | None:
        """The image that the server offers; None when all are labelled. What was just sent is waited for."""
        until = time.monotonic() + 20
        while True:
            answer = self.client.next_sample("random", {})
            if "arrive" not in str(answer.get("left_out")) or time.monotonic() > until:
                return answer.get("id")
            time.sleep(0.2)

    def image(self, image_id: str) -> sitk.Image:
        return self._download(f"/datastore/image?image={image_id}")

    def stored_label(self, image_id: str, tag: str = "final") -> sitk.Image:
        return self._download(f"/datastore/label?label={image_id}&tag={tag}")

    def _download(self, path: str) -> sitk.Image:
        answer = requests.get(f"{self.url}{path}", timeout=120)
        answer.raise_for_status()
        with tempfile.NamedTemporaryFile(suffix=".nii.gz") as file:
            file.write(answer.content)
            file.flush()
            return sitk.ReadImage(file.name)

    def click(self, model: str, image_id: str, point: list[int], label: str = "nodule1") -> NDArray[Any]:
        """Segment around a point (IJK); returns the mask (slices, rows, columns)."""
        params = {"label": label, "foreground": [point], "background": [], "result_extension": ".nii.gz"}
        file, _ = self.client.infer(model, image_id, params)
        mask = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
        Path(file).unlink()
        return mask

    def submit(self, image_id: str, image: sitk.Image, voxels: NDArray[Any], labels=LABELS, user: str = "") -> None:
        """Save a label map as Slicer does: values by position, `idx` over the segments sent."""
        label = sitk.GetImageFromArray(voxels.astype(np.uint8))
        label.CopyInformation(image)
        info = [{"name": name, "idx": number} for number, name in enumerate(labels, start=1)]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "label.nii.gz")
            sitk.WriteImage(label, str(path), useCompression=True)
            self.client.save_label(image_id, str(path), params={"label_info": info, "user": user})

    def completed(self) -> int:
        return int(self.client.info()["datastore"]["completed"])

    def total(self) -> int:
        return int(self.client.info()["datastore"]["total"])

"""Deepgrow's 2D+3D pipeline on the device that was asked for.

Upstream runs its 2D half on "cuda" whatever the request says and so fails without a GPU (monailabel 0.8.5,
sample-apps/radiology/lib/infers/deepgrow_pipeline.py:124), and keeps the size of the current volume in the
object, so that two requests at once would mix their volumes.
"""

import threading
from typing import Any

from lib.infers.deepgrow_pipeline import InferDeepgrowPipeline  # the radiology sample app's

from label_server.radiology.infers.deepgrow import QuickClicks


class DeepgrowPipeline(QuickClicks, InferDeepgrowPipeline):
    """Upstream's pipeline, one request at a time."""

    def __init__(self, path: list[str], model_3d: Any, network: Any) -> None:
        super().__init__(path, model_3d, network, description="Deepgrow 3D, refined slice by slice in 2D")
        self._one_at_a_time = threading.Lock()
        self._device = "cpu"

    def __call__(self, request: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Segment around the clicks of `request["foreground"]` (IJK of the image)."""
        with self._one_at_a_time:
            result: tuple[str | None, dict[str, Any]] = super().__call__(request)
            return result

    def run_inferer(self, data: Any, convert_to_batch: bool = True, device: str = "cuda") -> Any:
        """Remember the device for the batches."""
        self._device = device
        return super().run_inferer(data, convert_to_batch, device)

    def run_batch(self, run_inferer_method: Any, batched_data: Any, batched_slices: Any, pred: Any) -> None:
        """One batch of slices, on the pipeline's device."""

        def on_device(batch: Any, convert_to_batch: bool) -> Any:
            return run_inferer_method(batch, convert_to_batch, self._device)

        super().run_batch(on_device, batched_data, batched_slices, pred)

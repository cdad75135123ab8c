"""An inference over all images.

Upstream divides by the number of GPUs, and ends with the first image that cannot be read (monailabel 0.8.5,
interfaces/tasks/batch_infer.py:86,118).
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.batch_infer import BatchInferTask

logger = logging.getLogger(__name__)

_Infer = Callable[[dict[str, Any], Datastore], dict[str, Any]]


class BatchInfer(BatchInferTask):
    """Upstream's, with GPUs and without; it says which images are left out."""

    def __call__(self, request: dict[str, Any], datastore: Datastore, infer: _Infer) -> dict[str, Any]:
        """Run a model over the images; of one that is left out the answer is empty."""

        def one(wanted: dict[str, Any], store: Datastore) -> dict[str, Any]:
            try:
                return infer(wanted, store)
            except Exception as problem:
                logger.warning(f"{wanted['image']} is left out: {type(problem).__name__}: {problem}")
                return {}

        if not torch.cuda.is_available():
            request = request | {"multi_gpu": False, "device": "cpu"}
        result: dict[str, Any] = super().__call__(request, datastore, one)
        return result

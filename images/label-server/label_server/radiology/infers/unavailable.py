"""Models that cannot be had, and whether a model has been trained."""

from pathlib import Path
from typing import Any

from monailabel.interfaces.exception import MONAILabelError, MONAILabelException
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType


class Unavailable(InferTask):
    """A model that was asked for and cannot be had; it stands in /info and says why when it is run."""

    def __init__(self, reason: str, dimension: int = 3) -> None:
        super().__init__(InferType.OTHERS, None, dimension, f"Untrained: {reason}")
        self.reason = reason

    def is_valid(self) -> bool:
        """It is shown."""
        return True

    def __call__(self, request: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Refuse.

        Raises:
            MONAILabelException: always, with the reason.

        """
        raise MONAILabelException(MONAILabelError.INVALID_INPUT, self.reason)


def is_trained(task: InferTask) -> bool:
    """Whether the task has weights: pretrained or published by a training. Scribbles need none."""
    if isinstance(task, Unavailable):
        return False
    if task.type == InferType.SCRIBBLES:
        return True
    parts = [value for value in vars(task).values() if isinstance(value, InferTask)]
    paths = getattr(task, "path", None) or []
    own = any(path and Path(path).exists() for path in ([paths] if isinstance(paths, str) else paths))
    return (own or not paths) and all(is_trained(part) for part in parts)

"""What this label server is for, where several share one archive and its models: ROLE and MODEL_DIR say so.

One trains and writes the models, the others only read them. A server by itself does all, with models of its own.
"""

import os
from pathlib import Path

ROLES = ("all", "annotate", "train")
ELSEWHERE = (
    "This label server only annotates: trainings, inferences on all images and changes of models run at the one with "
    "ROLE=train"
)


def role() -> str:
    """One of ROLES."""
    return os.environ.get("ROLE") or "all"


def writes_models() -> bool:
    """Whether trainings run here, and models are written."""
    return role() != "annotate"


def shared_models() -> Path | None:
    """The folder of models that others see too; None if they are in this server's workspace."""
    folder = os.environ.get("MODEL_DIR")
    return Path(folder) if folder else None

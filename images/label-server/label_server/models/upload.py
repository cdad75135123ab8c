"""A model's weights from outside: looked at before they replace anything, and the old ones are kept.

Upstream copies any upload over the model in use (monailabel 0.8.5, endpoints/model.py:58-79).
"""

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import torch
from fastapi import HTTPException, UploadFile
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.generic import file_checksum

from label_server.models import provenance, registry

logger = logging.getLogger(__name__)


class NotWeights(Exception):
    """Why a file is not taken for a model's weights."""


def replace(model: str, file: UploadFile) -> dict[str, Any]:
    """Put uploaded weights in the place of a model's.

    Raises:
        HTTPException: there is no such model, or the file holds no weights that fit it.

    """
    task = app_instance()._infers.get(model)
    target = app_instance().model_file(model, validate=False)
    if task is None or not target:
        raise HTTPException(404, "There is no such model")
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        incoming = Path(folder, "weights.pt")
        with incoming.open("wb") as copy:
            shutil.copyfileobj(file.file, copy)
        try:
            check(incoming, getattr(task, "network", None), getattr(task, "model_state_dict", "model"))
        except NotWeights as problem:
            raise HTTPException(422, f"The model was not replaced: {problem}") from None
        provenance.record_import(path.parent, registry.digest(incoming), provenance.Origin(weights="uploaded"))
        if kept := registry.put(incoming, path):
            logger.info(f"The weights of {model} so far are kept as {kept.name}")
    return {"checksum": file_checksum(str(path)), "modified_time": int(path.stat().st_mtime)}


def check(file: Path | BinaryIO, network: torch.nn.Module | None, key: str) -> None:
    """Read a checkpoint only as weights, which runs no code, and compare it with the network.

    Args:
        file: the checkpoint.
        network: that is to load it; None if the model is a script of its own.
        key: under which a checkpoint may keep the network's weights beside others.

    Raises:
        NotWeights: with the reason.

    """
    if network is None:
        raise NotWeights("this model is code of its own; code is not taken from outside")
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a hostile file makes of the unpickler
        raise NotWeights(f"it is not a checkpoint that holds only weights ({type(error).__name__})") from None
    state = checkpoint.get(key, checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise NotWeights("it holds no weights")
    own = network.state_dict()
    if different := sorted(set(own) ^ set(state)):
        raise NotWeights(f"it is of another network: {len(different)} weights are missing or unknown")
    for name, value in own.items():
        if state[name].shape != value.shape:
            raise NotWeights(f"it is of another network: {name} is {list(state[name].shape)}, not {list(value.shape)}")

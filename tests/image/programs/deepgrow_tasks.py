"""Upstream's DeepGrow and ours on the same small networks, for the programs beside this file."""

import gzip
import sys
from pathlib import Path

sys.path.insert(0, "/opt/venv/monailabel/sample-apps/radiology")

import numpy as np
import torch
from lib.infers import Deepgrow
from monai.networks.nets import BasicUNet
from monai.transforms import LoadImaged
from monailabel.transform.writer import write_itk

from label_server.radiology.infers import deepgrow

torch.manual_seed(1)
# Turned by 8 degrees in its plane.
AFFINE = np.array([[-0.6932, 0.0974, 0, 5], [-0.0974, -0.6932, 0, 6], [0, 0, 2.5, -7], [0, 0, 0, 1]])


def image(name: str, seed: int = 1, extension: str = ".nii.gz") -> str:
    """Write an image of noise; its path."""
    voxels = np.random.default_rng(seed).integers(-1000, 400, (60, 50, 12)).astype(np.int16)
    write_itk(voxels, f"/tmp/{name}{extension}", AFFINE, None, True)
    return f"/tmp/{name}{extension}"


def tasks(dimension: int) -> list:
    """Upstream's task and ours, with the same weights."""
    network = BasicUNet(dimension, 3, 1, features=(4, 4, 4, 4, 4, 4)).eval()
    torch.save(network.state_dict(), f"/tmp/{dimension}.pt")
    size = (16, 32, 32)[-dimension:]
    return [
        kind([f"/tmp/{dimension}.pt"], network, dimension=dimension, spatial_size=size, model_size=size)
        for kind in (Deepgrow, deepgrow.QuickDeepgrow)
    ]


def click(task, path: str, point: list[int], **more) -> bytes:
    """The file that a click gives, which is removed."""
    file, _ = task({"image": path, "foreground": [point], "background": [], "device": "cpu"} | more)
    content = Path(file).read_bytes()
    Path(file).unlink()
    return gzip.decompress(content) if file.endswith(".gz") else content


# The images that were read, in order.
loaded: list[str] = []
_plain = LoadImaged.__call__


def _noting(self, data, reader=None):
    loaded.append(data["image"])
    return _plain(self, data, reader)


LoadImaged.__call__ = _noting

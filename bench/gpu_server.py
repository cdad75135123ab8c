"""Our label server in this process: its own app, trainers and gateway, without a socket and without a PACS.

All that the measurements on a GPU know of the server's code is in this file.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from numpy.typing import NDArray

from labelpod.dicom import phantom

_TOKEN = "throw-away-token-of-32-letters-0"
_CLICKED = "clicked"
_LABELLED = ("patient1", "patient2")
_NODULE = 1  # of the phantom's three, the one in most slices


@dataclass(frozen=True)
class Sizes:
    """How much is measured with; lengths of images in slices and pixels."""

    slices: int = 300
    size: int = 512
    labelled_slices: int = 240
    labelled_size: int = 256
    later: int = 5
    cards: tuple[float, ...] = (12, 8, 6, 4, 3)  # GB
    network: tuple[int, ...] = ()  # features; the models' own by default
    model_size: tuple[int, ...] = ()  # slices, rows, columns; likewise
    interactions: int = 0  # likewise
    sam2: str = "sam2_hiera_l.yaml"


TINY = Sizes(12, 32, 6, 32, 1, (12,), (4, 4, 4, 4, 4, 4), (16, 32, 32), 1, "sam2_hiera_t.yaml")


@dataclass(frozen=True)
class Answer:
    """To a click: how long it took, its status, and the mask, or the reason why there is none."""

    seconds: float
    status: int
    mask: NDArray[np.uint8]
    reason: str

    def checked(self) -> "Answer":
        """Itself, where it holds a mask."""
        if self.status != 200:
            raise RuntimeError(f"the server answered {self.status}: {self.reason}")
        return self


class Server:
    """What the measurements ask for.

    Args:
        client: of the gateway.
        app: that the gateway leads to.
        sizes: of what is measured with.

    """

    def __init__(self, client: Any, app: Any, sizes: Sizes) -> None:
        self._client = client
        self._app = app
        self.sizes = sizes

    def point(self, number: int = 0, labelled: bool = False) -> list[int]:
        """A voxel near a nodule of the image, as columns, rows, slices: another one for each number."""
        slices, size = self.sizes.slices, self.sizes.size
        if labelled:
            slices, size = self.sizes.labelled_slices, self.sizes.labelled_size
        i, j, k = phantom.nodules(slices, size)[_NODULE].ijk
        return [i + number, j, k]

    def click(self, model: str, point: list[int], image: str = _CLICKED, device: str = "") -> Answer:
        """One click, through the gateway; on the device that the server chooses by default."""
        np.random.seed(1)  # the pipeline draws points with it
        parameters = {"foreground": [point], "background": [], "label": "nodule1", "result_extension": ".nii.gz"}
        if device:
            parameters["device"] = device
        started = time.perf_counter()
        answer = self._client.post(
            f"/infer/{model}", params={"image": image, "output": "image"}, data={"params": json.dumps(parameters)}
        )
        seconds = time.perf_counter() - started
        if answer.status_code != 200:
            return Answer(seconds, answer.status_code, np.zeros(0, np.uint8), answer.text[:200])
        return Answer(seconds, 200, _voxels(answer.content), "")

    def logits(self, model: str, point: list[int], device: str) -> NDArray[np.float32]:
        """What the model's network says, before it becomes a mask."""
        from monailabel.tasks.infer.basic_infer import CallBackTypes

        said: list[NDArray[np.float32]] = []

        def keep(data: dict[str, Any]) -> dict[str, Any]:
            said.append(data["pred"].float().cpu().numpy().copy())
            return data

        image = self._app.datastore().get_image_uri(_CLICKED)
        request = {"image": image, "foreground": [point], "background": [], "device": device}
        file, _ = self._app._infers[model](request, {CallBackTypes.INFERER: keep})
        Path(file).unlink()
        return said[0]

    def ahead(self) -> float:
        """Make the image ready for clicks, as the server does after Next Sample; how long it takes."""
        started = time.perf_counter()
        self._app._infers["deepgrow_2d"].prepare(self._app.datastore().get_image_uri(_CLICKED))
        return time.perf_counter() - started

    def forget(self) -> None:
        """Take all networks off the card."""
        for task in self._app._infers.values():
            if hasattr(task, "clear_cache"):  # SAM2 has none
                task.clear_cache()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def train(self, model: str) -> float:
        """Train for one epoch; how long it takes. The server does this in a process of its own."""
        request = {"model": model, "max_epochs": 1, "val_split": 0.5, "dataset": "Dataset", "dataloader": "DataLoader"}
        if self.sizes.interactions:
            request["interactions"] = self.sizes.interactions
        started = time.perf_counter()
        self._app.train(request)
        return time.perf_counter() - started


@contextmanager
def running(folder: Path, sizes: Sizes, sam2: bool) -> Iterator[Server]:
    """The server on phantoms, with networks of random weights."""
    os.environ.update(
        LABEL_SERVER_TOKEN=_TOKEN,
        MONAI_LABEL_DATASTORE_AUTO_RELOAD="false",
        MONAI_LABEL_TRACKING_ENABLED="false",
        MONAI_LABEL_SESSION_PATH=str(folder / "sessions"),
        MONAI_LABEL_DATASTORE_CACHE_PATH=str(folder / "cache"),
        TORCH_FORCE_WEIGHTS_ONLY_LOAD="1",
    )
    from label_server.startup import lay_out
    from label_server.web.__main__ import hide, unused

    hide(unused(["sam2", str(sam2).lower()]))

    home, studies = lay_out(folder, "radiology"), folder / "studies"
    _write_studies(studies, sizes)
    torch.manual_seed(1)
    if sam2:
        _write_sam2(home / "model", sizes.sam2)
    conf = {"models": "deepgrow_2d,deepgrow_3d", "sam2": str(sam2).lower(), "scribbles": "false"}
    os.environ.update(
        MONAI_LABEL_APP_DIR=str(home),
        MONAI_LABEL_STUDIES=str(studies),
        MONAI_LABEL_APP_CONF=json.dumps(conf | {"use_pretrained_model": "false"}),
    )
    # Only now: they read the environment.
    from monailabel.interfaces.utils.app import app_instance
    from starlette.testclient import TestClient

    from label_server.web.asgi import app as gateway

    app = app_instance()
    if sizes.network:
        _shrink(app, sizes)
    for name in ("deepgrow_2d", "deepgrow_3d"):
        task = app._infers[name]
        _let_clicks_through(task.network)
        torch.save(task.network.state_dict(), task.path[0])
    login = {"Authorization": f"Bearer {_TOKEN}"}
    with TestClient(gateway, raise_server_exceptions=False, headers=login) as client:
        yield Server(client, app, sizes)


def _write_studies(folder: Path, sizes: Sizes) -> None:
    labels = folder / "labels" / "final"
    labels.mkdir(parents=True)
    _write(folder / f"{_CLICKED}.nii.gz", *phantom.volume(sizes.slices, sizes.size))
    for seed, name in enumerate(_LABELLED):
        voxels, affine = phantom.volume(sizes.labelled_slices, sizes.labelled_size, seed)
        nodule = phantom.nodules(sizes.labelled_slices, sizes.labelled_size)[_NODULE]
        spacing = np.abs(np.diag(affine)[:3])
        away = [(np.arange(length) - at) * mm for length, at, mm in zip(voxels.shape, nodule.ijk, spacing, strict=True)]
        distance = np.sqrt(sum(each**2 for each in np.ix_(*away)))
        _write(folder / f"{name}.nii.gz", voxels, affine)
        _write(labels / f"{name}.nii.gz", (distance <= nodule.radius).astype(np.uint8), affine)


def _write(path: Path, voxels: NDArray[Any], affine: NDArray[np.float64]) -> None:
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


def _voxels(content: bytes) -> NDArray[np.uint8]:
    import gzip

    return np.asarray(nibabel.Nifti1Image.from_bytes(gzip.decompress(content)).dataobj).astype(np.uint8)


def _write_sam2(folder: Path, configuration: str) -> None:
    """SAM2's files under the names that MONAI Label looks for, the weights random: the real ones are 0.9 GB."""
    import sam2
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from sam2.build_sam import build_sam2

    named = folder / "sam2_hiera_l.yaml"
    shutil.copyfile(Path(sam2.__file__).parent / "configs" / "sam2" / configuration, named)
    GlobalHydra.instance().clear()
    initialize_config_dir(config_dir=str(folder), version_base=None)
    network = build_sam2(named.name, device="cpu")
    torch.save({"model": network.state_dict()}, folder / "sam2_hiera_large.pt")


def _let_clicks_through(network: Any) -> None:
    """Give random weights one channel that carries the click from the input to the output.

    The mask is then a ball of the size of a nodule. By chance alone it would be noise all over the CT, on which the
    pipeline works for minutes.
    """
    with torch.no_grad():
        for block, source in ((network.conv_0, 1), (network.upcat_1.convs, 0)):
            for convolution, channel in ((block.conv_0.conv, source), (block.conv_1.conv, 0)):
                middle = tuple(length // 2 for length in convolution.kernel_size)
                convolution.weight[0] = 0
                convolution.weight[(0, channel, *middle)] = 1
        network.final_conv.weight *= 0.1
        network.final_conv.weight[0, 0] = 1
        network.final_conv.bias.fill_(-3)


def _shrink(app: Any, sizes: Sizes) -> None:
    """Smaller networks and regions in the place of the models' own."""
    from monai.networks.nets import BasicUNet

    for dimension in (2, 3):
        name = f"deepgrow_{dimension}d"
        network = BasicUNet(dimension, 3, 1, features=sizes.network)
        task, trainer = app._infers[name], app._trainers[name]
        task.network = trainer._network = network
        task.model_size = task.spatial_size = sizes.model_size[-dimension:]
        trainer.model_size = trainer.roi_size = sizes.model_size[-dimension:]
    pipeline = app._infers["deepgrow_pipeline"]
    pipeline.network = app._infers["deepgrow_2d"].network
    pipeline.model_size = pipeline.spatial_size = sizes.model_size[-2:]

"""The MONAI Label app: an upstream sample app with our labels and the repaired datastore.

MONAI Label loads this file from the app folder on the workspace volume and takes the class in it whose
direct base is MONAILabelApp. Nothing installed is edited: everything is done by subclassing.
"""

import importlib.util
import logging
import os
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import ImageNotFoundException
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from label_server import paths, server_role, users
from label_server.datastore.datastore import RepairedDicomWebDatastore
from label_server.datastore.sessions import OwnedSessions
from label_server.dicomweb import client, own_labels
from label_server.dicomweb.own_labels import OwnLabels
from label_server.paths import SAMPLE_APPS
from label_server.pod import state
from label_server.radiology import image_readers
from label_server.radiology.activelearning import remaining
from label_server.radiology.activelearning.leased import LeasedStrategy, RandomStrategy
from label_server.radiology.activelearning.leases import Leases
from label_server.radiology.activelearning.prefetch import Prefetch
from label_server.radiology.activelearning.skips import Skips
from label_server.radiology.infers import clicks, purposes, saving, unavailable
from label_server.radiology.infers.batch import BatchInfer
from label_server.settings import SAMPLE_LEASE_SECONDS
from labelpod_common import labels

logger = logging.getLogger(__name__)


def _sample_app(name: str) -> ModuleType:
    folder = SAMPLE_APPS / name
    sys.path.insert(0, str(folder))  # the sample app imports its own `lib`
    spec = importlib.util.spec_from_file_location(f"{name}_sample_app", folder / "main.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"there is no sample app {name}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


image_readers.keep_to_safe_ones()

_APP = os.environ.get("APP", "radiology")
_DEEPGROW = ("deepgrow_2d", "deepgrow_3d")
_LABELS = labels.parse(os.environ.get("LABELS", labels.DEFAULT))


class LabelServerApp(_sample_app(_APP).MyApp, MONAILabelApp):  # type: ignore[misc]
    """The sample app named by APP; radiology's click models segment the labels of LABELS."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self._unavailable: dict[str, InferTask] = {}
        conf = self._without_missing_parts(app_dir, dict(conf))
        super().__init__(app_dir, studies, conf)

    def _without_missing_parts(self, app_dir: str, conf: dict[str, str]) -> dict[str, str]:
        """Take out of the configuration what would end the start because it cannot be downloaded."""
        model_dir = Path(app_dir, "model")
        key = "models" if _APP == "monaibundle" else "bundles"
        bundles = [name.strip() for name in conf.get(key, "").split(",") if name.strip()]
        for name in bundles:
            if not (model_dir / name).is_dir():
                self._unavailable[name] = unavailable.Unavailable(f"bundle {name} could not be downloaded")
        conf[key] = ",".join(name for name in bundles if name not in self._unavailable)
        if conf.get("sam2", "false") == "true" and not (model_dir / "sam2_hiera_large.pt").exists():
            conf["sam2"] = "false"
            for name, dimension in (("sam_2d", 2), ("sam_3d", 3)):
                self._unavailable[name] = unavailable.Unavailable("SAM2's weights could not be downloaded", dimension)
        return conf

    def init_infers(self) -> dict[str, InferTask]:
        """The sample app's models; click models get our labels and are quick, the pipeline learns to run on a CPU."""
        by_name = {label.name: label.value for label in _LABELS}
        for name in _DEEPGROW:
            if name in getattr(self, "models", {}):
                self.models[name].labels = by_name
        infers: dict[str, InferTask] = super().init_infers()
        if any(name.startswith("deepgrow") for name in infers):
            from label_server.radiology.infers.deepgrow import QuickDeepgrow  # needs the sample app's `lib`

            for name in _DEEPGROW:
                if name in infers:
                    infers[name].__class__ = QuickDeepgrow
        if "deepgrow_pipeline" in infers:
            from label_server.radiology.infers.deepgrow_pipeline import DeepgrowPipeline  # needs the sample app's `lib`

            two_d = self.models["deepgrow_2d"]
            pipeline = DeepgrowPipeline(two_d.path, infers["deepgrow_3d"], two_d.network)
            pipeline.labels = by_name
            infers["deepgrow_pipeline"] = pipeline
        return infers | self._unavailable

    def init_trainers(self) -> dict[str, TrainTask]:
        """The sample app's trainers; DeepGrow's are repaired, and none offers to choose the tracking server."""
        trainers: dict[str, TrainTask] = super().init_trainers()
        for trainer in trainers.values():
            # 3D Slicer sends back all that is offered; upstream then falls back to the server's own.
            trainer.config().pop("tracking_uri", None)
        if any(name.startswith("deepgrow") for name in trainers):
            from label_server.radiology.trainers.deepgrow import Deepgrow  # needs the sample app's `lib`

            for name in _DEEPGROW:
                if name in trainers:
                    trainers[name].__class__ = Deepgrow
                    # Clicks that it makes for each slice or region. Each takes a run of the network: without a GPU
                    # fewer of them make it bearable.
                    trainers[name].config()["interactions"] = trainers[name].max_train_interactions
        return trainers

    def init_strategies(self) -> dict[str, Strategy]:
        """The sample app's strategies; none gives an annotator what another is working on."""
        workspace = Path(self.app_dir).parent
        store = self.datastore()
        shared = store.leases if isinstance(store, RepairedDicomWebDatastore) else None
        self._leases = Leases(workspace / "leases.json", SAMPLE_LEASE_SECONDS, shared)
        self.skips = Skips(workspace / "skips.json")
        strategies: dict[str, Strategy] = super().init_strategies() | {"random": RandomStrategy()}
        prefetch, self._clicks_ahead = Prefetch(), Prefetch()
        common = (self._leases, prefetch, self.skips)
        return {name: LeasedStrategy(strategy, *common) for name, strategy in strategies.items()}

    def skip(self, user: str, image: str, reason: str) -> None:
        """Put an image aside for a user, who gives it back.

        Raises:
            ImageNotFoundException: nobody is given such an image.

        """
        if image not in self.datastore().list_images():
            raise ImageNotFoundException(f"Image {image} not found")
        self.skips.add(user, image, reason)
        self._leases.give_back(image, user)

    def remaining(self, user: str, client: str) -> dict[str, Any]:
        """Why a user, at a client of this name, is offered nothing.

        Raises:
            requests.RequestException: the DICOMweb server, which knows it, does not answer.

        """
        self._leases.hear()
        return remaining.told(self.datastore(), self._leases, self.skips, f"{user}/{client}")

    def following(self, strategy: str, user: str, image: str) -> str | None:
        """The image that a user is given by a strategy once they have labelled this one; None if that is open."""
        chosen = self._strategies.get(strategy)
        return chosen.following(f"{user}/", image) if isinstance(chosen, LeasedStrategy) else None

    def init_batch_infer(self) -> BatchInfer:
        """Upstream's inference over all images, repaired."""
        return BatchInfer()

    def loans(self) -> dict[str, tuple[str, float]]:
        """Who works on which image, and until when in seconds since 1970.

        Raises:
            requests.RequestException: the DICOMweb server, which knows it, does not answer.

        """
        self._leases.hear()
        return self._leases.all()

    def prepare(self, image: str) -> None:
        """Soon, make an image that somebody was given ready for its first click."""
        task = self._click_task()
        if task and (holder := self._leases.holder(image)):
            self._clicks_ahead.want(holder, lambda: self._prepare(task, image))

    def _prepare(self, task: Any, image: str) -> None:
        task.prepare(self.datastore().get_image_uri(image))
        logger.info(f"{image} is ready for clicks")

    def train(self, request: dict[str, Any]) -> Any:
        """Upstream's training, in a process of its own; nothing that it reads makes way meanwhile."""
        datastore = self.datastore()
        if isinstance(datastore, RepairedDicomWebDatastore):
            datastore.hold_images()
        return super().train(request)

    def on_save_label(self, image_id: str, label_id: str) -> None:
        """Nobody works on the image any more, and who has labelled it wants it."""
        super().on_save_label(image_id, label_id)
        self._leases.labelled(image_id)
        self.skips.end(users.current.get().name, image_id)

    def info(self) -> dict[str, Any]:
        """Upstream's information; our labels first, which server, what each model is good for and whether trained."""
        meta: dict[str, Any] = super().info()
        if _APP == "radiology":
            ours = [label.name for label in _LABELS]
            meta["labels"] = ours + [name for name in meta["labels"] if name not in ours]
        for name, model in meta["models"].items():
            model["trained"] = unavailable.is_trained(self._infers[name])
            model["purpose"] = purposes.of(name, model.get("description"))
        if state.rented():
            meta["stops_at"] = state.stops_at()
        meta["server"] = socket.gethostname()
        meta["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
        return meta

    def _init_dicomweb_datastore(self) -> Datastore:
        workspace = Path(self.app_dir).parent
        shared = paths.shared()
        # Who starts later, over an archive that others have written to since, takes no label without a seal for ours.
        first = server_role.writes_models() and not state.rented()
        datastore = RepairedDicomWebDatastore(
            client.client(self.studies),
            OwnLabels(own_labels.key(workspace), shared, self.studies, first),
            settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER,
            Path(settings.MONAI_LABEL_DICOMWEB_CACHE_PATH),
            shared / "kept_labels",
            _LABELS,
        )
        datastore.when_gone(self._forget)
        return datastore

    def _forget(self, image: str, file: Path) -> None:
        self._leases.end(image, None)
        self.skips.forget(image)
        if task := self._click_task():
            task.forget(str(file))

    def _click_task(self) -> Any:
        """Keeps images ready for the clicks of both."""
        return next((self._infers[name] for name in _DEEPGROW if name in self._infers), None)

    def _load_sessions(self, load: bool = False) -> OwnedSessions | None:
        if not load:
            return None
        return OwnedSessions(settings.MONAI_LABEL_SESSION_PATH, settings.MONAI_LABEL_SESSION_EXPIRY)

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Upstream's inference, only on images.

        Upstream reads any file of that path (interfaces/app.py:286); the server's own uploads are absolute paths,
        which no client may send.

        Raises:
            ImageNotFoundException: a file of the server is asked for.
            Refused: a click is none.

        """
        image, task = request.get("image"), self._infers.get(request.get("model"))
        _no_file_of_the_server(image)
        store: Any = datastore or self.datastore()
        if not (task and isinstance(image, str)):  # upstream says so
            return super().infer(request, store)
        if clicks.wanted(task):
            path = Path(image if Path(image).is_absolute() else store.get_image_uri(image))
            request = clicks.complete(task, request, path)
        result: dict[str, Any] = super().infer(request, saving.Saving(store, task, request))
        if not Path(image).is_absolute() and isinstance(store, RepairedDicomWebDatastore):
            store.note_inference(image)
        return result

    def described(self, model: str, request: dict[str, Any], mask: Path) -> dict[str, Any]:
        """What a model's mask is, as a label's information says it."""
        return saving.described(self._infers[model], request, mask)

    def on_init_complete(self) -> None:
        """Say in the log what the models are worth."""
        super().on_init_complete()
        untrained = [name for name, task in self._infers.items() if not unavailable.is_trained(task)]
        if untrained:
            logger.warning(f"Untrained models (no pretrained weights, nothing trained yet): {', '.join(untrained)}")


def _no_file_of_the_server(image: object) -> None:
    if isinstance(image, str) and not Path(image).is_absolute() and Path(image).exists():
        raise ImageNotFoundException(f"Image {image} not found")

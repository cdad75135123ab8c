"""What Prometheus sees at /metrics: what was counted, and what the server has and does when it asks."""

import logging
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import requests
import torch
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.utils.app import app_instance
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from label_server.datastore.pacs_images import PacsImages
from label_server.settings import INFER_QUEUE
from label_server.users import Role
from label_server.web import metrics, own_certificate, readiness, worker_pools
from label_server.web.start_page import models

logger = logging.getLogger(__name__)


async def page(request: Request) -> Response:
    """The figures, for monitors and admins."""
    if request.user.role not in (Role.MONITOR, Role.ADMIN):
        raise HTTPException(403, "This takes the role monitor")
    # Prometheus waits ten seconds, and an archive that hangs takes longer.
    registries = [metrics.registry] if await readiness.problem() else [metrics.registry, _archive]
    return Response(await worker_pools.others.call(_told, registries), media_type=CONTENT_TYPE_LATEST)


def _told(registries: Iterable[CollectorRegistry]) -> bytes:
    return b"".join(generate_latest(each) for each in registries)


class ServerFigures(Collector):
    """Looks at the server itself."""

    def describe(self) -> Iterable[Metric]:
        """Nothing: there is no app yet when this is registered."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The queue, the disk, the last backup, the GPU, the certificate and the trainings."""
        app = app_instance()
        yield from _queue()
        yield from _disk()
        yield from _backup()
        yield from _gpu()
        yield from _certificate()
        yield from _trainings(app)


class ArchiveFigures(Collector):
    """Looks at the images, of which the DICOMweb server knows."""

    def describe(self) -> Iterable[Metric]:
        """Nothing: there is no app yet when this is registered."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All of them, or none while the DICOMweb server does not answer."""
        try:
            yield from list(_images(app_instance()))
        except requests.RequestException as problem:
            logger.warning(f"No figures of images: {type(problem).__name__}")


def _family(name: str, what: str, values: Mapping[str, float], label: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"labelpod_{name}", what, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _queue() -> Iterable[Metric]:
    pool = worker_pools.inference
    yield _family("inferences", "Inferences now.", {"working": pool.working, "waiting": pool.waiting}, "state")
    yield GaugeMetricFamily("labelpod_inferences_may_wait", "Inferences that may wait.", INFER_QUEUE)


def _disk() -> Iterable[Metric]:
    disk = shutil.disk_usage(os.environ.get("WORKSPACE", "/workspace"))
    yield _family("disk_bytes", "The workspace's disk.", {"free": disk.free, "size": disk.total}, "of")


def _backup() -> Iterable[Metric]:
    """When the file was touched that who makes backups touches after each; docs/database.md."""
    note = Path(os.environ.get("WORKSPACE", "/workspace"), "last_backup")
    if note.exists():
        yield GaugeMetricFamily("labelpod_last_backup_seconds", "In seconds since 1970.", note.stat().st_mtime)


def _gpu() -> Iterable[Metric]:
    if torch.cuda.is_available():
        free, size = torch.cuda.mem_get_info()
        yield _family("gpu_memory_bytes", "The GPU's memory.", {"free": free, "size": size}, "of")


def _certificate() -> Iterable[Metric]:
    if expires := own_certificate.expires():
        yield GaugeMetricFamily("labelpod_certificate_expires_seconds", "In seconds since 1970.", expires)


def _trainings(app: MONAILabelApp) -> Iterable[Metric]:
    running = models.work(app).trainings
    yield _family("training_epochs", "Epochs done of trainings that run.", {e.model: e.epoch for e in running}, "model")
    losses = {each.model: each.loss for each in running if each.loss is not None}
    yield _family("training_loss", "Loss of the last epoch of trainings that run.", losses, "model")
    dice = {name: models.last_dice(app, name) for name in app._trainers}
    known = {name: value for name, value in dice.items() if value is not None}
    yield _family("training_dice", "Best Dice of the last training that measured one.", known, "model")


def _images(app: Any) -> Iterable[Metric]:
    store = app.datastore()
    states = {"labelled": len(store.get_labeled_images()), "unlabelled": len(store.get_unlabeled_images())}
    if isinstance(store, PacsImages):
        states["left out"] = len(store.left_out())
        yield GaugeMetricFamily("labelpod_cache_bytes", "Images that are kept here.", store.cache_bytes())
    yield _family("images", "Images of the archive.", states, "state")
    yield GaugeMetricFamily("labelpod_leases", "Images on loan.", len(app.loans()))


_archive = CollectorRegistry()
_archive.register(ArchiveFigures())
metrics.registry.register(ServerFigures())

"""DeepGrow's trainers with upstream's faults repaired.

Upstream publishes a model only in epochs that validate, every fifth (monailabel 0.8.5,
tasks/train/basic_train.py:584), by a copy that a kill leaves half done; it validates on slices of the patients that
it trains on, and leaves a copy of all training images behind (sample-apps/radiology/lib/trainers/deepgrow.py:99).
"""

import hashlib
import logging
import re
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import lib.trainers
from ignite.engine import Engine, Events
from monai.handlers import from_engine
from monailabel.interfaces.datastore import Datastore

from label_server.datastore.datastore import RepairedDicomWebDatastore
from label_server.datastore.filtered import DatastoreView
from label_server.models import registry, training_runs

logger = logging.getLogger(__name__)


class Deepgrow(lib.trainers.Deepgrow):
    """Publishes whatever the number of epochs, keeps patients apart, cleans up, and tells how far it is."""

    max_train_interactions: int
    _val_interval: int
    _publish_path: str | None
    _load_path: str | None

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> Any:
        """Train once.

        Raises:
            ValueError: nothing is labelled.

        """
        epochs = int(request.get("max_epochs") or self._config["max_epochs"])
        self._val_interval = max(1, min(self._val_interval, epochs))
        self.max_train_interactions = max(1, int(request.get("interactions") or self.max_train_interactions))
        chosen = {key: request.get(key, self._config.get(key)) for key in ("train_batch_size", "val_split")}
        name = datetime.now().strftime("%Y%m%d_%H%M%S")
        self._run = training_runs.Run(Path(self._model_dir), name, 0, epochs, *chosen.values())
        training_runs.remove_caches(Path(self._model_dir))  # of a training that was killed
        problem = "it was interrupted"
        try:
            entries = self._run.preparing(*_trainable(datastore))
            self._patients = [_patient(datastore, entry) for entry in entries]
            result = super().__call__(request, _Fixed(datastore, entries))
            problem = ""
            return result
        except Exception as error:
            problem = training_runs.reason(error)
            raise
        finally:
            self._run.end(problem)
            training_runs.remove_caches(Path(self._model_dir))

    def pre_process(self, request: dict[str, Any], datastore: Datastore) -> list[dict[str, Any]]:
        """The slices or regions of all labels, each with the patient that it is of."""
        records: list[dict[str, Any]] = super().pre_process(request, datastore)
        if not records:
            raise ValueError("no study has a label with a segment in it")
        for record in records:
            volume = re.search(r"vol_idx_(\d+)", Path(record["image"]).name)
            record["patient"] = self._patients[int(volume[1])] if volume else record["image"]
        return records

    def partition_datalist(self, context: Any, shuffle: bool = False) -> tuple[list[Any], list[Any]]:
        """Whole patients to validate on, about `val_split` of the records; none if there is but one patient."""
        share = float(context.request.get("val_split", 0.0))
        validation = _patients_to_validate_on([record["patient"] for record in context.datalist], share)
        if share and not validation:
            logger.warning("All labels are of one patient: nothing is left to validate on")
        parts: tuple[list[Any], list[Any]] = ([], [])
        for record in context.datalist:
            parts[record["patient"] in validation].append(record)
        self._run.measured_on(validation)
        logger.info(f"Records to train on: {len(parts[0])}, to validate on: {len(parts[1])}")
        return parts

    def load_path(self, output_dir: str, pretrained: bool = True) -> str | None:
        """The weights in use, to continue from.

        Upstream continues from the files of its last run, whatever has replaced those weights since, and even if it
        is to begin again (tasks/train/basic_train.py:284).
        """
        serving = (self._publish_path, self._load_path)
        return next((path for path in serving if pretrained and path and Path(path).exists()), None)

    def finalize(self, context: Any) -> None:
        """Upstream's statistics and early stop; the weights are published by us."""
        published, self._publish_path = self._publish_path, None
        super().finalize(context)
        self._publish_path = published
        if context.local_rank == 0:
            self._follow(context)

    def stats(self) -> dict[str, Any]:
        """Upstream's statistics, how far a training is, and all that there were."""
        folder = Path(self._model_dir)
        return {**super().stats(), "progress": training_runs.progress(folder), "history": training_runs.history(folder)}

    def _follow(self, context: Any) -> None:
        trainer, evaluator = context.trainer, context.evaluator

        def iteration(engine: Engine) -> None:
            length = engine.state.epoch_length or 1
            self._run.iteration((engine.state.iteration - 1) % length + 1, length, _loss(engine))
            losses.append(_loss(engine))

        def epoch(engine: Engine) -> None:
            self._run.epoch(engine.state.epoch, sum(losses) / len(losses))
            losses.clear()
            if not evaluator:
                self._publish(context)

        def validated(engine: Engine) -> None:
            self._run.validated(trainer.state.epoch, float(engine.state.metrics[engine.state.key_metric_name]))
            self._publish(context)

        losses: list[float] = []
        trainer.add_event_handler(Events.ITERATION_COMPLETED, iteration)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, epoch)
        if evaluator:
            evaluator.add_event_handler(Events.EPOCH_COMPLETED, validated)

    def _publish(self, context: Any) -> None:
        """The best weights so far serve from the next inference on; never half of them."""
        best = Path(context.output_dir, self._key_metric_filename)
        if not (best.exists() and self._publish_path):
            return
        target = Path(self._publish_path)
        draft = target.with_suffix(".draft")
        shutil.copyfile(best, draft)
        # On record first: anybody who looks at the weights in use finds where they came from.
        self._run.published(registry.digest(draft))
        draft.replace(target)


class _Fixed(DatastoreView):
    """A datastore whose labelled images are those of the start of the training."""

    def __init__(self, datastore: Datastore, entries: list[dict[str, Any]]) -> None:
        super().__init__(datastore)
        self._entries = entries

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        return self._entries


def _trainable(datastore: Datastore) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """What can be trained on, and what cannot be read, with the reasons."""
    if isinstance(datastore, RepairedDicomWebDatastore):
        return datastore.trainable()
    return datastore.datalist(), []


def _patient(datastore: Datastore, entry: dict[str, Any]) -> str:
    image = Path(entry["image"]).name.split(".nii")[0]
    try:
        return str(datastore.get_image_info(image).get("PatientID") or image)
    except Exception:  # a datastore that knows nothing of patients
        return image


def _patients_to_validate_on(patient_of_each: list[str], share: float) -> set[str]:
    """Patients, by lot, that have about this share of the records; one at least stays to train on."""
    # The same lot in each run, so that runs can be compared.
    patients = sorted(set(patient_of_each), key=lambda patient: hashlib.sha256(patient.encode()).digest())
    chosen: set[str] = set()
    for patient in patients[1:] if share else ():
        if sum(each in chosen for each in patient_of_each) >= share * len(patient_of_each):
            break
        chosen.add(patient)
    return chosen


def _loss(engine: Engine) -> float:
    return float(from_engine(["loss"], first=True)(engine.state.output))

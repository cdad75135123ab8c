"""A training teaches: Dice on a phantom that was not trained on, before and after.

The phantoms differ in vessels and noise; their nodules are the same, so that this says nothing about patients. One
simulated click instead of ten for each slice keeps it short.
"""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from labelpod.dicom import phantom
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.nodules import balls
from tests.support.pacs import Pacs
from tests.support.waiting import eventually

SHAPE = (48, 256)  # slices, rows and columns
NODULES = phantom.nodules(*SHAPE)
MODELS = "/workspace/radiology/model"


@pytest.fixture
def phantoms(annotator: Annotator, pacs: Pacs, tmp_path: Path) -> list[str]:
    """Three of them are in Orthanc; their series UIDs."""
    for seed in (1, 2, 3):
        phantom.write(tmp_path / str(seed), *SHAPE, seed)
    pacs.store(tmp_path)
    eventually(lambda: (annotator.total(), annotator.completed()) == (3, 0), 10, "the phantoms are counted")
    return [str(series.SeriesInstanceUID) for series in pacs.series("CT")]


def middle_slices(image: sitk.Image) -> NDArray[np.uint8]:
    """Label map with each nodule in the slice through its centre alone (slices, rows, columns)."""
    whole = balls(image, NODULES)
    voxels = np.zeros_like(whole)
    for value, nodule in enumerate(NODULES, start=1):
        slice_ = nodule.ijk[2]
        voxels[slice_][whole[slice_] == value] = value
    return voxels


def dice(annotator: Annotator, image_id: str) -> list[float]:
    """Of each nodule: how far one click in its centre and the nodule agree, in its slice."""
    truth = middle_slices(annotator.image(image_id))
    found = []
    for value, nodule in enumerate(NODULES, start=1):
        slice_ = nodule.ijk[2]
        clicked = annotator.click("deepgrow_2d", image_id, list(nodule.ijk))[slice_] > 0
        nodule_voxels = truth[slice_] == value
        found.append(2 * float((clicked & nodule_voxels).sum()) / float(clicked.sum() + nodule_voxels.sum()))
    return found


def train(annotator: Annotator, **options: int) -> dict:
    """Train from the outside as 3D Slicer does; the task when it is done."""
    params = {"train_batch_size": 1, "val_split": 0.0, "interactions": 1} | options
    annotator.client.train_start("deepgrow_2d", params)
    return eventually(lambda: ended(annotator), 300, "the training ends")


def ended(annotator: Annotator) -> dict | None:
    task = annotator.client.train_status()
    return task if task["status"] not in ("SUBMITTED", "PENDING", "RUNNING") else None


def test_dice_on_a_phantom_that_was_not_trained_on_rises(stack: Clone, annotator: Annotator, phantoms: list[str]):
    *to_train_on, held_out = phantoms
    # What other tests trained serves no more, though the files of their runs are there.
    stack.run_in("label-server", "sh", "-c", f"rm -f {MODELS}/deepgrow_2d.pt")
    before = dice(annotator, held_out)
    for image_id in to_train_on:
        image = annotator.image(image_id)
        annotator.submit(image_id, image, middle_slices(image))
    task = train(annotator, max_epochs=2)
    assert task["status"] == "DONE", task["details"][-3:]
    after = dice(annotator, held_out)
    print(f"\nDice on the held-out phantom: untrained {before}, after two epochs {after}")
    assert max(before) < 0.1 and min(after) > 0.15 and np.mean(after) > 0.3


def first_bias(stack: Clone, add: float = 0) -> float:
    """The first bias of the weights that serve; raised before, as by weights from elsewhere."""
    program = f"""
import torch
weights = torch.load({MODELS + "/deepgrow_2d.pt"!r}, weights_only=True)
bias = next(value for name, value in weights.get("model", weights).items() if name.endswith("bias"))
bias += {add}
torch.save(weights, {MODELS + "/deepgrow_2d.pt"!r})
print(float(bias[0]))
"""
    return float(stack.run_in("label-server", "python", "-c", program))


def test_a_training_goes_on_from_the_weights_that_serve(stack: Clone, annotator: Annotator, phantoms: list[str]):
    """Upstream goes on from the files of its last run, whatever has been put in their place since."""
    image_id = phantoms[0]
    image = annotator.image(image_id)
    voxels = middle_slices(image)
    annotator.submit(image_id, image, np.where(voxels == 1, voxels, 0))
    before = first_bias(stack, add=1)
    assert train(annotator, max_epochs=1)["status"] == "DONE"
    assert first_bias(stack) == pytest.approx(before, abs=0.01)

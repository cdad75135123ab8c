"""Which image comes next: the strategies that 3D Slicer lists; and what is done ahead."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from labelpod.dicom import phantom
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.waiting import eventually

# The model knows spleens; how sure it is does not depend on what it knows.
UNCERTAINTY = "segmentation_spleen_epistemic"


@pytest.fixture
def images(annotator: Annotator, pacs: Pacs, tmp_path: Path) -> list[str]:
    """Two synthetic CTs that nobody has labelled; their series UIDs, sorted."""
    return two_images(annotator, pacs, tmp_path, 1)


def two_images(annotator: Annotator, pacs: Pacs, folder: Path, seed: int) -> list[str]:
    """Two CTs of this seed and the next in an empty archive; their series UIDs, sorted."""
    pacs.delete_everything()
    for each in (seed, seed + 1):
        phantom.write(folder / str(seed) / str(each), slices=24, size=64, seed=each)
    pacs.store(folder / str(seed))
    uids = sorted(str(series.SeriesInstanceUID) for series in pacs.series("CT"))
    # Not by their number alone: what was there before may be counted for two seconds more.
    eventually(lambda: listed(annotator) >= set(uids) and annotator.total() == 2, 10, "the images are listed")
    return uids


def listed(annotator: Annotator) -> set[str]:
    """The images that the server knows to be in Orthanc or has had before."""
    return set(requests.get(f"{annotator.url}/datastore/?output=all", timeout=30).json()["objects"])


@pytest.fixture
def uncertain(stack: Clone) -> Iterator[None]:
    """The server has a model that can say how unsure it is, and is set to use that, as docs/labelling.md says."""
    added = {
        "MODELS": "deepgrow_2d,segmentation_spleen",
        "CONF": "skip_strategies=false skip_scoring=false epistemic_enabled=true",
    }
    stack.environment |= added
    stack.compose("up", "--detach", "--wait")
    yield
    for name in added:
        del stack.environment[name]
    stack.compose("up", "--detach", "--wait")


def ask(annotator: Annotator, strategy: str) -> str | None:
    return annotator.client.next_sample(strategy, {}).get("id")


def test_an_annotator_chooses_among_strategies_and_random_is_the_first(stack: Clone, annotator: Annotator):
    assert list(annotator.client.info()["strategies"]) == ["random", "first", "last"]


def test_first_and_last_go_through_the_images_from_both_ends(stack: Clone, annotator: Annotator, images: list[str]):
    assert [ask(annotator, "first"), ask(annotator, "last")] == images
    image = annotator.image(images[0])
    annotator.submit(images[0], image, np.zeros(image.GetSize()[::-1], np.uint8))
    eventually(lambda: annotator.completed() == 1, 10, "the label is counted")
    assert ask(annotator, "first") == ask(annotator, "last") == ask(annotator, "random") == images[1]


def test_the_image_comes_next_that_the_model_is_least_sure_of(
    stack: Clone, uncertain: None, annotator: Annotator, pacs: Pacs, tmp_path: Path
):
    """The scores are written as the scoring writes them, which takes minutes without a GPU."""
    for unsure in (0, 1):
        images = two_images(annotator, pacs, tmp_path, 51 + 2 * unsure)
        for place, image_id in enumerate(images):
            annotator.image(image_id)  # until somebody has opened it, nothing is known of it
            info = json.dumps({"epistemic_entropy": 0.9 if place == unsure else 0.1})
            url = f"{annotator.url}/datastore/image/info?image={image_id}"
            requests.put(url, data={"info": info}, timeout=30).raise_for_status()
        assert ask(annotator, UNCERTAINTY) == images[unsure]


def cached(stack: Clone) -> set[str]:
    """The images that the server has on disk."""
    found = stack.run_in("label-server", "bash", "-c", "cd /workspace/cache/*/ && ls -d *.nii.gz || true")
    return {name.removesuffix(".nii.gz") for name in found.split()}


def test_the_sample_after_this_one_is_fetched_ahead_and_offered(
    stack: Clone, annotator: Annotator, pacs: Pacs, tmp_path: Path
):
    """Among four, so that it is no accident which one comes."""
    for seed in range(31, 35):
        phantom.write(tmp_path / str(seed), slices=6, size=32, seed=seed)
    pacs.store(tmp_path)
    eventually(lambda: annotator.total() == 4, 10, "the images are counted")
    unlabelled = {str(series.SeriesInstanceUID) for series in pacs.series("CT")}
    stack.run_in("label-server", "bash", "-c", "rm -rf /workspace/cache/*/[1-9]*")
    first = ask(annotator, "random")
    ahead = eventually(lambda: (cached(stack) & unlabelled) - {first}, 10, "another image is fetched")
    assert len(ahead) == 1 and cached(stack) & unlabelled == ahead | {first}
    image = annotator.image(first)
    annotator.submit(first, image, np.zeros(image.GetSize()[::-1], np.uint8))
    assert {ask(annotator, "random")} == ahead


def test_an_image_that_somebody_works_on_is_ready_before_the_first_click(
    stack: Clone, annotator: Annotator, images: list[str]
):
    def ready(image: str) -> bool:
        return f"{image} is ready for clicks" in stack.compose("logs", "label-server").stdout

    given = ask(annotator, "first")
    (other,) = set(images) - {given}
    annotator.image(other)
    annotator.image(given)
    eventually(lambda: ready(given), 20, "the image is made ready")
    assert not ready(other)

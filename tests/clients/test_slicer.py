"""An annotator's day at 3D Slicer with the MONAI Label plugin as it is shipped, in order."""

import numpy as np
import pytest
import requests
import SimpleITK as sitk

from labelpod.dicom import phantom
from tests.clients.session import image_of, ras
from tests.support.annotator import LABELS, Annotator
from tests.support.pacs import masks
from tests.support.waiting import eventually

# A voxel inside the nodule of chest-ct-mini: column, row, slice.
NODULE = [181, 285, 25]
TRAINING = {"max_epochs": "1", "train_batch_size": "1", "val_split": "0.0"}


@pytest.fixture(scope="module")
def url(url_of) -> str:
    return url_of("annotator")


@pytest.fixture(scope="module")
def images(stack, data, tmp_path_factory) -> dict[str, sitk.Image]:
    """The studies that were pushed, a real CT and a synthetic one; series UID -> what its files hold."""
    folders = [data / "chest-ct-mini", tmp_path_factory.mktemp("phantom")]
    phantom.write(folders[1])
    stack.done("studies", "push", *map(str, folders))
    eventually(lambda: stack.status()["studies"]["total"] == len(folders), 20, "the studies are complete")
    return dict(map(image_of, folders))


@pytest.fixture(scope="module")
def day(slicer, url, images) -> dict:
    """The first sample, a voxel in a nodule of it, and what became of it."""
    slicer.annotation("connect", url=url)
    first = slicer.annotation("next_sample")["image"]
    is_real = images[first].GetSize()[2] == 48
    return {"first": first, "voxel": NODULE if is_real else list(phantom.nodules()[0].ijk)}


def paint(slicer, image: sitk.Image) -> dict[str, np.ndarray]:
    """nodule1 stays empty, the others are balls; segment -> its voxels."""
    middle = ras(image, [length // 2 for length in image.GetSize()])
    slicer.annotation("paint", label="nodule1", ras=middle, radius=-1)
    slicer.annotation("paint", label="nodule2", ras=middle, radius=4.5)
    slicer.annotation("paint", label="nodule3", ras=[middle[0] + 30, middle[1] - 20, middle[2] + 10], radius=4.5)
    painted = {label: slicer.segment(label, image) for label in LABELS}
    assert not painted["nodule1"].any() and all(painted[label].sum() > 50 for label in LABELS[1:])
    return painted


def submitted(pacs, image_id: str, image: sitk.Image) -> dict[str, np.ndarray]:
    (seg,) = pacs.segmentations(image_id)
    return masks(seg, image)


def same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> bool:
    """The same names with the same voxels, where there are any."""
    ours = {name: voxels for name, voxels in ours.items() if voxels.any()}
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_the_pasted_url_connects_and_brings_labels_and_models(slicer, url, images):
    shown = slicer.annotation("connect", url=url)
    assert shown["labels"] == list(LABELS)
    assert shown["models"] == ["deepgrow_2d", "deepgrow_3d", "deepgrow_pipeline"]
    assert shown["labelled"] == "0/2 samples are labeled"


def test_a_wrong_url_is_said_to_be_wrong(slicer, url, images):
    with pytest.raises(AssertionError, match="Make sure server address is correct"):
        slicer.annotation("connect", url=f"{url.rstrip('/')}x")
    slicer.annotation("connect", url=url)


def test_next_sample_loads_the_voxels_of_the_dicom_files(slicer, day, images):
    image = images[day["first"]]
    assert np.array_equal(slicer.volume(), sitk.GetArrayFromImage(image))


def test_a_click_in_ras_paints_what_the_server_segments_there(slicer, day, images, url):
    image = images[day["first"]]
    slicer.annotation("click", model="deepgrow_2d", label="nodule1", ras=ras(image, day["voxel"]))
    segmented = Annotator(url).click("deepgrow_2d", day["first"], day["voxel"]) > 0
    assert np.array_equal(slicer.segment("nodule1", image), segmented)


def test_the_pipeline_paints_what_the_server_has_answered(slicer, day, images):
    """Untrained, it answers the same question a little differently each time: asking again would tell nothing."""
    image = images[day["first"]]
    slicer.annotation("click", model="deepgrow_pipeline", label="nodule2", ras=ras(image, day["voxel"]))
    answer = sitk.GetArrayFromImage(sitk.ReadImage(slicer.annotation("received")))
    assert np.array_equal(slicer.segment("nodule2", image), answer > 0)


def test_the_dicom_seg_is_what_was_painted_names_and_voxels(slicer, day, images, pacs):
    image = images[day["first"]]
    day["painted"] = paint(slicer, image)
    assert slicer.annotation("submit")["labelled"] == "1/2 samples are labeled"
    assert [box["text"] for box in slicer.boxes] == ["Label-Mask saved into MONAI Label Server"]
    assert same(day["painted"], submitted(pacs, day["first"], image))


def test_the_next_sample_is_another_study(slicer, day):
    day["second"] = slicer.annotation("next_sample")["image"]
    assert day["second"] != day["first"]


def test_an_annotator_is_told_that_training_takes_the_role_admin(slicer, day):
    with pytest.raises(AssertionError, match="This takes the role admin"):
        slicer.annotation("train", model="deepgrow_2d", options=TRAINING)


def test_training_started_in_slicer_ends_with_a_trained_model(slicer, stack, day, admin_url, url):
    slicer.annotation("connect", url=admin_url)
    try:
        slicer.annotation("train", model="deepgrow_2d", options=TRAINING)
        assert slicer.annotation("wait_for_training", seconds=600)["training"] == "Training: DONE"
        trained = {model["name"]: model["trained"] for model in stack.status()["label_server"]["models"]}
        assert trained["deepgrow_2d"]
    finally:
        slicer.annotation("connect", url=url)


def test_training_is_stopped_in_slicer(slicer, day, admin_url, url):
    slicer.annotation("connect", url=admin_url)
    try:
        slicer.annotation("train", model="deepgrow_2d", options=TRAINING | {"max_epochs": "500"})
        slicer.annotation("stop_training")
        assert requests.get(f"{admin_url}train/?check_if_running=true", timeout=30).status_code == 404
    finally:
        slicer.annotation("connect", url=url)


def test_after_a_restart_of_the_server_slicer_goes_on_where_it_was(slicer, day, images, pacs, restart):
    image = images[day["second"]]
    painted = paint(slicer, image)
    restart()
    assert slicer.annotation("submit")["labelled"] == "2/2 samples are labeled"
    assert same(painted, submitted(pacs, day["second"], image))
    assert same(day["painted"], submitted(pacs, day["first"], images[day["first"]]))


def test_a_labelled_study_that_is_opened_again_after_slicer_was_closed_is_corrected(
    slicer, day, images, pacs, tmp_path
):
    image, volume = images[day["first"]], tmp_path / "volume.nii.gz"
    sitk.WriteImage(image, str(volume))
    assert slicer.annotation("open_again", file=str(volume), name="3: CHEST (lung)") == {"image": "3: CHEST (lung)"}
    paint(slicer, image)
    corner = ras(image, [length // 4 for length in image.GetSize()])
    slicer.annotation("paint", label="nodule1", ras=corner, radius=4.5)
    corrected = {name: slicer.segment(name, image) for name in LABELS}
    assert slicer.annotation("submit")["labelled"] == "2/2 samples are labeled"
    assert corrected["nodule1"].any() and same(corrected, submitted(pacs, day["first"], image))


def test_when_all_is_labelled_slicer_says_so(slicer, day):
    assert slicer.annotation("next_sample") == {}
    assert "Unlabeled samples or images not found at server" in slicer.boxes[-1]["text"]

"""A volume that is loaded into 3D Slicer again: its label goes to the image that it is, under whatever name.

What MONAILabel.py of 0.8.5 and of main sends: the volume to /datastore/ under its name in Slicer,
then the label of that name.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx
import numpy as np
import pytest
import SimpleITK as sitk

from label_server.audit import folder_of
from tests.support import app, web
from tests.support.ct import Ct, ct, read, written
from tests.support.dicomweb import Pacs
from tests.support.labels import counted, ok, painted
from tests.support.web import Server

NAME = "3: CHEST 2.5 (lung)"  # as Slicer calls what it loads from its DICOM database


def upload(server: Server, volume: sitk.Image, name: str = NAME, user: str = "anna") -> httpx.Response:
    files = {"file": ("volume.nii.gz", web.written(volume))}
    form = {"params": json.dumps({"client_id": "user-xyz"})}
    return server.ask("PUT", f"/datastore/?image={quote_plus(name)}", user, data=form, files=files)


def save(server: Server, on: sitk.Image, first: int = 0, name: str = NAME, user: str = "anna") -> httpx.Response:
    label = sitk.GetImageFromArray(painted(first))
    label.CopyInformation(on)
    info = [{"name": each, "idx": number} for number, each in enumerate(web.NAMES, start=1)]
    form = {"params": json.dumps({"label_info": info, "client_id": "user-xyz"})}
    files = {"label": ("label.nii.gz", web.written(label))}
    return server.ask("PUT", f"/datastore/label?image={quote_plus(name)}", user, data=form, files=files)


def as_it_is(volume: sitk.Image) -> sitk.Image:
    return volume


def from_the_head(volume: sitk.Image) -> sitk.Image:
    return sitk.Flip(volume, [False, False, True])


def turned(volume: sitk.Image) -> sitk.Image:
    return sitk.PermuteAxes(sitk.Flip(volume, [True, False, False]), [1, 2, 0])


def as_fractions(volume: sitk.Image) -> sitk.Image:
    return sitk.Cast(volume, sitk.sitkFloat32)


WAYS = [as_it_is, from_the_head, turned, as_fractions]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.replace("_", " "))
def test_a_labelled_image_is_opened_again_and_corrected(
    server: Server, image: Ct, pacs: Pacs, way: Callable[[sitk.Image], sitk.Image]
):
    pacs.store(ct(2))
    ok(server.submit(image.uid, painted()))
    volume = server.image(image.uid)
    answer = upload(server, way(volume))
    ok(answer)
    assert answer.json() == {"image": image.uid}
    ok(save(server, volume, 1))
    assert np.array_equal(server.label(image.uid), painted(1)) and counted(server) == (1, 2)
    (seg,) = pacs.segmentations()
    assert str(seg.ReferencedSeriesSequence[0].SeriesInstanceUID) == image.uid


def test_an_image_that_is_not_on_disk_is_known_by_its_place(server: Server, image: Ct, pacs: Pacs, label_app: Any):
    pacs.store(ct(2), ct(3, slices=5))
    volume = server.image(image.uid)
    label_app.datastore().remove_image(image.uid)
    assert upload(server, volume).json() == {"image": image.uid}
    assert not pacs.requests("GET", f".*/series/{ct(3, slices=5).uid}"), "it has fewer slices"


def test_under_its_own_name_an_image_is_itself(server: Server, image: Ct):
    volume = server.image(image.uid)
    ok(upload(server, volume, image.uid))
    ok(save(server, volume, name=image.uid))
    assert counted(server) == (1, 1)


def brighter(volume: sitk.Image) -> sitk.Image:
    return volume + 1


def moved(volume: sitk.Image) -> sitk.Image:
    elsewhere = sitk.Image(volume)
    elsewhere.SetOrigin([each + 20 for each in volume.GetOrigin()])
    return elsewhere


def cropped(volume: sitk.Image) -> sitk.Image:
    return volume[:, :, 1:]


@pytest.mark.parametrize("way", [brighter, moved, cropped], ids=lambda way: way.__name__)
@pytest.mark.parametrize("own_name", [False, True], ids=["another name", "its own name"])
def test_what_is_not_voxel_by_voxel_the_image_is_not_taken_for_it(
    server: Server, image: Ct, pacs: Pacs, way: Callable[[sitk.Image], sitk.Image], own_name: bool
):
    volume, name = server.image(image.uid), image.uid if own_name else NAME
    answer = upload(server, way(volume), name)
    assert answer.status_code == 400 and "send it there" in answer.json()["detail"]
    if not own_name:
        assert save(server, volume).status_code == 404
        assert pacs.segmentations() == []


def lower(of: Ct) -> Ct:
    """Another patient on the table: the same size, another place."""
    files = []
    for file in of.files:
        header = read(file)
        x, y, z = map(float, header.ImagePositionPatient)
        header.ImagePositionPatient = [x, y, z - 7]
        files.append(written(header))
    return Ct(of.uid, of.study_uid, tuple(files))


def test_of_images_of_one_name_the_label_goes_to_that_on_whose_grid_it_lies(
    server: Server, image: Ct, pacs: Pacs, label_app: Any
):
    """Two Slicers of one user, say: the later upload does not take the earlier one's label."""
    pacs.store(lower(ct(2)))
    first, second = server.image(image.uid), server.image(ct(2).uid)
    for volume in (first, second):
        ok(upload(server, volume))
    ok(save(server, first))
    ok(save(server, second, 1))
    assert np.array_equal(server.label(image.uid), painted()) and np.array_equal(server.label(ct(2).uid), painted(1))
    beside = sitk.Image(first)
    beside.SetOrigin([each + 2 for each in first.GetOrigin()])
    answer = save(server, beside)
    assert answer.status_code == 422 and "opened under this name" in answer.json()["detail"]


def test_two_images_of_one_name_and_one_grid_are_told_apart_by_nobody(server: Server, image: Ct, pacs: Pacs):
    pacs.store(ct(2))
    volumes = [server.image(uid) for uid in (image.uid, ct(2).uid)]
    for volume in volumes:
        ok(upload(server, volume))
    answer = save(server, volumes[0])
    assert answer.status_code == 409 and "rename the volume" in answer.json()["detail"]
    ok(upload(server, volumes[1], "another"))
    ok(save(server, volumes[1], name="another"))
    assert len(pacs.segmentations(ct(2).uid)) == len(pacs.segmentations()) == 1


def test_a_name_is_its_users_own(server: Server, image: Ct):
    volume = server.image(image.uid)
    ok(upload(server, volume))
    assert save(server, volume, user="berta").status_code == 404


def test_a_click_on_what_was_opened_is_a_click_on_the_image(server: Server, image: Ct):
    """Once a label was saved the plugin asks for the name, and for no session any more."""
    ok(upload(server, server.image(image.uid)))
    form = {"params": json.dumps({"above": -500})}
    answer = server.ask("POST", f"/infer/threshold?image={quote_plus(NAME)}&output=image", "anna", data=form)
    ok(answer)
    volume = sitk.GetArrayFromImage(server.image(image.uid))
    assert np.array_equal(sitk.GetArrayFromImage(web.nifti(answer.content)) > 0, volume > -500)


def test_under_a_name_in_slicer_nothing_is_stored_but_a_final_label(server: Server, image: Ct):
    """Or another user's label of a tag could be replaced past the check of whose it is."""
    volume = server.image(image.uid)
    ok(upload(server, volume))
    ok(server.submit(image.uid, painted(), "berta", tag="version_1"))
    label = sitk.GetImageFromArray(painted(1))
    label.CopyInformation(volume)
    where = f"/datastore/label?image={quote_plus(NAME)}&tag=version_1"
    answer = server.ask("PUT", where, "anna", files={"label": ("label.nii.gz", web.written(label))})
    assert answer.status_code == 422 and "only a final label" in answer.json()["detail"]
    form = {"params": json.dumps({"save_label": True, "label_tag": "version_1"})}
    answer = server.ask("POST", f"/infer/threshold?image={quote_plus(NAME)}", "anna", data=form)
    assert answer.status_code == 400 and "only a final label" in answer.json()["detail"]
    assert np.array_equal(server.label(image.uid, tag="version_1"), painted())


def test_a_restart_of_the_server_forgets_no_name(pacs: Pacs, image: Ct, tmp_path: Path):
    for again in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            app.load(tmp_path, pacs.url, patch)
            with web.running(web.users(tmp_path)) as server:
                volume = server.image(image.uid)
                if not again:
                    ok(upload(server, volume))
                ok(save(server, volume, int(again)))
    assert len(pacs.segmentations(image.uid)) == 1


def test_the_audit_log_names_the_study_of_what_was_opened(pacs: Pacs, image: Ct, tmp_path: Path):
    with pytest.MonkeyPatch.context() as patch:
        app.load(tmp_path, pacs.url, patch)
        with web.running(web.users(tmp_path), audit=web.audit(tmp_path)) as server:
            volume = server.image(image.uid)
            ok(upload(server, volume))
            ok(save(server, volume))
    lines = [line for file in folder_of(tmp_path).rglob("*.jsonl") for line in file.read_text().splitlines()]
    saved = [record for record in map(json.loads, lines) if "label" in record.get("action", "")]
    assert [record["study"] for record in saved if record["outcome"] == 200][-1] == image.study_uid

"""Labels of the datastore: from a client's label map to a DICOM SEG in the PACS, and back."""

import io
import json
import os
import shutil
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.uid import generate_uid

from tests.stack.pacs import masks
from tests.support import app, web
from tests.support.ct import Ct, ct, written
from tests.support.dicomweb import Pacs
from tests.support.web import Server


def painted(first: int = 0) -> NDArray[np.uint8]:
    """nodule1 stays empty, nodule2 and nodule3 are painted."""
    voxels = np.zeros(ct().shape, np.uint8)
    voxels[first + 1 : first + 3, 4:9, 5:7] = 2
    voxels[first + 2 : first + 4, 14:19, 15:16] = 3
    return voxels


def ok(answer: Any) -> None:
    assert answer.status_code == 200, answer.text


def counted(server: Server) -> tuple[int, int]:
    told = server.ask("GET", "/datastore/", "anna").json()
    return told["completed"], told["total"]


# --- into the PACS ---


def test_a_label_becomes_a_seg_with_segments_named_by_value(server: Server, image: Ct, pacs: Pacs):
    """Upstream names by rank: nodule2 and nodule3 came out as nodule1 and nodule2 (convert.py:94)."""
    ok(server.submit(image.uid, painted()))
    (seg,) = pacs.segmentations(image.uid)
    found = masks(hd.seg.Segmentation.from_dataset(seg), server.image(image.uid))
    assert {name: mask.tolist() for name, mask in found.items()} == {
        "nodule2": (painted() == 2).tolist(),
        "nodule3": (painted() == 3).tolist(),
    }
    assert (seg.Manufacturer, seg.ContentCreatorName, seg.StudyInstanceUID) == ("labelpod", "anna", image.study_uid)
    assert seg.RelatedSeriesSequence[0].SeriesInstanceUID == image.uid
    codes = [each.SegmentedPropertyTypeCodeSequence[0] for each in seg.SegmentSequence]
    assert {(code.CodingSchemeDesignator, code.CodeValue) for code in codes} == {("SCT", "27925004")}


def test_an_empty_label_completes_an_image(server: Server, image: Ct, pacs: Pacs):
    """Upstream answers 500: a scan without a nodule can never be finished (dicom.py:200)."""
    ok(server.submit(image.uid, np.zeros(image.shape)))
    (seg,) = pacs.segmentations(image.uid)
    assert not seg.pixel_array.any() and seg.ContentDescription == "No nodule found"
    assert counted(server) == (1, 1)
    assert not server.label(image.uid).any()


def test_a_value_without_a_name_is_refused_and_nothing_stored(server: Server, image: Ct, pacs: Pacs):
    voxels = painted()
    voxels[0, 0, 0] = 9
    answer = server.submit(image.uid, voxels)
    assert answer.status_code == 422
    assert answer.json() == {"detail": "The label was not saved: the label map holds the value 9, which no label has"}
    assert pacs.segmentations() == [] and counted(server) == (0, 1)


@pytest.mark.parametrize("name", ["label.nii.gz", "label.nrrd", "label", "label.seg.nrrd"])
@pytest.mark.parametrize("content", [b"", b"no label map", b"\x1f\x8b\x08"])
def test_a_file_that_is_no_label_map_is_refused(server: Server, image: Ct, pacs: Pacs, name: str, content: bytes):
    files = {"label": (name, content)}
    answer = server.ask("PUT", f"/datastore/label?image={image.uid}", "anna", files=files)
    assert answer.status_code == 422 and "it is no label map that can be read" in answer.json()["detail"]
    assert pacs.segmentations() == [] and counted(server) == (0, 1)


def test_a_label_of_an_image_that_is_not_there_is_404(server: Server, image: Ct):
    label = web.written(sitk.GetImageFromArray(painted()))
    answer = server.ask("PUT", "/datastore/label?image=1.2.3", "anna", files={"label": ("l.nii.gz", label)})
    assert answer.status_code == 404


def test_a_name_of_the_clients_own_follows_behind_the_list(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, (painted() == 2).astype(np.uint8), names=("mass",)))
    assert pacs.segmentations()[0].SegmentSequence[0].SegmentLabel == "mass"
    assert set(np.unique(server.label(image.uid))) == {0, 4}


def test_a_label_on_another_grid_is_put_on_the_images(server: Server, image: Ct):
    """OHIF's and other programs' label maps may begin elsewhere."""
    whole = sitk.GetImageFromArray(painted())
    whole.CopyInformation(server.image(image.uid))
    part = whole[2:22, 1:20, :]
    files = {"label": ("label.nii.gz", web.written(part))}
    ok(server.ask("PUT", f"/datastore/label?image={image.uid}", "anna", files=files))
    assert np.array_equal(server.label(image.uid), painted())


def test_the_servers_name_of_the_user_counts(server: Server, image: Ct):
    ok(server.submit(image.uid, painted(), "berta"))
    told = server.ask("GET", f"/datastore/label/info?label={image.uid}&tag=final", "rita").json()
    assert (told["user"], told["client_id"]) == ("berta", "berta")
    assert told["label_info"] == [{"name": f"nodule{n}", "idx": n} for n in (1, 2, 3)]


def test_the_pacs_is_away_and_the_label_is_not_stored(server: Server, image: Ct, pacs: Pacs):
    label = sitk.GetImageFromArray(painted())
    label.CopyInformation(server.image(image.uid))
    pacs.status = 500
    files = {"label": ("label.nii.gz", web.written(label))}
    answer = server.ask("PUT", f"/datastore/label?image={image.uid}", "anna", files=files)
    assert answer.status_code == 502
    pacs.status = 0
    assert counted(server) == (0, 1)
    assert server.ask("GET", f"/datastore/label?label={image.uid}&tag=final", "anna").status_code == 404


# --- back ---


def test_a_label_comes_back_voxel_by_voxel(server: Server, image: Ct):
    ok(server.submit(image.uid, painted()))
    answer = server.ask("GET", f"/datastore/label?label={image.uid}&tag=final", "anna")
    label = web.nifti(answer.content)
    assert np.array_equal(sitk.GetArrayFromImage(label), painted())
    for of in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert np.allclose(getattr(label, of)(), getattr(server.image(image.uid), of)()), of


def test_a_label_comes_back_from_the_pacs_alone(server: Server, image: Ct, pacs: Pacs, tmp_path: Path, label_app):
    """Upstream rebuilds values 2, 3 as 1, 2 on the segmented slices alone (convert.py:140)."""
    ok(server.submit(image.uid, painted()))
    for folder in (tmp_path / "cache").iterdir():
        shutil.rmtree(folder / "labels")
        (folder / f"{image.uid}.nii.gz").unlink()
    assert np.array_equal(server.label(image.uid), painted())
    assert len(pacs.requests("GET", r".*/series/[0-9.]+")) >= 3


def test_another_list_of_labels_does_not_renumber(pacs: Pacs, image: Ct, tmp_path: Path):
    """Values follow the names, whatever their place in the list."""
    with pytest.MonkeyPatch.context() as patch:
        (tmp_path / "one").mkdir()
        app.load(tmp_path / "one", pacs.url, patch)
        with web.running(web.users(tmp_path)) as server:
            ok(server.submit(image.uid, painted()))
    with pytest.MonkeyPatch.context() as patch:
        (tmp_path / "two").mkdir()
        patch.setattr(app, "LABELS", "nodule3:1,nodule2:1,mass:2")
        app.load(tmp_path / "two", pacs.url, patch)
        with web.running(web.users(tmp_path)) as server:
            again = server.label(image.uid)
    assert np.array_equal(again == 2, painted() == 2) and np.array_equal(again == 1, painted() == 3)


def test_a_seg_of_another_program_counts(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, painted()))
    seg = foreign(pacs, image)
    assert counted(server) == (1, 1) and np.array_equal(server.label(image.uid), painted())
    told = server.ask("GET", "/datastore/?output=all", "anna").json()["objects"][image.uid]["labels"]["final"]
    assert told["info"]["user"] == "anna"
    ok(server.submit(image.uid, painted(1)))
    assert str(seg.SeriesInstanceUID) in pacs.series, "it is not ours to replace"


def foreign(pacs: Pacs, image: Ct) -> Any:
    """Our only SEG, made another program's."""
    (seg,) = pacs.segmentations(image.uid)
    pacs.delete(str(seg.SeriesInstanceUID))
    seg.SeriesInstanceUID, seg.SOPInstanceUID, seg.Manufacturer = generate_uid(), generate_uid(), "another program"
    seg.file_meta.MediaStorageSOPInstanceUID = seg.SOPInstanceUID
    del seg.RelatedSeriesSequence
    pacs.take(written(seg))
    return seg


def test_a_seg_on_another_grid_is_said(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, painted()))
    seg = foreign(pacs, image)
    for group in seg.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence[0].ImagePositionPatient[2] += 20
    pacs.take(written(seg))
    answer = server.ask("GET", f"/datastore/label?label={image.uid}&tag=final", "anna")
    assert answer.status_code == 422 and "does not lie on the image's grid" in answer.json()["detail"]


# --- whose label ---


def test_submitting_again_replaces_ones_own(server: Server, image: Ct, pacs: Pacs):
    for first in (0, 1):
        ok(server.submit(image.uid, painted(first)))
    assert len(pacs.segmentations(image.uid)) == 1 and counted(server) == (1, 1)
    assert np.array_equal(server.label(image.uid), painted(1))


def test_the_label_of_another_is_kept_and_the_newest_counts(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, painted(0), "anna"))
    ok(server.submit(image.uid, painted(1), "berta"))
    assert sorted(str(seg.ContentCreatorName) for seg in pacs.segmentations(image.uid)) == ["anna", "berta"]
    assert np.array_equal(server.label(image.uid), painted(1)) and counted(server) == (1, 1)


def test_what_the_pacs_does_not_let_go_is_replaced_all_the_same(server: Server, image: Ct, pacs: Pacs):
    pacs.keeps = True
    for first in (0, 1):
        ok(server.submit(image.uid, painted(first)))
    assert len(pacs.segmentations(image.uid)) == 2
    assert np.array_equal(server.label(image.uid), painted(1))


def test_a_deleted_label_is_gone_from_the_pacs(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, painted()))
    ok(server.ask("DELETE", f"/datastore/label?id={image.uid}&tag=final", "admin"))
    assert pacs.segmentations() == [] and counted(server) == (0, 1)
    assert server.ask("GET", f"/datastore/label?label={image.uid}&tag=final", "anna").status_code == 404
    assert server.ask("HEAD", f"/datastore/label?image={image.uid}&tag=final", "anna").status_code == 404


def test_a_label_that_the_pacs_keeps_is_not_said_to_be_deleted(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, painted()))
    pacs.keeps = True
    answer = server.ask("DELETE", f"/datastore/label?id={image.uid}&tag=final", "admin")
    assert answer.status_code == 400 and "does not let its label be deleted" in answer.json()["detail"]
    assert counted(server) == (1, 1)


def test_a_label_that_was_deleted_in_the_pacs_is_gone(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, painted()))
    pacs.delete(str(pacs.segmentations()[0].SeriesInstanceUID))
    assert server.ask("GET", f"/datastore/label?label={image.uid}&tag=final", "anna").status_code == 404
    assert counted(server) == (0, 1)


# --- other tags, reviews, lists ---


def test_a_draft_stays_in_the_cache(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, painted(), tag="original"))
    assert pacs.segmentations() == [] and counted(server) == (0, 1)
    assert np.array_equal(server.label(image.uid, tag="original"), painted())
    assert server.ask("GET", "/datastore/", "anna").json()["label_tags"] == {"original": 1}
    ok(server.ask("DELETE", f"/datastore/label?id={image.uid}&tag=original", "admin"))
    assert server.ask("GET", f"/datastore/label?label={image.uid}&tag=original", "anna").status_code == 404


def test_a_review_does_not_change_who_painted(server: Server, image: Ct):
    ok(server.submit(image.uid, painted(), "anna"))
    info = {
        "info": json.dumps(
            {"review": {"status": "approved", "comment": "see /x, $5"}, "user": "rita", "client_id": "x"}
        )
    }
    ok(server.ask("PUT", f"/datastore/label/info?label={image.uid}&tag=final", "rita", data=info))
    told = server.ask("GET", f"/datastore/label/info?label={image.uid}&tag=final", "anna").json()
    assert (told["user"], told["client_id"], told["reviewer"]) == ("anna", "anna", "rita")
    assert told["review"] == {"status": "approved", "comment": "see /x, $5"}


def test_the_training_list_is_made_again_only_for_new_labels(server: Server, pacs: Pacs):
    """Upstream's would fetch every labelled image first."""
    pacs.store(ct(1), ct(2))
    assert server.ask("GET", "/datastore/?output=train", "anna").json() == []
    ok(server.submit(ct(1).uid, painted()))
    asked = len(pacs.requests("GET", r".*/studies/[0-9.]+/series/[0-9.]+"))
    for _ in range(2):
        ((entry,)) = [server.ask("GET", "/datastore/?output=train", "anna").json()]
        assert [(Path(each["image"]).name, "labels/final" in each["label"]) for each in entry] == [
            (f"{ct(1).uid}.nii.gz", True)
        ]
    assert len(pacs.requests("GET", r".*/studies/[0-9.]+/series/[0-9.]+")) == asked


def test_a_trainings_data_is_fetched(server: Server, image: Ct, label_app, tmp_path: Path):
    ok(server.submit(image.uid, painted()))
    (entry,) = label_app.datastore().datalist()
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(entry["label"])), painted())
    assert Path(entry["image"]).exists()


def test_the_data_set_is_sent_and_not_kept(server: Server, image: Ct):
    """Upstream leaves each archive in the temporary folder, which is memory."""
    answer = server.ask("GET", "/datastore/dataset", "admin")
    assert answer.status_code == 404 and answer.json() == {"detail": "No image has a label"}
    ok(server.submit(image.uid, painted()))
    answer = server.ask("GET", "/datastore/dataset", "admin")
    ok(answer)
    names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert names == [f"image/{image.uid}.nii.gz", f"label/{image.uid}.nii.gz", "metadata.json"]
    assert [path for path in Path(tempfile.gettempdir()).iterdir() if path.is_file()] == []


def test_an_inference_may_be_saved_as_a_draft(server: Server, image: Ct):
    form = {"params": json.dumps({"above": -500, "save_label": True, "label_tag": "original"})}
    answer = server.ask("POST", f"/infer/threshold?image={image.uid}&output=image", "anna", data=form)
    ok(answer)
    volume = sitk.GetArrayFromImage(server.image(image.uid))
    assert np.array_equal(server.label(image.uid, tag="original"), (volume > -500).astype(np.uint8))


def test_many_at_once_lose_nothing(server: Server, pacs: Pacs):
    seeds = (1, 2, 3, 4)
    pacs.store(*(ct(seed) for seed in seeds))

    def label(seed: int) -> None:
        for user in ("anna", "berta"):
            ok(server.submit(ct(seed).uid, painted(seed % 2), user))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(label, seeds))
    assert counted(server) == (4, 4) and len(pacs.segmentations()) == 8
    for seed in seeds:
        assert np.array_equal(server.label(ct(seed).uid), painted(seed % 2))


def test_the_list_on_disk_is_never_half_written(server: Server, image: Ct, tmp_path: Path, label_app, monkeypatch):
    """Upstream truncates it and then writes (local.py:683)."""
    server.image(image.uid)
    (listed,) = tmp_path.glob("cache/*/datastore_v2.json")
    before = listed.read_bytes()

    def killed(*_: object) -> None:
        raise OSError("killed before the new one was in place")

    for owner, name in ((os, "replace"), (os, "rename"), (Path, "replace")):
        monkeypatch.setattr(owner, name, killed)
    with pytest.raises(OSError, match="killed"):
        label_app.datastore().update_image_info(image.uid, {"seen": True})
    assert listed.read_bytes() == before

"""Labels of the datastore: from a client's label map to a DICOM SEG in the PACS, and back."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.uid import generate_uid

from tests.support import app, web
from tests.support.ct import Ct, written
from tests.support.dicomweb import Pacs
from tests.support.labels import counted, ok, painted
from tests.support.pacs import masks
from tests.support.web import Server

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


@pytest.mark.parametrize(
    "info",
    [
        [{"name": "nodule2", "idx": 2}, {"name": "other", "idx": 3}],
        [{"name": "other", "idx": 3}, {"name": "nodule2", "idx": 2}],
        [{"name": ""}, {"name": "nodule2"}, {"name": "other"}],
    ],
)
def test_known_names_beside_others_are_not_exchanged(server: Server, image: Ct, pacs: Pacs, info: list):
    label = sitk.GetImageFromArray(painted())
    label.CopyInformation(server.image(image.uid))
    form = {"params": json.dumps({"label_info": info})}
    files = {"label": ("label.nii.gz", web.written(label))}
    ok(server.ask("PUT", f"/datastore/label?image={image.uid}", "anna", data=form, files=files))
    (seg,) = pacs.segmentations(image.uid)
    found = masks(hd.seg.Segmentation.from_dataset(seg), server.image(image.uid))
    assert found.keys() == {"nodule2", "other"} and np.array_equal(found["nodule2"], painted() == 2)


def test_a_name_that_may_be_anothers_is_422_and_nothing_stored(server: Server, image: Ct, pacs: Pacs):
    label = sitk.GetImageFromArray((painted() == 2).astype(np.uint8) * 2)
    label.CopyInformation(server.image(image.uid))
    info = [{"name": "nodule1", "idx": 2}, {"name": "nodule2", "idx": 3}]
    form = {"params": json.dumps({"label_info": info})}
    files = {"label": ("label.nii.gz", web.written(label))}
    answer = server.ask("PUT", f"/datastore/label?image={image.uid}", "anna", data=form, files=files)
    assert answer.status_code == 422 and "the value 2 may be 'nodule2'" in answer.json()["detail"]
    assert pacs.segmentations() == []


@pytest.mark.parametrize("name", ["é", "结节", "結" * 64, " x ", "a^b=c"], ids=ascii)
def test_a_name_comes_back_from_the_pacs_as_it_was_given(server: Server, image: Ct, pacs: Pacs, name: str):
    ok(server.submit(image.uid, painted(), names=("nodule1", name, "nodule3")))
    (seg,) = pacs.segmentations(image.uid)
    assert {str(segment.SegmentLabel) for segment in seg.SegmentSequence} == {"nodule3", name.strip()}


def test_a_name_that_dicom_takes_for_two_is_refused(server: Server, image: Ct, pacs: Pacs):
    answer = server.submit(image.uid, painted(), names=("nodule1", "a\\b", "nodule3"))
    assert answer.status_code == 400 and pacs.segmentations(image.uid) == []


def test_a_label_on_another_grid_is_put_on_the_images(server: Server, image: Ct):
    """OHIF's and other programs' label maps may begin elsewhere."""
    whole = sitk.GetImageFromArray(painted())
    whole.CopyInformation(server.image(image.uid))
    part = whole[2:22, 1:20, :]
    files = {"label": ("label.nii.gz", web.written(part))}
    ok(server.ask("PUT", f"/datastore/label?image={image.uid}", "anna", files=files))
    assert np.array_equal(server.label(image.uid), painted())


def moved(label: sitk.Image) -> sitk.Image:
    label.SetOrigin(label.TransformIndexToPhysicalPoint((10, 3, 0)))
    return label


def nowhere(label: sitk.Image) -> sitk.Image:
    return sitk.GetImageFromArray(sitk.GetArrayFromImage(label))


WRONG = {
    "identity": (nowhere, "does not say where it lies"),
    "moved": (moved, "does not lie on the image"),
    "half outside": (lambda label: moved(label)[:20, :, :], "voxels of value"),
    "fewer slices": (lambda label: label[:, :, :5], "it has 5 slices, the image 6"),
    "more slices": (lambda label: sitk.ConstantPad(label, (0, 0, 0), (0, 0, 1)), "it has 7 slices, the image 6"),
    "four dimensions": (lambda label: sitk.JoinSeries([label, label]), "4 dimensions"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("file", ["label.nii.gz", "label.nii", "label.nrrd"])
def test_a_label_that_would_lose_voxels_is_refused_and_the_earlier_stays(
    server: Server, image: Ct, pacs: Pacs, tmp_path: Path, name: str, file: str
):
    ok(server.submit(image.uid, painted()))
    label = sitk.GetImageFromArray(np.full(image.shape, 2, np.uint8))
    label.CopyInformation(server.image(image.uid))
    change, reason = WRONG[name]
    sitk.WriteImage(change(label), str(tmp_path / file))
    files = {"label": (file, (tmp_path / file).read_bytes())}
    answer = server.ask("PUT", f"/datastore/label?image={image.uid}", "anna", files=files)
    assert answer.status_code == 422 and reason in answer.json()["detail"], answer.text
    assert len(pacs.segmentations()) == 1 and np.array_equal(server.label(image.uid), painted())


@pytest.mark.parametrize("file", ["label.nii.gz", "label.nii", "label.nrrd"])
def test_a_label_that_is_cut_off_is_refused_and_the_earlier_stays(
    server: Server, image: Ct, pacs: Pacs, tmp_path: Path, file: str
):
    """Of a NIfTI file, ITK takes the voxels that are missing for zeros."""
    ok(server.submit(image.uid, painted()))
    label = sitk.GetImageFromArray(np.random.default_rng(1).integers(0, 4, image.shape).astype(np.uint8))
    label.CopyInformation(server.image(image.uid))
    sitk.WriteImage(label, str(tmp_path / file), useCompression=file.endswith("gz"))
    whole = (tmp_path / file).read_bytes()
    files = {"label": (file, whole[: len(whole) * 3 // 4])}
    answer = server.ask("PUT", f"/datastore/label?image={image.uid}", "anna", files=files)
    assert answer.status_code == 422 and "that can be read" in answer.json()["detail"]
    assert len(pacs.segmentations()) == 1 and np.array_equal(server.label(image.uid), painted())


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0)], ids=str)
def test_a_label_in_another_order_is_put_right(server: Server, image: Ct, order: tuple[int, int, int]):
    label = sitk.GetImageFromArray(painted())
    label.CopyInformation(server.image(image.uid))
    turned = sitk.Flip(sitk.PermuteAxes(label, order), (True, False, True))
    files = {"label": ("label.nii.gz", web.written(turned))}
    ok(server.ask("PUT", f"/datastore/label?image={image.uid}", "anna", files=files))
    assert np.array_equal(server.label(image.uid), painted())


def test_voxels_without_a_header_are_the_images(server: Server, image: Ct):
    files = {"label": ("label.bin", painted().tobytes())}
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


def restarted(labels: str, pacs: Pacs, folder: Path, work: Callable[[Server], Any]) -> Any:
    """Work on a server with this list of labels, whose workspace another one had."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "LABELS", labels)
        app.load(folder, pacs.url, patch)
        with web.running(web.users(folder)) as server:
            return work(server)


def test_another_list_of_labels_does_not_renumber(pacs: Pacs, image: Ct, tmp_path: Path):
    """Values follow the names, whatever their place in the list; so they do in the cache."""
    ok(restarted(app.LABELS, pacs, tmp_path, lambda server: server.submit(image.uid, painted())))
    again = restarted("nodule3:1,nodule2:1,mass:2", pacs, tmp_path, lambda server: server.label(image.uid))
    assert np.array_equal(again == 2, painted() == 2) and np.array_equal(again == 1, painted() == 3)
    back = restarted(app.LABELS, pacs, tmp_path, lambda server: server.label(image.uid))
    assert np.array_equal(back, painted())


def test_a_saved_label_is_counted_however_old_the_lists_may_be(server: Server, image: Ct, label_app, monkeypatch):
    """Upstream shows the case as unlabelled for up to two hours (dicom.py:156)."""
    monkeypatch.setattr(label_app.datastore()._index, "_max_age", 3600)
    assert counted(server) == (0, 1)
    ok(server.submit(image.uid, painted()))
    assert counted(server) == (1, 1)
    ok(server.ask("DELETE", f"/datastore/label?id={image.uid}&tag=final", "admin"))
    assert counted(server) == (0, 1)


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


def test_a_label_of_another_program_is_not_said_to_be_deleted(server: Server, image: Ct, pacs: Pacs):
    ok(server.submit(image.uid, painted()))
    foreign(pacs, image)
    answer = server.ask("DELETE", f"/datastore/label?id={image.uid}&tag=final", "admin")
    assert answer.status_code == 403 and "another program's" in answer.text
    assert len(pacs.segmentations()) == 1

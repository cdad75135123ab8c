"""What a model's mask is stored as, or sent as: names, codes, and by whom or what it was made."""

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from monailabel.interfaces.tasks.infer_v2 import InferType

from tests.support.attacks import image as volume
from tests.support.ct import Ct, ct
from tests.support.dicomweb import Pacs
from tests.support.labels import ok, painted
from tests.support.pacs import masks
from tests.support.web import Server

DENSE = {"above": -500}


def infer(server: Server, uid: str, user: str = "anna", output: str = "image", **params: Any) -> Any:
    form = {"params": json.dumps(DENSE | params)}
    return server.ask("POST", f"/infer/threshold?image={uid}&output={output}", user, data=form)


def dense(server: Server, uid: str) -> np.ndarray:
    return sitk.GetArrayFromImage(server.image(uid)) > DENSE["above"]


def kinds(pacs: Pacs, uid: str) -> set[str]:
    (seg,) = pacs.segmentations(uid)
    return {str(each.SegmentAlgorithmType) for each in seg.SegmentSequence}


@pytest.mark.parametrize(("label", "stored"), [("nodule2", "nodule2"), ("mass", "mass"), (None, "dense")])
def test_a_saved_inference_keeps_the_name_of_its_label(server: Server, image: Ct, pacs: Pacs, label, stored: str):
    """The mask of any label is 1: it was stored as the first name of the server's list."""
    ok(infer(server, image.uid, save_label=True, label_tag="final", label=label))
    (seg,) = pacs.segmentations(image.uid)
    found = masks(hd.seg.Segmentation.from_dataset(seg), server.image(image.uid))
    assert list(found) == [stored] and np.array_equal(found[stored], dense(server, image.uid))


def test_a_draft_has_the_value_that_the_models_list_has_for_its_label(server: Server, image: Ct, label_app: Any):
    """3D Slicer's plugin takes the names of a draft from that list, by their places."""
    label_app._infers["threshold"].labels = {"nodule1": 1, "nodule2": 2}
    ok(infer(server, image.uid, save_label=True, label="nodule2"))
    assert np.array_equal(server.label(image.uid, tag="original"), dense(server, image.uid) * 2)


def test_an_inference_that_finds_nothing_is_saved(server: Server, image: Ct, pacs: Pacs):
    ok(infer(server, image.uid, save_label=True, label_tag="final", label="nodule2", above=9999))
    assert not server.label(image.uid).any() and len(pacs.segmentations()) == 1


def test_a_saved_inference_is_its_clients(server: Server, image: Ct, pacs: Pacs):
    ok(infer(server, image.uid, save_label=True, label_tag="final", client_id="reader 1"))
    assert pacs.segmentations()[0].ContentCreatorName == "anna/reader 1"


# --- how it was made ---


def test_a_label_by_hand_is_manual(server: Server, image: Ct, pacs: Pacs):
    ok(infer(server, image.uid, "berta"))
    ok(server.submit(image.uid, painted(), "anna"))
    assert kinds(pacs, image.uid) == {"MANUAL"}, "the model answered somebody else"


def test_a_label_after_a_models_answer_on_the_image_is_semiautomatic(server: Server, pacs: Pacs):
    pacs.store(ct(1), ct(2))
    ok(infer(server, ct(1).uid))
    for seed in (1, 2):
        ok(server.submit(ct(seed).uid, painted()))
    assert (kinds(pacs, ct(1).uid), kinds(pacs, ct(2).uid)) == ({"SEMIAUTOMATIC"}, {"MANUAL"})


def test_a_label_that_began_as_a_models_draft_is_semiautomatic(server: Server, image: Ct, pacs: Pacs):
    ok(infer(server, image.uid, "admin", save_label=True))
    ok(server.submit(image.uid, painted(), "anna"))
    assert kinds(pacs, image.uid) == {"SEMIAUTOMATIC"}


def test_a_models_answer_is_remembered_over_a_restart(server: Server, image: Ct, pacs: Pacs, label_app: Any):
    ok(infer(server, image.uid))
    (file,) = Path(label_app.datastore()._datastore_path).glob("datastore_v2.json")
    assert json.loads(file.read_text())["objects"][image.uid]["image"]["info"]["assisted"] == ["anna"]
    answer = server.ask("PUT", f"/datastore/image/info?image={image.uid}", "rita", data={"info": '{"assisted": []}'})
    assert answer.status_code == 400


def test_a_models_answer_is_automatic_unless_a_person_has_clicked(server: Server, pacs: Pacs, label_app: Any):
    pacs.store(ct(1), ct(2))
    label_app._infers["threshold"].type = InferType.DEEPGROW
    ok(infer(server, ct(1).uid, save_label=True, label_tag="final", foreground=[[1, 2, 3]]))
    label_app._infers["threshold"].type = InferType.SEGMENTATION
    ok(infer(server, ct(2).uid, save_label=True, label_tag="final"))
    assert (kinds(pacs, ct(1).uid), kinds(pacs, ct(2).uid)) == ({"SEMIAUTOMATIC"}, {"AUTOMATIC"})


# --- as DICOM SEG ---


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"label": "nodule2"}, "nodule2"),
        ({}, "dense"),
        ({"label_info": [{"name": "nodule3", "idx": 1, "color": [1, 2, 3]}]}, "nodule3"),
    ],
)
def test_an_inference_as_dicom_seg_is_as_a_label_is(server: Server, image: Ct, pacs: Pacs, params: dict, name: str):
    """Upstream codes it as a spleen, and demands label_info."""
    answer = infer(server, image.uid, output="dicom_seg", **params)
    ok(answer)
    assert answer.headers["content-type"] == "application/dicom"
    seg = hd.seg.Segmentation.from_dataset(pydicom.dcmread(io.BytesIO(answer.content)))
    found = masks(seg, server.image(image.uid))
    assert list(found) == [name] and np.array_equal(found[name], dense(server, image.uid))
    (segment,) = seg.SegmentSequence
    assert (seg.PatientID, seg.StudyInstanceUID) == (pacs.first(image.uid).PatientID, image.study_uid)
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue != "78961009"
    assert pacs.segmentations() == [] and list(Path(tempfile.gettempdir()).iterdir()) == []


def test_a_dicom_seg_whose_values_have_no_name_is_refused_and_leaves_nothing(server: Server, image: Ct):
    info = [{"name": "nodule3", "idx": 7}, {"name": "b", "idx": 6}]
    answer = infer(server, image.uid, output="dicom_seg", label_info=info)
    assert answer.status_code == 422 and "value 1, which no label has" in answer.json()["detail"]
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


def test_a_dicom_seg_of_an_upload_is_refused(server: Server, image: Ct):
    files = {"file": ("x.nii.gz", volume())}
    answer = server.ask("POST", "/infer/threshold?output=dicom_seg", "anna", files=files)
    assert answer.status_code == 400 and "an image of the DICOMweb server" in answer.json()["detail"]

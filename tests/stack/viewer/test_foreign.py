"""CTs as scanners and other programs write them, and labels of other programs, in the viewer."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
import SimpleITK as sitk
from pydicom.uid import generate_uid

from tests.support import segs
from tests.support.annotator import LABELS, Annotator
from tests.support.cases import same
from tests.support.ct import ct, written
from tests.support.pacs import Pacs, masks
from tests.support.segs import Painted, View
from tests.support.viewer import MIDDLE, Viewer
from tests.support.waiting import eventually

OFFERED = (
    *("iop-coronal-dot002", "iop-prone-dot002", "jpeg2000", "rescale-mixed", "patient-id-chinese"),
    *("positions-rounded-0.1mm", "drift-0.3mm-in-plane"),
)
# Folder -> the reason, in the panel's words.
LEFT_OUT = {
    "localizer": "It is a localizer",
    "two-kernels-interleaved": "It holds two reconstructions",
    "twice-new-sop-uids": "6 of 12 slices lie in the plane of another one",
    "uid-with-letters": "Its SeriesInstanceUID is no UID",
}


def left_out(annotator: Annotator) -> list[str]:
    """The reasons why images are left out."""
    told = requests.get(f"{annotator.url}/info/", timeout=30).json()["datastore"]
    return list(told["left_out"].values())


@pytest.fixture
def reports(data: Path) -> Path:
    if not (data / "reports").is_dir():
        pytest.skip("needs ../shared/data/reports")
    return data / "reports"


def sent(pacs: Pacs, folder: Path, copies: Path) -> tuple[str, str]:
    """Put a series into the archive, under UIDs of its own, since other tests store it, too: its study and series."""
    files = [pydicom.dcmread(file) for file in sorted(folder.rglob("*.dcm"))]
    letters = "" if files[0].SeriesInstanceUID.is_valid else ".9f3a"
    study, series = str(generate_uid()), f"{generate_uid(prefix='1.2.3.')[:50]}{letters}"
    (copies / folder.name).mkdir()
    for number, header in enumerate(files):
        header.StudyInstanceUID, header.SeriesInstanceUID = study, series
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        header.save_as(copies / folder.name / f"{number}.dcm")
    pacs.store(copies / folder.name)
    return study, series


def test_what_is_painted_on_reported_cts_is_what_highdicom_reads(
    page: Viewer, pacs: Pacs, annotator: Annotator, reports: Path, tmp_path: Path
):
    places = {name: sent(pacs, reports / name, tmp_path) for name in OFFERED}
    eventually(lambda: annotator.total() == len(places), 60, "all are offered")
    for name, (study, series) in places.items():
        page.open(study, series)
        page.press("b")
        page.paints(page.place(*MIDDLE))
        page.save("Saved in the archive")
        (seg,) = pacs.segmentations(series)
        assert same(masks(seg, annotator.image(series)), page.masks(LABELS)), name


def test_the_viewer_says_why_a_ct_is_left_out(
    page: Viewer, pacs: Pacs, annotator: Annotator, reports: Path, tmp_path: Path
):
    page.expected = {404}  # for a UID with letters
    places = {name: sent(pacs, reports / name, tmp_path) for name in LEFT_OUT}
    eventually(lambda: sum(": " in why for why in left_out(annotator)) == len(places), 60, "all were looked at")
    for name, (study, series) in places.items():
        page.open(study, series, LEFT_OUT[name])
        assert page.button("Save").is_disabled() and page.button("Brush, sphere").is_disabled()
    page.errors = [error for error in page.errors if "request failed" not in error and "resource" not in error]
    page.page.goto(f"{page.address}ohif/label?StudyInstanceUIDs={places['localizer'][0]}")
    page.said(LEFT_OUT["localizer"])


KINDS = {
    "binary": {"kind": "BINARY", "all_frames": True},
    "probabilities": {"kind": "FRACTIONAL"},
    "a label map": {"kind": "LABELMAP"},
    "other planes": {"view": View((2, 0, 1), (1, -1, 1))},
}


def test_labels_of_other_programs_are_shown_as_the_label_server_reads_them(
    page: Viewer, pacs: Pacs, annotator: Annotator, tmp_path: Path
):
    eventually(lambda: annotator.total() == 0, 30, "what earlier tests stored is gone")
    for number, how in enumerate(KINDS.values(), start=71):
        image = ct(number)
        for place, file in enumerate(image.files):
            (tmp_path / f"{number}.{place}.dcm").write_bytes(file)
        one, other = np.zeros((2, *image.shape), np.uint8)
        one[1:3, 4:9, 5:7] = other[3, 10:20, 8:9] = 150 if how.get("kind") == "FRACTIONAL" else 1  # of 200
        seg = segs.make(image, Painted("nodule1", one), Painted("nodule3", other), **how)
        (tmp_path / f"{number}.seg.dcm").write_bytes(written(seg))
    pacs.store(tmp_path)
    eventually(lambda: annotator.total() == annotator.completed() == len(KINDS), 30, "all labels count")
    for number, name in enumerate(KINDS, start=71):
        page.open(ct(number).study_uid, ct(number).uid, "Stored: nodule1, nodule3")
        stored = sitk.GetArrayFromImage(annotator.stored_label(ct(number).uid))
        shown = page.voxels()
        assert shown.any() and np.array_equal(shown > 0, stored > 0), name
        assert np.array_equal(shown == 3, stored == stored.max()), name

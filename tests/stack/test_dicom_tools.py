"""Programs of other makers at the stack: dcmtk sends as a scanner does, dciodvfy judges the DICOM SEG."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.waiting import eventually


def program(name: str, package: str) -> str:
    path = shutil.which(name)
    if not path:
        pytest.skip(f"{name} is not installed: apt-get install {package}")
    return path


@pytest.mark.parametrize(
    ("sender", "options", "folder"),
    [
        ("storescu", ["+sd", "+r"], "chest-ct-full/ct"),
        ("dcmsend", ["+sd", "+r"], "chest-ct-mini"),  # JPEG-LS, sent as it is
    ],
)
def test_a_study_that_a_scanner_sends_is_the_next_sample(
    stack: Clone, pacs: Pacs, annotator: Annotator, data: Path, sender: str, options: list[str], folder: str
):
    port = stack.environment["DICOM_PORT"]
    command = [program(sender, "dcmtk"), "-aec", "LABELPOD", *options, "127.0.0.1", port, str(data / folder)]
    sent = subprocess.run(command, capture_output=True, text=True, check=False)
    assert sent.returncode == 0, sent.stdout + sent.stderr
    (series,) = pacs.series("CT")
    assert series.NumberOfSeriesRelatedInstances == len(list((data / folder).rglob("*.dcm")))
    eventually(lambda: annotator.next_sample() == series.SeriesInstanceUID, 10, "next sample offers what was sent")


@pytest.mark.parametrize("voxels", [0, 1], ids=["no nodule", "two nodules"])
def test_the_seg_has_no_error_for_dciodvfy(pacs: Pacs, annotator: Annotator, ct: str, tmp_path: Path, voxels: int):
    judge = program("dciodvfy", "dicom3tools")
    image = annotator.image(ct)
    label = np.zeros(image.GetSize()[::-1], np.uint8)
    label[10:14, 300:320, 350:370] = 2 * voxels
    label[30:33, 100:110, 200:210] = 3 * voxels
    annotator.submit(ct, image, label)
    (seg,) = pacs.segmentations(ct)
    seg.save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    said = subprocess.run([judge, str(tmp_path / "seg.dcm")], capture_output=True, text=True, check=False)
    findings = (said.stdout + said.stderr).splitlines()
    assert "Segmentation" in findings and not [line for line in findings if line.startswith("Error")], findings

"""Sends a CT, labels it with clicks, and reads the label back: `python ... LABEL_SERVER ORTHANC PASSWORD`."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from labelpod.dicom import phantom
from tests.support.annotator import Annotator
from tests.support.pacs import Pacs, masks
from tests.support.waiting import eventually

label_server, orthanc, password = sys.argv[1:]
pacs, annotator = Pacs(orthanc, "labelpod", password), Annotator(label_server)
with tempfile.TemporaryDirectory() as folder:
    phantom.write(Path(folder), slices=8, size=64)
    pacs.store(Path(folder))
image = eventually(annotator.next_sample, 60, "the CT is offered")
voxels = annotator.image(image)
clicked = annotator.click("deepgrow_2d", image, [32, 32, 4])
assert clicked.shape == (8, 64, 64)
label = np.zeros(clicked.shape, np.uint8)
label[4, 20:30, 20:30] = 2
annotator.submit(image, voxels, label)
assert annotator.completed() == 1
(seg,) = pacs.segmentations(image)
assert (masks(seg, voxels)["nodule2"] == (label == 2)).all()

"""Eight people at once while studies come and go and services are killed: every acknowledged label is there, once.

`SECONDS=120 .venv/bin/python -m pytest -s tests/stack/test_soak.py` goes on for longer, and says how much was done.
"""

import json
import os
import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
import SimpleITK as sitk
from numpy.typing import NDArray

from labelpod.dicom import phantom
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.waiting import eventually
from tests.support.web import nifti, written

PEOPLE = 8
SECONDS = int(os.environ.get("SECONDS", "25"))
SHAPE = (4, 24, 24)

Masks = dict[tuple[str, str], list[NDArray[np.uint8]]]


class Soak:
    """What was done to the stack, and what was answered.

    Args:
        stack: whose services are killed.
        annotator: at its label server.
        pacs: its Orthanc.
        folder: for studies.

    """

    def __init__(self, stack: Clone, annotator: Annotator, pacs: Pacs, folder: Path) -> None:
        self.stack, self.url, self.pacs, self.folder = stack, annotator.url, pacs, folder
        self.until = time.monotonic() + SECONDS
        self.images: list[str] = []
        # By image and person: the last that was acknowledged, and what was sent since, which may be there or not.
        self.sent: Masks = {}
        self.acknowledged: set[tuple[str, str]] = set()
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.lock = threading.Lock()

    def going_on(self) -> bool:
        """For as long as it was told; on a slow machine until something was done."""
        longer = 0 if self.answers["label 200"] > PEOPLE else 5 * SECONDS
        return time.monotonic() < self.until + longer and not self.wrong

    def people(self, name: str) -> None:
        lot = np.random.default_rng(sum(name.encode()))
        while self.going_on():
            with self.lock:
                image = random.choice(self.images) if self.images else ""
            if image:
                self.label(image, name, lot)

    def label(self, image: str, name: str, lot: np.random.Generator) -> bool:
        """Get an image, paint, and save; whether that was acknowledged."""
        with suppress(requests.RequestException):
            answer = requests.get(f"{self.url}/datastore/image?image={image}", timeout=30)
            self.count("image", answer)
            if answer.status_code != 200:
                return False
            painted = (lot.random(SHAPE) < 0.3).astype(np.uint8) * lot.integers(1, 4, SHAPE).astype(np.uint8)
            label = sitk.GetImageFromArray(painted)
            label.CopyInformation(nifti(answer.content))
            info = [{"name": f"nodule{number}", "idx": number} for number in (1, 2, 3)]
            form = {"params": json.dumps({"label_info": info, "client_id": name})}
            with self.lock:
                self.sent.setdefault((image, name), []).append(painted)
            path = f"{self.url}/datastore/label?image={image}&tag=final"
            answer = requests.put(path, data=form, files={"label": ("label.nii.gz", written(label))}, timeout=60)
            self.count("label", answer)
            if answer.status_code == 200:
                with self.lock:
                    self.sent[image, name] = [painted]
                    self.acknowledged.add((image, name))
                return True
        return False

    def count(self, what: str, answer: requests.Response) -> None:
        self.answers[f"{what} {answer.status_code}"] += 1
        if answer.status_code == 500:
            self.wrong.append(f"{what}: {answer.text[:300]}")

    def arrivals(self) -> None:
        """A study every second or two, slice by slice, over the DICOM port."""
        for seed in range(1000, 100000):
            if not self.going_on():
                return
            files = phantom.write(self.folder / str(seed), slices=SHAPE[0], size=SHAPE[1], seed=seed)
            uid = str(pydicom.dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID)
            with self.lock:
                self.images.append(uid)
            command = ["dcmsend", "127.0.0.1", self.stack.environment["DICOM_PORT"], "-aec", "LABELPOD"]
            for half in (files[:2], files[2:]):
                while subprocess.run([*command, *map(str, half)], capture_output=True, check=False).returncode:
                    time.sleep(0.5)  # Orthanc was killed
            self.answers["study sent"] += 1
            time.sleep(1)

    def deletions(self) -> None:
        while self.going_on():
            time.sleep(4)
            with self.lock:
                if len(self.images) < 5:
                    continue
                gone = self.images.pop(0)
            series = {"Level": "Series", "Query": {"SeriesInstanceUID": gone}, "Expand": True}
            try:
                # None if an earlier attempt was done and its answer lost.
                for found in self.pacs.session.post(f"{self.pacs.url}/tools/find", json=series, timeout=20).json():
                    study = f"{self.pacs.url}/studies/{found['ParentStudy']}"
                    self.pacs.session.delete(study, timeout=20).raise_for_status()
                self.answers["study deleted"] += 1
            except (requests.RequestException, ValueError):  # Orthanc was killed
                with self.lock:
                    self.images.insert(0, gone)

    def kills(self) -> None:
        for service in ("label-server", "orthanc"):
            time.sleep(SECONDS / 3)
            self.stack.compose("kill", service)
            self.stack.compose("up", "--detach", "--wait")
            self.answers[f"{service} killed"] += 1

    def run(self) -> None:
        work: list[Callable[[], None]] = [self.arrivals, self.deletions, self.kills]
        people = [threading.Thread(target=self.people, args=(f"person{number}",)) for number in range(PEOPLE)]
        threads = [*(threading.Thread(target=each) for each in work), *people]
        for each in threads:
            each.start()
        for each in threads:
            each.join()


def stored(pacs: Pacs, image: str) -> dict[str, list[NDArray[np.uint8]]]:
    """The labels of an image in Orthanc, by who painted them."""
    found: dict[str, list[NDArray[np.uint8]]] = {}
    (study,) = {str(each.StudyInstanceUID) for each in pacs.series("CT") if each.SeriesInstanceUID == image}
    slices = pacs.dicomweb.retrieve_series_metadata(study, image)
    height = sorted(float(pydicom.Dataset.from_json(each).ImagePositionPatient[2]) for each in slices)
    for seg in pacs.segmentations(image):
        voxels = np.zeros(SHAPE, np.uint8)
        frames = np.reshape(seg.pixel_array, (-1, *SHAPE[1:]))
        for pixels, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
            number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            place = height.index(float(group.PlanePositionSequence[0].ImagePositionPatient[2]))
            voxels[place][pixels > 0] = int(str(seg.get_segment_description(number).SegmentLabel)[-1])
        found.setdefault(str(seg.ContentCreatorName).rpartition("/")[2], []).append(voxels)
    return found


@pytest.mark.skipif(shutil.which("dcmsend") is None, reason="needs dcmtk")
def test_every_acknowledged_label_is_there_once_and_right(
    stack: Clone, annotator: Annotator, pacs: Pacs, tmp_path: Path
):
    soak = Soak(stack, annotator, pacs, tmp_path)
    soak.run()
    print(dict(soak.answers))
    assert not soak.wrong, soak.wrong
    assert soak.answers["label 200"] > PEOPLE
    # A deletion of the last moment may be done and its answer lost.
    left = set(soak.images) & {str(each.SeriesInstanceUID) for each in pacs.series("CT")}
    labelled = {image for image, _ in soak.sent}
    for image in left & labelled:
        there = stored(pacs, image)
        for (of, name), sent in soak.sent.items():
            mine = there.get(name, [])
            if of == image and (image, name) in soak.acknowledged:
                assert any(np.array_equal(one, each) for one in mine for each in sent), f"a label of {name} is gone"
    # What a kill has left is taken along by its author's next label.
    lot = np.random.default_rng(1)
    for image, name in sorted(soak.sent):
        if image in left:
            eventually(lambda image=image, name=name: soak.label(image, name, lot), 30, "a label is saved")
    for image in left & labelled:
        there = stored(pacs, image)
        people = {name for of, name in soak.sent if of == image}
        assert {name: len(each) for name, each in there.items()} == dict.fromkeys(people, 1)
        assert all(np.array_equal(there[name][0], soak.sent[image, name][-1]) for name in people)
    there = {str(each.SeriesInstanceUID): each.NumberOfSeriesRelatedInstances for each in pacs.series("CT")}
    for image in labelled - left:
        assert image not in there, f"Orthanc has {there[image]} slices of a deleted study"
        assert requests.get(f"{soak.url}/datastore/image?image={image}", timeout=30).status_code == 404
        assert pacs.segmentations(image) == [], "a deleted patient is there again"

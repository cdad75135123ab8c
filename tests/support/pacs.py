"""Orthanc as a program outside the stack sees it: over DICOMweb and its REST interface."""

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import requests
import SimpleITK as sitk
from dicomweb_client import DICOMwebClient
from numpy.typing import NDArray


class Pacs:
    """The stack's Orthanc, with the login that `status --json` prints."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self.url = url.rstrip("/")
        self.session = requests.Session()
        self.session.auth = (username, password)
        self.session.trust_env = False
        self.dicomweb = DICOMwebClient(f"{self.url}/dicom-web", session=self.session)

    @classmethod
    def of(cls, status: dict[str, Any]) -> "Pacs":
        orthanc = status["orthanc"]
        return cls(orthanc["url"], orthanc["username"], orthanc["password"])

    def series(self, modality: str) -> list[pydicom.Dataset]:
        found = self.dicomweb.search_for_series(search_filters={"Modality": modality})
        return [pydicom.Dataset.from_json(each) for each in found]

    def store(self, path: Path) -> None:
        """Every DICOM file in a folder, or one file, as it is."""
        for file in [path] if path.is_file() else sorted(path.rglob("*.dcm")):
            self.session.post(f"{self.url}/instances", data=file.read_bytes(), timeout=30).raise_for_status()

    def segmentations(self, image_uid: str) -> list[hd.seg.Segmentation]:
        """The DICOM SEGs that segment an image series."""
        segs = []
        for series in self.series("SEG"):
            (instance,) = self.dicomweb.retrieve_series(str(series.StudyInstanceUID), str(series.SeriesInstanceUID))
            seg = hd.seg.Segmentation.from_dataset(instance)
            if image_uid in {str(each.SeriesInstanceUID) for each in seg.ReferencedSeriesSequence}:
                segs.append(seg)
        return segs

    def delete_everything(self) -> None:
        for patient in self.session.get(f"{self.url}/patients", timeout=30).json():
            self.session.delete(f"{self.url}/patients/{patient}", timeout=60).raise_for_status()


def masks(seg: hd.seg.Segmentation, image: sitk.Image) -> dict[str, NDArray[np.bool_]]:
    """Segment name -> mask (slices, rows, columns) on the image's grid; read by highdicom alone."""
    result = {}
    for number in seg.segment_numbers:
        mask = np.zeros(image.GetSize()[::-1], dtype=bool)
        name = str(seg.get_segment_description(number).SegmentLabel)
        for pixels, group in zip(
            np.reshape(seg.pixel_array, (-1, seg.Rows, seg.Columns)), seg.PerFrameFunctionalGroupsSequence, strict=True
        ):
            if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
                continue
            position = [float(value) for value in group.PlanePositionSequence[0].ImagePositionPatient]
            index = image.TransformPhysicalPointToIndex(position)
            assert index[:2] == (0, 0), f"the SEG's frame at {position} is not in a plane of the image"
            mask[index[2]] |= pixels > 0
        result[name] = mask
    return result

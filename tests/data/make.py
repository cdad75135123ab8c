"""Makes small DICOM files, good and hostile, from the phantom: the same names as in `../shared/data`, the same faults.

They are made when tests run, because a clone need not carry what a program can write in a second.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from labelpod.dicom import phantom

_RT_STRUCTURES, _RT_PLAN = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.5.1.4.1.1.481.5"
_SEGMENTATION, _REPORT = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.33"
_MR, _DX, _MULTIFRAME = (f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("4", "1.1", "2.1"))
_COMPRESSED = {
    "j2k-lossless": "1.2.840.10008.1.2.4.90",
    "jpeg-lossless-sv1": "1.2.840.10008.1.2.4.70",
    "jpegls-lossless": "1.2.840.10008.1.2.4.80",
    "jpegls-near": "1.2.840.10008.1.2.4.81",
}

Change = Callable[[FileDataset], None]


def write(folder: Path) -> Path:
    """Write all of them; the folder."""
    _broken(folder / "negatives" / "broken")
    _other_modalities(folder / "negatives")
    _geometry(folder / "negatives")
    _transfer_syntaxes(folder / "transfer-syntaxes")
    phantom.write(folder / "chest-ct-full" / "ct", slices=12, size=32)
    _compressed_series(folder / "chest-ct-mini")
    (folder / "negatives" / "SOURCES.md").write_text("Made by tests/data/make.py.\n")
    return folder


def _slice(path: Path, *changes: Change, size: int = 16) -> Path:
    """One CT slice of a study of its own, changed."""
    (made,) = phantom.write(path.parent / "new", slices=1, size=size)
    dataset = pydicom.dcmread(made)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for change in changes:
        change(dataset)
    dataset.save_as(path)
    shutil.rmtree(made.parent)
    return path


def _put(**values: Any) -> Change:
    def change(dataset: FileDataset) -> None:
        for name, value in values.items():
            setattr(dataset, name, value)
            if name == "SOPClassUID":
                dataset.file_meta.MediaStorageSOPClassUID = value

    return change


def _drop(*names: str) -> Change:
    def change(dataset: FileDataset) -> None:
        for name in names:
            if name in dataset:
                delattr(dataset, name)

    return change


def _cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


_no_image = _drop("PixelData", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")


def _broken(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "empty.dcm").touch()
    (folder / "random-bytes.dcm").write_bytes(np.random.default_rng(1).bytes(5000))
    (folder / "text.dcm").write_text("This is not DICOM.\n" * 20)
    no_meta = _slice(folder / "no_meta.dcm")
    no_meta.write_bytes(no_meta.read_bytes()[400:])
    _slice(folder / "no-pixeldata.dcm", _drop("PixelData"))
    _slice(folder / "no-position.dcm", _drop("ImagePositionPatient"))
    _slice(folder / "no-series-uid.dcm", _drop("SeriesInstanceUID"))
    _slice(folder / "rows-mismatch.dcm", _put(Rows=600), size=512)
    whole = _slice(folder / "truncated-pixeldata.dcm", size=512)
    _cut(whole, whole.stat().st_size - 524288 + 197426)
    _cut(_slice(folder / "truncated-header.dcm"), 900)
    bad = _slice(folder / "badVR.dcm")
    bad.write_bytes(bad.read_bytes().replace(b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00\xff\xff", 1))
    _slice(folder / "image_dfl.dcm", _put(Modality="OT"), _drop("ImagePositionPatient", "ImageOrientationPatient"))
    truncated = _slice(folder / "MR_truncated.dcm", _put(Modality="MR", SOPClassUID=_MR))
    _cut(truncated, truncated.stat().st_size - 100)
    _slice(folder / "rtplan_truncated.dcm", _no_image, _put(SOPClassUID=_RT_PLAN, Modality="RTPLAN"))


def _other_modalities(folder: Path) -> None:
    for name in ("cr-dx", "mr-regular", "multiframe", "rtstruct", "seg", "sr-no-pixels"):
        (folder / name).mkdir(parents=True)
    no_place = _drop("ImagePositionPatient", "ImageOrientationPatient")
    _slice(folder / "cr-dx" / "dx_image.dcm", no_place, _put(Modality="DX", SOPClassUID=_DX))
    mr = _put(Modality="MR", SOPClassUID=_MR)
    _slice(folder / "mr-regular" / "pydicom-MR_small.dcm", mr)
    oblique = _put(ImageOrientationPatient=[1, 0, 0, 0, 0.9, 0.435889894])
    _slice(folder / "mr-regular" / "qin-prostate-adc-slice.dcm", mr, oblique)
    _slice(
        folder / "multiframe" / "mf.dcm",
        _drop("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
        _put(SOPClassUID=_MULTIFRAME, NumberOfFrames=2),
        lambda dataset: setattr(dataset, "PixelData", dataset.PixelData * 2),
    )
    for name in ("ct_1", "ct_2"):
        _slice(folder / "rtstruct" / f"{name}.dcm")
    for name in ("rt", "invalid_reference_rt", "non_existent_reference_rt"):
        _slice(folder / "rtstruct" / f"{name}.dcm", _no_image, _put(SOPClassUID=_RT_STRUCTURES, Modality="RTSTRUCT"))
    phantom.write(folder / "seg" / "dcmqi-ct-3slice", slices=3, size=16)
    for name in ("liver", "partial_overlaps"):
        _slice(folder / "seg" / f"{name}.dcm", _no_image, _put(SOPClassUID=_SEGMENTATION, Modality="SEG"))
    (folder / "seg" / "liver_seg.nrrd").write_bytes(b"NRRD0004\ntype: uchar\n")
    _slice(folder / "sr-no-pixels" / "sr.dcm", _no_image, _put(SOPClassUID=_REPORT, Modality="SR"))


def _geometry(folder: Path) -> None:
    _slice(folder / "ct-single-128.dcm", size=128)
    along = np.cumsum([0, 1.08, 2, 3, 7, 7, 2.5, 1.08])
    _tilted(folder / "ct-irregular-tilted", along, 18.5)
    _tilted(folder / "ct-tilted-regular", np.arange(8) * 2.371, 12)
    tilt = np.radians(20)
    (folder / "ct-oblique").mkdir()
    for number in range(3):
        _slice(
            folder / "ct-oblique" / f"{number}.dcm",
            _put(
                SeriesInstanceUID="1.2.3",
                PatientID="",
                ImageOrientationPatient=[1, 0, 0, 0, float(np.cos(tilt)), float(np.sin(tilt))],
                ImagePositionPatient=[0, float(-np.sin(tilt)) * number, float(np.cos(tilt)) * number],
                InstanceNumber=number,
            ),
        )


def _tilted(folder: Path, along: Any, degrees: float) -> None:
    """Slices that lie along the table, turned against it: a tilted gantry."""
    turn = np.radians(degrees)
    normal = np.array([0, -np.sin(turn), np.cos(turn)])
    for file, distance in zip(phantom.write(folder, slices=len(along), size=16), along, strict=True):
        dataset = pydicom.dcmread(file)
        dataset.ImageOrientationPatient = [1, 0, 0, 0, float(np.cos(turn)), float(np.sin(turn))]
        dataset.PixelSpacing = [0.5, 0.5]
        # Measured along the slices' normal, but moved along the table.
        dataset.ImagePositionPatient = [0, 0, float(distance / normal[2])]
        dataset.save_as(file)


def _transfer_syntaxes(folder: Path) -> None:
    folder.mkdir(parents=True)
    one = _slice(folder / "explicit-le.dcm")
    for name, syntax in (("implicit-le", ImplicitVRLittleEndian), ("deflated", DeflatedExplicitVRLittleEndian)):
        _again(one, folder / f"{name}.dcm", syntax, implicit=name == "implicit-le")
    big = pydicom.dcmread(one)
    big.PixelData = np.frombuffer(big.PixelData, "<i2").astype(">i2").tobytes()
    big.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    pydicom.dcmwrite(folder / "explicit-be.dcm", big, implicit_vr=False, little_endian=False, force_encoding=True)
    rle = pydicom.dcmread(one)
    rle.compress(RLELossless, generate_instance_uid=False)
    rle.save_as(folder / "rle.dcm")
    # What is compressed does not matter to a check of the header; the fragments must be whole.
    for name, syntax in _COMPRESSED.items():
        dataset = pydicom.dcmread(one)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = encapsulate([b"\xff\x4f compressed"])
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(folder / f"{name}.dcm")


def _again(source: Path, path: Path, syntax: str, implicit: bool) -> None:
    dataset = pydicom.dcmread(source)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, implicit_vr=implicit, little_endian=True)


def _compressed_series(folder: Path) -> None:
    """A whole series in a compressed transfer syntax that every reader knows."""
    for number, file in enumerate(phantom.write(folder, slices=12, size=64), start=1):
        dataset: Dataset = pydicom.dcmread(file)
        dataset.compress(RLELossless, generate_instance_uid=False)
        file.unlink()
        dataset.save_as(folder / f"{number:03}.dcm")

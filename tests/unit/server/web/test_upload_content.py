"""What an upload may be: whole in one file, of a format that runs no code when it is read."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from starlette.datastructures import UploadFile

from label_server.errors import Refused
from label_server.web import upload_content
from tests.support.attacks import code, image

_NRRD = b"NRRD0004\ntype: uint8\ndimension: 1\nsizes: 8\nencoding: raw\n"
_META = b"ObjectType = Image\nNDims = 1\nDimSize = 8\nElementType = MET_UCHAR\nElementDataFile"
_NIFTI1_HEADER = bytes(344) + b"ni1\0" + bytes(8)
_NIFTI2_HEADER = (540).to_bytes(4, "little") + b"ni2\0" + bytes(532)


def upload(name: str, content: bytes) -> UploadFile:
    return UploadFile(io.BytesIO(content), filename=name)


@pytest.mark.parametrize("name", ["x.npy", "x.NPZ", "x.nii.gz.npy", "x.npy.", "x.pkl", "x.pt", "x.png", "x.mhd"])
def test_another_format_is_refused(name: str):
    with pytest.raises(Refused, match="can be uploaded"):
        upload_content.check(upload(name, code()))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.nrrd", _NRRD + b"data file: /etc/passwd\n\n"),
        ("l.nrrd", _NRRD + b"DATAFILE: /etc/passwd\n\n"),
        ("l.nrrd", (_NRRD + b"data file: /etc/passwd\n\n").replace(b"\n", b"\r\n")),
        ("l.nrrd", _NRRD + b"data file: LIST\n/etc/passwd\n"),
        ("l.nrrd", _NRRD),
        ("l.nii.gz", _NRRD + b"data file: /etc/passwd\n\n"),
        ("l.mha", _META + b" = /etc/passwd\n"),
        ("l.mha", _META + b" = LIST\n/etc/passwd\n"),
        ("l.mha", b"ElementDataFile = /etc/passwd\nElementDataFile = LOCAL\n"),
        ("l.mha", b""),
        ("l.nrrd", _NRRD.replace(b"raw\n", b"raw\rdata file: /etc/passwd\n\n")),
        ("l.nrrd", (_NRRD + b"data file: /etc/passwd\n\n").replace(b"\n", b"\r") + b"\n\n"),
        ("l.mha", b"Comment = ElementDataFile = LOCAL\n" + _META + b" = /etc/passwd\n"),
        ("l.mha", b"Name = ElementDataFile = LOCAL\n" + _META + b" : /etc/passwd\n"),
        ("l.mha", _META + b" = LOCAL\rElementDataFile = /etc/passwd\n"),
        ("l.nii", _NIFTI1_HEADER),
        ("l.nii.gz", gzip.compress(_NIFTI1_HEADER, mtime=0)),
        ("l.nii", _NIFTI2_HEADER),
    ],
)
def test_a_header_of_another_file_is_refused(name: str, content: bytes):
    with pytest.raises(Refused):
        upload_content.check(upload(name, content))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_of_itk_passes_and_is_read_from_its_start(tmp_path: Path, suffix: str, compressed: bool):
    file = tmp_path / f"label{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((4, 8, 8), np.uint8)), str(file), useCompression=compressed)
    given = upload(file.name, file.read_bytes())
    upload_content.check(given)
    assert given.file.read() == file.read_bytes()


@pytest.mark.parametrize("name", ["IM0001", "1.2.840.113619.2.55.3", "IM1.DCM", "slices.zip", "s.tar.gz", "label.bin"])
def test_slices_archives_and_voxels_pass(name: str):
    upload_content.check(upload(name, image()))


def test_a_file_cut_off_in_its_gzip_header_is_left_to_its_reader():
    upload_content.check(upload("x.nii.gz", b"\x1f\x8b\x08"))

"""NIfTI files as the label server sends and takes them."""

import tempfile
from pathlib import Path

import SimpleITK as sitk


def nifti(content: bytes) -> sitk.Image:
    with tempfile.NamedTemporaryFile(suffix=".nii.gz") as file:
        file.write(content)
        file.flush()
        return sitk.ReadImage(file.name)


def written(image: sitk.Image) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".nii.gz") as file:
        sitk.WriteImage(image, file.name, useCompression=True)
        return Path(file.name).read_bytes()

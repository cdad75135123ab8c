"""NIfTI files in and out of a click, as MONAI reads and MONAI Label writes them, in a fraction of the time."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from isal import igzip
from monai.data.image_reader import NibabelReader
from monai.data.utils import correct_nifti_header_if_necessary
from monai.transforms import LoadImaged, Transposed
from nibabel import Nifti1Image
from numpy.typing import NDArray

_LPS = np.diag([-1, -1, 1, 1])  # of MONAI's right-anterior-superior


class _FileOrder(NibabelReader):
    """MONAI's reader for these files; uncompressed by isal instead of zlib, and voxels stay where the file has them."""

    def read(self, data: Sequence[str], **kwargs: Any) -> Nifti1Image:
        """Read the first of some files."""
        self.filenames = data[:1]
        image = Nifti1Image.from_bytes(igzip.decompress(Path(data[0]).read_bytes()))
        return correct_nifti_header_if_necessary(image)

    def _get_array_data(self, img: Nifti1Image, filename: str) -> NDArray[Any]:
        return np.asanyarray(img.dataobj).T


def load(data: dict[str, Any]) -> dict[str, Any]:
    """What the first two of DeepGrow's transforms make of a `.nii.gz`: slices x columns x rows.

    Upstream has the voxels put into the order of its own axes twice (monailabel 0.8.5,
    sample-apps/radiology/lib/infers/deepgrow.py:70-71), which takes longer than reading them.

    Args:
        data: with a path as `image`.

    """
    loaded = LoadImaged(keys="image", image_only=False)(data, reader=_FileOrder())
    transposed: dict[str, Any] = Transposed(keys="image", indices=[0, 2, 1])(loaded)
    return transposed


def write_mask(mask: NDArray[Any], affine: NDArray[np.float64], extension: str, compress: bool) -> Path:
    """Write a mask as monailabel's `write_itk` does, without ITK's Python, which takes 250 MB and a second to load.

    Args:
        mask: columns x rows x slices.
        affine: of its voxels, in mm, right-anterior-superior.
        extension: of the file, with its dot.
        compress: if the format leaves the choice.

    Returns:
        A new file.

    Raises:
        RuntimeError: no format has that extension.

    """
    lps = _LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask.T))
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] @ np.diag(1 / spacing)).ravel().tolist())
    with tempfile.NamedTemporaryFile(suffix=extension, delete=False) as file:
        path = Path(file.name)
    try:
        sitk.WriteImage(image, str(path), useCompression=compress)
    except RuntimeError:
        path.unlink()
        raise
    return path

"""A client's image or label, whatever it came as, made a NIfTI file of our own; it is judged by its header first."""

import math
import resource
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from isal import igzip
from numpy.typing import NDArray

from label_server.errors import Refused
from label_server.parsing import archives, dicom_series, grid, headers, nifti, pixels, placing, segments
from label_server.parsing.grid import Grid
from label_server.parsing.segments import Segment

VOLUME = "volume.nii.gz"
IMAGE, LABEL, SERIES = "image", "label map", "series"
# By ITK's own reader of each format: without its name, ITK tries all that it has.
_NIFTI = "NiftiImageIO"
_READERS = {".nii": _NIFTI, ".nii.gz": _NIFTI, ".nrrd": "NrrdImageIO", ".mha": "MetaImageIO"}
SUFFIXES = tuple(_READERS)
_DICOM = "GDCMImageIO"
_BYTES = {
    sitk.sitkUInt8: 1,
    sitk.sitkInt8: 1,
    sitk.sitkUInt16: 2,
    sitk.sitkInt16: 2,
    sitk.sitkUInt32: 4,
    sitk.sitkInt32: 4,
    sitk.sitkUInt64: 8,
    sitk.sitkInt64: 8,
    sitk.sitkFloat32: 4,
    sitk.sitkFloat64: 8,
}
_LAYERS = {
    sitk.sitkVectorUInt8: 1,
    sitk.sitkVectorInt8: 1,
    sitk.sitkVectorUInt16: 2,
    sitk.sitkVectorInt16: 2,
    sitk.sitkVectorInt32: 4,
}
_LEVEL = 1
_PIECE = 2**20
_DIMENSIONS = 3
_HEADER_SECONDS = 3  # of computing
# A label on a finer grid than its image has more voxels; a small image's label may be of any size up to this.
_FINER, _SMALL = 8, 2**26


def image(files: Sequence[Path], folder: Path, most: int) -> None:
    """Make the volume of what a client sent as one image: a file, slices, or an archive of either.

    Args:
        files: as they came.
        folder: gets `volume.nii.gz`, with the values that the image has.
        most: bytes of its voxels, and of the files in an archive.

    Raises:
        Refused: with the reason.

    """
    if len(files) == 1 and files[0].name.lower().endswith(archives.SUFFIXES):
        unpacked = folder / "unpacked"
        unpacked.mkdir()
        archives.unpack(files[0], unpacked, most)
        files = [each for each in unpacked.rglob("*") if each.is_file()]
    volumes = [each for each in files if _suffix(each)]
    slices = [each for each in files if not _suffix(each) and (len(files) == 1 or _is_dicom(each))]
    if len(volumes) > 1 or (volumes and slices):
        raise Refused("there is more than one image in it")
    if not volumes and not slices:
        raise Refused("there is no image in it")
    if volumes:
        _write(_read(volumes[0], most), folder)
        return
    together = folder / "together"
    together.mkdir()
    for number, file in enumerate(slices):
        shutil.copyfile(file, together / f"{number}.dcm")
        file.unlink()
    series(together, folder, most)


def label(file: Path, on: Grid, folder: Path, most: int) -> None:
    """Make the label map that a client sent, on the grid of its image, in as few bits as it takes.

    Raises:
        Refused: with the reason.

    """
    bound = max(_SMALL, _FINER * math.prod(on.size))
    listed: list[Segment] = []
    read = _read(file, min(most, bound), LABEL, listed)
    if listed:
        segments.write(listed, folder)
        read = segments.flat(read, listed)
    painted = sitk.GetImageFromArray(_whole(sitk.GetArrayViewFromImage(read)))
    painted.CopyInformation(read)
    _write(placing.put_on(on.image(), painted, cropped=bool(listed)), folder)


def series(slices: Path, folder: Path, most: int) -> None:
    """Make the volume of a folder of DICOM files, with the values that they mean, in the place where they lie.

    ITK decodes them. What it makes of their headers is not taken: axes that are rounded it takes for axial ones.

    Raises:
        Refused: they are no series, or more than one, or cannot be read.

    """
    slices_of = []
    for file in slices.iterdir():
        with _briefly():  # zeros are elements without end
            slices_of.append((dicom_series.header_of(file), file))
    if len(slices_of) == 1:
        (only,) = pixels.as_displayed([slices_of[0][1]], folder)
        made = _read(only, most)
    else:
        headers, files = dicom_series.in_order(slices_of)
        made = _stack(pixels.as_displayed(files, folder), most)
        dicom_series.place(made, headers)
    _write(made, folder)


def unreadable(kind: str) -> Refused:
    """What to say of a file that is not what it should be."""
    return Refused(f"it is no {kind} that can be read")


def _suffix(file: Path) -> str:
    return next((suffix for suffix in SUFFIXES if file.name.lower().endswith(suffix)), "")


def _is_dicom(file: Path) -> bool:
    with file.open("rb") as content:
        content.seek(128)
        return content.read(4) == b"DICM"


def _read(file: Path, most: int, kind: str = IMAGE, listed: list[Segment] | None = None) -> sitk.Image:
    """Read one file; if it is a segmentation and `listed` is a list, that gets its segments."""
    if _suffix(file):
        with file.open("rb") as content:  # of an archive, nobody has looked at it yet
            headers.check(file.name.lower(), content)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_READERS.get(_suffix(file), _DICOM))
    reader.SetFileName(str(file))
    try:
        with _briefly():
            reader.ReadImageInformation()
        if listed is not None:
            listed += segments.listed(reader)
        _judge(reader, 1, most, bool(listed))
        if _READERS.get(_suffix(file)) == _NIFTI:
            nifti.check(reader, file, kind)
        read = reader.Execute()
    except RuntimeError:  # ITK has no other, and its message quotes the file
        raise unreadable(kind) from None
    while read.GetDimension() > _DIMENSIONS:
        read = read[(slice(None),) * (read.GetDimension() - 1) + (0,)]
    return read if read.GetDimension() == _DIMENSIONS else sitk.JoinSeries(read)


def _stack(files: Sequence[Path], most: int) -> sitk.Image:
    """The voxels of slices, in their order."""
    reader = sitk.ImageSeriesReader()
    first = sitk.ImageFileReader()
    for each in (first, reader):
        each.SetImageIO(_DICOM)
    first.SetFileName(str(files[0]))
    reader.SetFileNames([str(file) for file in files])
    try:
        with _briefly():
            first.ReadImageInformation()
        _judge(first, len(files), most)
        values = pixels.rescaled(files, lambda file: _read(file, most, SERIES))
        return reader.Execute() if values is None else sitk.GetImageFromArray(values)
    except RuntimeError:
        raise unreadable(SERIES) from None


def _judge(reader: sitk.ImageFileReader, files: int, most: int, layers: bool = False) -> None:
    """Look at the header, before a voxel is read; whether a voxel may have several numbers, says `layers`."""
    size = reader.GetSize()
    voxel = (_BYTES | (_LAYERS if layers else {})).get(reader.GetPixelID(), 0) * reader.GetNumberOfComponents()
    if not voxel or (reader.GetNumberOfComponents() > 1 and not layers):
        raise Refused("its voxels are no plain numbers")
    if any(extent > 1 for extent in size[_DIMENSIONS:]) or len(size) < _DIMENSIONS - 1:
        raise Refused(f"it has {len(size)} dimensions")
    if math.prod(size) * voxel * files > most:
        raise Refused(f"its voxels take more than {most // 2**20} MB")


@contextmanager
def _briefly() -> Iterator[None]:
    """End this process if what follows takes long: some bytes say that an image has billions of dimensions."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + _HEADER_SECONDS, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _whole(values: NDArray[Any]) -> NDArray[Any]:
    """The values as whole numbers of the fewest bits."""
    if values.dtype.kind == "f" and (not np.isfinite(values).all() or (values != np.rint(values)).any()):
        raise Refused("its values are no whole numbers")
    low, high = int(values.min()), int(values.max())
    for kind in (np.uint8, np.uint16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind)
    raise Refused("its values are too large")


def _write(made: sitk.Image, folder: Path) -> None:
    if not grid.possible(Grid(made.GetSize(), made.GetSpacing(), made.GetOrigin(), made.GetDirection())):
        raise Refused("it does not say where it lies, or it lies where no patient does")
    plain = folder / "volume.nii"
    sitk.WriteImage(made, str(plain))
    with plain.open("rb") as file, igzip.IGzipFile(folder / VOLUME, "wb", _LEVEL, mtime=0) as packed:
        shutil.copyfileobj(file, packed, _PIECE)
    plain.unlink()

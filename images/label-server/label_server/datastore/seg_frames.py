"""The frames of a DICOM SEG, one by one: unpacked only when they are looked at."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from label_server.datastore.label_values import LabelError

_PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)


def reader(seg: Dataset, wanted: int, most_bytes: int) -> Callable[[int], NDArray[Any]]:
    """A function that gives a frame by its number from 0, as numbers of (rows, columns).

    Args:
        seg: a segmentation.
        wanted: how many of its frames are to be read.
        most_bytes: that those may take; if it is compressed, all of its frames, which are then decoded at once.

    Raises:
        LabelError: they take more, or are no segments.

    """
    if "PixelData" not in seg:
        raise LabelError("it has no voxels: it is no segmentation by voxels")
    bits = int(seg.BitsAllocated)
    if int(seg.get("SamplesPerPixel", 1)) != 1 or bits not in (1, 8, 16):
        raise LabelError("the SEG's voxels are no segments")
    rows, columns, number = int(seg.Rows), int(seg.Columns), int(seg.get("NumberOfFrames") or 1)
    plain = seg.file_meta.TransferSyntaxUID in _PLAIN
    # Before any of it is decoded: a frame, or many, may be larger than the memory.
    if (wanted if plain else number) * rows * columns * max(1, bits // 8) > most_bytes:
        raise LabelError(f"the SEG's frames take more than {most_bytes // 2**20} MB")
    if not plain:
        decoded = np.reshape(_decoded(seg), (number, rows, columns))
        return lambda frame: np.asarray(decoded[frame])
    content, size = seg.PixelData, rows * columns
    if len(content) * 8 < number * size * bits:
        raise LabelError("the SEG has fewer voxels than its frames")
    if bits > 1:
        voxels = np.frombuffer(content, f"<u{bits // 8}", number * size).reshape(number, rows, columns)
        return lambda frame: np.asarray(voxels[frame])

    def unpacked(frame: int) -> NDArray[Any]:
        byte, bit = divmod(frame * size, 8)  # one after the other, wherever in a byte that is
        packed = np.frombuffer(content[byte : byte + (bit + size + 7) // 8], np.uint8)
        return np.unpackbits(packed, bitorder="little")[bit : bit + size].reshape(rows, columns)

    return unpacked


def _decoded(seg: Dataset) -> NDArray[Any]:
    try:
        return np.asarray(seg.pixel_array)
    except (RuntimeError, NotImplementedError) as problem:  # pydicom's, of what none of its decoders can do
        syntax = seg.file_meta.TransferSyntaxUID.name
        raise LabelError(f"its voxels are compressed, as {syntax}, and cannot be decoded") from problem

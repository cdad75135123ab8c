"""Reading DICOM files of the DICOMweb server, which anybody may have made, in the server's own process."""

import zlib
from io import BytesIO
from typing import Any

from pydicom import Dataset, dcmread

from label_server.errors import Refused
from labelpod_common.dicom import pixel_data
from labelpod_common.dicom.problem import Problem

_MOST_INFLATED = 2**27


class _Bounded(BytesIO):
    """A file that does not let itself be read to its end if that would inflate to far more.

    Only what is deflated does pydicom read to the end, from wherever the file says it begins, and inflates all of it
    (pydicom 2.4, filereader.py:read_partial).
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """As any file, or raise Refused."""
        content = super().read(size)
        if size is None or size < 0:
            inflating = zlib.decompressobj(-zlib.MAX_WBITS)
            inflating.decompress(content, _MOST_INFLATED)
            if inflating.unconsumed_tail:
                raise Refused(f"a DICOM file inflates to more than {_MOST_INFLATED // 2**20} MB")
        return content


def read(content: bytes, **options: Any) -> Dataset:
    """Read a DICOM file.

    Args:
        content: of the file.
        options: as pydicom has them.

    Raises:
        Refused: it is none, or deflated, and far larger than a slice.

    """
    try:
        return dcmread(_Bounded(content), **options)
    except Refused:
        raise
    except Exception:  # pydicom has no error of its own for what a file may hold
        raise Refused("it is no DICOM that can be read") from None


def pixel_problem(content: bytes) -> Problem | None:
    """What is wrong with the pixel data of a DICOM file.

    Raises:
        Refused: it is no DICOM file.

    """
    file = _Bounded(content)
    try:
        header = dcmread(file, stop_before_pixels=True)
        return pixel_data.problem(file, header, lambda: dcmread(_Bounded(content)))
    except Refused:
        raise
    except Exception:
        raise Refused("it is no DICOM that can be read") from None

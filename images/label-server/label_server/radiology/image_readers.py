"""MONAI's readers of images, without those that run what a file says or take whatever looks like a picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.data.image_reader import NumpyReader
from monai.transforms.io.array import SUPPORTED_READERS
from numpy.typing import NDArray


class PlainNumpyReader(NumpyReader):
    """Reads the arrays that DeepGrow's trainings keep. Upstream unpickles (monai 1.5.2, data/image_reader.py:1273)."""

    def read(self, data: Sequence[str] | str, **kwargs: Any) -> NDArray[Any] | list[NDArray[Any]]:
        """Read `.npy` files of plain numbers.

        Raises:
            ValueError: one holds objects.

        """
        names = [data] if isinstance(data, str) else list(data)
        read = [np.load(name, **kwargs | {"allow_pickle": False}) for name in names]
        return read if len(read) > 1 else read[0]


def keep_to_safe_ones() -> None:
    """From now on, for every loader that chooses its reader itself."""
    SUPPORTED_READERS["numpyreader"] = PlainNumpyReader
    SUPPORTED_READERS.pop("pilreader", None)

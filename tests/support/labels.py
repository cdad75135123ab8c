"""Labels as annotators paint and submit them, and what the server says of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.ct import ct
from tests.support.web import Server


def painted(first: int = 0) -> NDArray[np.uint8]:
    """nodule1 stays empty, nodule2 and nodule3 are painted."""
    voxels = np.zeros(ct().shape, np.uint8)
    voxels[first + 1 : first + 3, 4:9, 5:7] = 2
    voxels[first + 2 : first + 4, 14:19, 15:16] = 3
    return voxels


def ok(answer: Any) -> None:
    assert answer.status_code == 200, answer.text


def counted(server: Server) -> tuple[int, int]:
    told = server.ask("GET", "/datastore/", "anna").json()
    return told["completed"], told["total"]

"""Labels as annotators paint and submit them, and what the server says of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray

from label_server.dicomweb.client import DicomWebClient
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


@contextmanager
def stored_without_an_answer() -> Iterator[None]:
    """What the label server sends to the PACS is stored there, and the connection ends before that is said."""
    store = DicomWebClient.store_instances

    def cut_off(self: DicomWebClient, *given: Any, **more: Any) -> Any:
        store(self, *given, **more)
        raise requests.ConnectionError

    with pytest.MonkeyPatch.context() as killed:
        killed.setattr(DicomWebClient, "store_instances", cut_off)
        yield


def counted(server: Server) -> tuple[int, int]:
    told = server.ask("GET", "/datastore/", "anna").json()
    return told["completed"], told["total"]

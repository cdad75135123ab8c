"""The lists of the datastore, as upstream's endpoint gives them.

Upstream's training list is made as for a training: of our datastore it would fetch every labelled study first. Here it
says what a training would read, and is written out once for as long as the labels are the same.
"""

import json
import threading
from collections.abc import Sequence
from typing import Any

from monailabel.endpoints.datastore import ResultType
from monailabel.endpoints.datastore import datastore as upstream_lists
from monailabel.interfaces.utils.app import app_instance
from starlette.responses import Response

from label_server.datastore.datastore import RepairedDicomWebDatastore


class TrainingList:
    """The image and label files of all labelled images, whether they are on disk by now or not; as JSON."""

    def __init__(self) -> None:
        self._labelled: Sequence[str] | None = None
        self._body = b""
        self._lock = threading.Lock()

    def body(self, datastore: RepairedDicomWebDatastore) -> bytes:
        """The list; the last one where the same images have one."""
        labelled = datastore.get_labeled_images()
        with self._lock:
            if labelled != self._labelled:
                self._body = json.dumps([datastore.files(uid) for uid in labelled]).encode()
                self._labelled = labelled
            return self._body


_training = TrainingList()


def datastore(output: ResultType | None = None) -> Any:
    """All of the datastore, its training list, or its numbers."""
    store = app_instance().datastore()
    if output == ResultType.train and isinstance(store, RepairedDicomWebDatastore):
        return Response(_training.body(store), media_type="application/json")
    return upstream_lists(output)

"""The lists of the datastore, as upstream's endpoint gives them.

Upstream's training list is made as for a training: of our datastore it would fetch every labelled study first. Here it
says what a training would read, and is written out once for as long as the labels are the same.
"""

import json
import threading
from collections.abc import Mapping
from typing import Any

from monailabel.endpoints.datastore import ResultType
from monailabel.endpoints.datastore import datastore as upstream_lists
from monailabel.interfaces.utils.app import app_instance
from starlette.responses import Response

from label_server.datastore.datastore import RepairedDicomWebDatastore


class TrainingList:
    """The image and label files of all labelled images, whether they are on disk by now or not; as JSON."""

    def __init__(self) -> None:
        self._labels: Mapping[str, Any] | None = None
        self._body = b""
        self._lock = threading.Lock()

    def body(self, datastore: RepairedDicomWebDatastore) -> bytes:
        """The list; the last one where the labels are those of then."""
        labels = datastore.labels()
        with self._lock:
            if labels is not self._labels:
                self._body = json.dumps([datastore.files(uid) for uid in labels]).encode()
                self._labels = labels
            return self._body


_training = TrainingList()


def datastore(output: ResultType | None = None) -> Any:
    """All of the datastore, its training list, or its numbers."""
    store = app_instance().datastore()
    if output == ResultType.train and isinstance(store, RepairedDicomWebDatastore):
        return Response(_training.body(store), media_type="application/json")
    return upstream_lists(output)

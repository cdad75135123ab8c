"""A datastore seen through a filter: what a subclass does not answer itself, the datastore does."""

from typing import Any

from monailabel.interfaces.datastore import Datastore


class DatastoreView:
    """Passes on whatever it is asked.

    Args:
        datastore: the one behind it.

    """

    def __init__(self, datastore: Datastore) -> None:
        self._datastore = datastore

    def __getattr__(self, name: str) -> Any:
        return getattr(self._datastore, name)

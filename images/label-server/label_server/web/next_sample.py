"""Which image an annotator gets next; and where there is none, what is left out and why."""

from typing import Any

from monailabel.endpoints import activelearning
from monailabel.endpoints.user.auth import User
from monailabel.interfaces.utils.app import app_instance

from label_server.datastore.pacs_images import PacsImages


def sample(strategy: str, params: dict[str, Any] | None = None, user: User | None = None) -> dict[str, Any]:
    """Upstream's answer, which says nothing where there is no image."""
    found: dict[str, Any] = activelearning.sample(strategy, params, user.username if user else None)
    datastore = app_instance().datastore()
    if not found and isinstance(datastore, PacsImages) and (left_out := datastore.left_out()):
        return {"left_out": left_out}
    return found

"""Which image an annotator gets next; and where there is none, why."""

from typing import Any

from monailabel.endpoints import activelearning
from monailabel.endpoints.user.auth import User
from monailabel.interfaces.utils.app import app_instance

from label_server import users
from label_server.datastore.pacs_images import PacsImages
from label_server.users import Role


def sample(strategy: str, params: dict[str, Any] | None = None, user: User | None = None) -> dict[str, Any]:
    """Upstream's answer, which says nothing where there is no image: clients take one without `id` for that."""
    name = user.username if user else None
    found: dict[str, Any] = activelearning.sample(strategy, params, name)
    if found:
        return found
    left_out = _left_out()
    # What has become complete meanwhile is neither offered nor left out: asked once more, it is one of the two.
    return activelearning.sample(strategy, params, name) or _why_none((params or {}).get("client_id") or "", left_out)


def _why_none(client: str, left_out: dict[str, str]) -> dict[str, Any]:
    """What keeps the images from the user; who has which is for reviewers and admins."""
    app, user = app_instance(), users.current.get()
    told: dict[str, Any] = app.remaining(user.name, client)
    if user.role < Role.REVIEWER:
        del told["loans"]
    return told | ({"left_out": left_out} if left_out else {})


def _left_out() -> dict[str, str]:
    """Images that are offered to nobody, with the reasons."""
    datastore = app_instance().datastore()
    return datastore.left_out() if isinstance(datastore, PacsImages) else {}

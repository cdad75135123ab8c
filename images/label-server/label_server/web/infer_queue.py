"""How many inferences work and wait, and when it is the asking user's turn."""

from fastapi import APIRouter

from label_server import users
from label_server.web import worker_pools

router = APIRouter(prefix="/infer", tags=["Infer"])


def queue() -> dict[str, int | None]:
    """The numbers; `mine` is 1 for whoever is called next, and None if nothing of the user's waits."""
    return worker_pools.inference.queue(users.current.get().name)


router.add_api_route("/queue", queue, summary="How many inferences work and wait, and your place among them")

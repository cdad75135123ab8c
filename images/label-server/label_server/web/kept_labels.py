"""Labels that could not be stored: their authors get them back, and nobody else."""

from fastapi import APIRouter, HTTPException
from monailabel.interfaces.utils.app import app_instance
from starlette.responses import FileResponse, Response

from label_server import users
from label_server.datastore.pacs_images import PacsImages

router = APIRouter(prefix="/datastore", tags=["Datastore"])


def kept() -> list[str]:
    """Their names, the newest first."""
    store = app_instance().datastore()
    return store.kept.names(users.current.get().name) if isinstance(store, PacsImages) else []


def kept_label(name: str) -> Response:
    """The file, as it was sent."""
    store = app_instance().datastore()
    path = store.kept.path(users.current.get().name, name) if isinstance(store, PacsImages) else None
    if path is None:
        raise HTTPException(404, "There is no such label")
    return FileResponse(path, filename=name)


router.add_api_route("/kept", kept, summary="Labels of yours that could not be stored")
router.add_api_route("/kept/{name}", kept_label, summary="Download a label of yours that could not be stored")

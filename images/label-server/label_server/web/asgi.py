"""The application that uvicorn runs: the gateway, and behind it upstream's endpoints, the viewer and its DICOMweb."""

import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import httpx
from monailabel.config import settings
from monailabel.interfaces.utils.app import app_instance
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from label_server import audit, users
from label_server.datastore.datastore import RepairedDicomWebDatastore
from label_server.datastore.judging import Judging
from label_server.datastore.pacs_images import PacsImages
from label_server.parsing import readers
from label_server.users import LOOPBACK
from label_server.web import dicomweb_proxy, routes
from label_server.web.audit_log import Audit
from label_server.web.browser_sessions import BrowserSessions
from label_server.web.error_handlers import HANDLERS
from label_server.web.gateway import Gateway
from label_server.web.ohif import OhifFiles


async def _home(request: Request) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/ohif/", 303)
    return JSONResponse({"name": "labelpod", "user": request.user.name, "role": request.user.role.name.lower()})


async def _viewer(request: Request) -> Response:
    return RedirectResponse("/ohif/", 303)


async def _ready(request: Request) -> Response:
    """Whether a label can be asked for: models are loaded before any request; the DICOMweb server must answer."""
    if settings.MONAI_LABEL_STUDIES.startswith("/"):
        return PlainTextResponse("ready\n")
    try:
        async with dicomweb_proxy.client(httpx.Timeout(3)) as client:
            answer = await client.get(f"{settings.MONAI_LABEL_STUDIES.rstrip('/')}/studies", params={"limit": "1"})
        problem = "" if answer.is_success else f"answers {answer.status_code}"
    except httpx.HTTPError as error:
        problem = f"does not answer ({type(error).__name__})"
    if problem:
        return PlainTextResponse(f"the DICOMweb server {problem}\n", 503, {"Retry-After": "5"})
    return PlainTextResponse("ready\n")


@asynccontextmanager
async def _lifespan(_: Starlette) -> AsyncIterator[None]:
    """Load the models before the first request, as upstream's application does (monailabel 0.8.5, app.py:45-53)."""
    threading.Thread(target=readers.warm, name="READERS", daemon=True).start()
    instance = app_instance()
    instance.server_mode(True)
    instance.on_init_complete()
    datastore = instance.datastore()
    with Judging(datastore) if isinstance(datastore, PacsImages) else nullcontext():
        yield


def application() -> Starlette:
    """Make what is behind the gateway."""
    return Starlette(
        routes=[
            Route("/", _home),
            Route("/readyz", _ready),
            Route("/ohif", _viewer),
            Mount("/proxy/dicom", routes=dicomweb_proxy.routes),
            Mount("/ohif", OhifFiles()),
            Mount("/", routes.application(settings.MONAI_LABEL_PROJECT_NAME, os.environ.get("APP", "radiology"))),
        ],
        exception_handlers=HANDLERS,
        lifespan=_lifespan,
    )


def study_of(image: str) -> str | None:
    """The study of an image, if the lists of the DICOMweb server that are here have it."""
    store = app_instance().datastore()
    return store.study_of(image) if isinstance(store, RepairedDicomWebDatastore) else None


_workspace = Path(os.environ.get("WORKSPACE", "/workspace"))
_known = users.from_environment()
app = Gateway(
    application(),
    _known,
    os.environ.get("LISTEN", "") in LOOPBACK,
    BrowserSessions(_known, _workspace / "browser_sessions.json"),
    Audit(audit.Trail(audit.folder_of(str(_workspace))), study_of),
)
# A training, which inherits the environment, has no use for it.
os.environ.pop("LABEL_SERVER_TOKEN", None)

"""The application that uvicorn runs: the gateway, and behind it upstream's endpoints, the viewer and its DICOMweb."""

import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from monailabel.config import settings
from monailabel.interfaces.utils.app import app_instance
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from label_server import audit, paths, users
from label_server.datastore.datastore import RepairedDicomWebDatastore
from label_server.datastore.judging import Judging
from label_server.datastore.pacs_images import PacsImages
from label_server.parsing import readers
from label_server.users import LOOPBACK
from label_server.web import dicomweb_proxy, figures, readiness, routes
from label_server.web.audit_log import Audit
from label_server.web.browser_sessions import BrowserSessions
from label_server.web.error_handlers import HANDLERS, fault
from label_server.web.gateway import Gateway
from label_server.web.ohif import OhifFiles
from label_server.web.start_page import pages


async def _viewer(request: Request) -> Response:
    return RedirectResponse("/ohif/", 303)


async def _ready(request: Request) -> Response:
    """Whether a label can be asked for: models are loaded before any request; the DICOMweb server must answer."""
    if problem := await readiness.problem():
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


def application(viewer: Path = paths.VIEWER) -> Starlette:
    """Make what is behind the gateway, with the viewer of a folder."""
    return Starlette(
        routes=[
            *pages.routes,
            Route("/readyz", _ready),
            Route("/metrics", figures.page),
            Route("/ohif", _viewer),
            Mount("/proxy/dicom", routes=dicomweb_proxy.routes),
            Mount("/ohif", OhifFiles(viewer)),
            Mount("/", routes.application(settings.MONAI_LABEL_PROJECT_NAME, os.environ.get("APP", "radiology"))),
        ],
        exception_handlers=HANDLERS | {Exception: fault},
        lifespan=_lifespan,
    )


def study_of(image: str) -> str | None:
    """The study of an image, if the lists of the DICOMweb server that are here have it."""
    store = app_instance().datastore()
    return store.study_of(image) if isinstance(store, RepairedDicomWebDatastore) else None


_known = users.from_environment()
app = Gateway(
    application(),
    _known,
    os.environ.get("LISTEN", "") in LOOPBACK,
    BrowserSessions(_known, paths.shared() / "browser_sessions.json"),
    Audit(audit.Trail(audit.folder_of(paths.lasting())), study_of),
)
# A training, which inherits the environment, has no use for it.
os.environ.pop("LABEL_SERVER_TOKEN", None)

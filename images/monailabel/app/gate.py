"""The ASGI application that the server runs: monailabel's own, with its doors put right.

Around upstream's application stand a DICOMweb proxy that keeps the query string and has time-outs, OHIF's
files with their own types, and answers that say what is wrong instead of a bare 500.
"""

import logging
from pathlib import Path

import monailabel
import requests
from fastapi.staticfiles import StaticFiles
from monailabel.app import app as upstream
from monailabel.interfaces.exception import (
    ImageNotFoundException,
    LabelNotFoundException,
    MONAILabelError,
    MONAILabelException,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from app import dicomweb_proxy
from app.datastore import IncompleteSeries
from app.segments import LabelError

logger = logging.getLogger(__name__)

OHIF = Path(monailabel.__file__).parent / "endpoints" / "static" / "ohif"


def _answer(status: int, detail: str, **headers: str) -> Response:
    logger.warning(f"{status}: {detail}")
    return JSONResponse({"detail": detail}, status, headers or None)


async def _not_found(request: Request, error: Exception) -> Response:
    return _answer(404, getattr(error, "msg", str(error)))


async def _refused(request: Request, error: Exception) -> Response:
    invalid = getattr(error, "error", None) == MONAILabelError.INVALID_INPUT
    return _answer(400 if invalid else 500, getattr(error, "msg", str(error)))


async def _bad_label(request: Request, error: Exception) -> Response:
    return _answer(422, f"The label was not saved: {error}")


async def _dicomweb_away(request: Request, error: Exception) -> Response:
    # The class alone: requests puts the URL, and with it a user's query, into its messages.
    return _answer(503, f"The DICOMweb server does not answer ({type(error).__name__})", **{"Retry-After": "5"})


async def _dicomweb_refused(request: Request, error: Exception) -> Response:
    answer = getattr(error, "response", None)
    status = answer.status_code if answer is not None else "an error"
    return _answer(502, f"The DICOMweb server answered {status}")


async def _incomplete(request: Request, error: Exception) -> Response:
    return _answer(503, str(error), **{"Retry-After": "5"})


for kind, handler in (
    (ImageNotFoundException, _not_found),
    (LabelNotFoundException, _not_found),
    (MONAILabelException, _refused),
    (LabelError, _bad_label),
    (IncompleteSeries, _incomplete),
    (requests.ConnectionError, _dicomweb_away),
    (requests.Timeout, _dicomweb_away),
    (requests.HTTPError, _dicomweb_refused),
):
    upstream.add_exception_handler(kind, handler)


class OhifFiles(StaticFiles):
    """OHIF: its files with their types (upstream sends index.html for those in sub-folders), pages else."""

    def lookup_path(self, path: str) -> tuple[str, object]:
        """A file where there is one; any other path is a page of the viewer's own."""
        full_path, stat = super().lookup_path(path)
        if stat is None or path in ("", "."):
            return super().lookup_path("index.html")
        return full_path, stat


async def _alive(request: Request) -> Response:
    return PlainTextResponse("alive\n")


app = Starlette(
    routes=[
        Route("/healthz", _alive),
        Mount("/proxy/dicom", routes=dicomweb_proxy.routes),
        Mount("/ohif", OhifFiles(directory=OHIF)),
        Mount("/", upstream),
    ],
    # A mounted application's own start-up is not run by itself: it loads the models.
    lifespan=upstream.router.lifespan_context,
)

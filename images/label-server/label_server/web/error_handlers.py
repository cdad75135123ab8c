"""What is answered when something is wrong: a status that fits and one sentence, instead of upstream's bare 500."""

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import requests
import torch
from monailabel.interfaces.exception import (
    ImageNotFoundException,
    LabelNotFoundException,
    MONAILabelError,
    MONAILabelException,
)
from monailabel.interfaces.utils.app import app_instance
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from label_server.datastore.image_cache import IncompleteSeries
from label_server.datastore.label_values import LabelError
from label_server.datastore.pacs_images import PacsImages
from label_server.datastore.stored_labels import UnreadLabel
from label_server.errors import Changed, Forbidden, NotStored, Overtaken, Refused
from label_server.web.worker_pools import Busy, Left

logger = logging.getLogger(__name__)


def _answer(status: int, detail: str, **headers: str) -> Response:
    logger.warning(f"{status}: {detail}")
    return JSONResponse({"detail": detail}, status, headers or None)


async def _http(request: Request, error: Any) -> Response:
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


async def _refused(request: Request, error: Exception) -> Response:
    return _answer(400, f"Refused: {error}")


async def _forbidden(request: Request, error: Exception) -> Response:
    return _answer(403, str(error))


async def _changed(request: Request, error: Exception) -> Response:
    detail = f"The label was not saved: {error}"
    logger.warning(f"409: {detail}")
    more: dict[str, str | None] = {}
    if isinstance(error, Overtaken):
        now = f'"{error.version}"' if error.version else None
        more = {"changed_by": error.by, "changed_at": error.at, "version": now}
    return JSONResponse({"detail": detail} | more, 409)


async def _not_found(request: Request, error: Exception) -> Response:
    return _answer(404, getattr(error, "msg", str(error)))


async def _failed(request: Request, error: Exception) -> Response:
    invalid = getattr(error, "error", None) == MONAILabelError.INVALID_INPUT
    return _answer(400 if invalid else 500, getattr(error, "msg", str(error)))


async def _bad_label(request: Request, error: Exception) -> Response:
    return _answer(422, f"The label was not saved: {error}")


async def _unread_label(request: Request, error: Exception) -> Response:
    # The header is for the browser's panel: to save beside such a label replaces nothing.
    return _answer(422, f"Another program's label cannot be read: {error}", **{"X-Label-Of": "another program"})


async def _busy(request: Request, error: Exception) -> Response:
    return _answer(503, f"Too many {error} wait already", **{"Retry-After": "5"})


async def _left(request: Request, error: Exception) -> Response:
    return _answer(499, "The client has gone")  # nginx's number: nobody gets it but the logs


async def _out_of_memory(request: Request, error: Exception) -> Response:
    # Otherwise the next inference would find the memory that this one reserved.
    torch.cuda.empty_cache()
    return _answer(503, "The GPU has not enough free memory for this model", **{"Retry-After": "5"})


async def _dicomweb_away(request: Request, error: Exception) -> Response:
    # Only the class: requests puts the URL, and with it a user's query, into its messages.
    return _answer(503, f"The DICOMweb server does not answer ({type(error).__name__})", **{"Retry-After": "5"})


async def _dicomweb_refused(request: Request, error: Exception) -> Response:
    answer = getattr(error, "response", None)
    status = answer.status_code if answer is not None else "an error"
    return _answer(502, f"The DICOMweb server answered {status}")


async def _not_stored(request: Request, error: Exception) -> Response:
    return _answer(502, f"The label was not saved: {error}")


async def _incomplete(request: Request, error: Exception) -> Response:
    return _answer(503, str(error), **{"Retry-After": "5"})


async def _no_file(request: Request, error: Exception) -> Response:
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return _answer(507, "The server's disk is full: nothing was stored")
    return _answer(500, f"The server cannot read or write a file of its own ({type(error).__name__})")


async def not_valid(request: Request, error: Any) -> Response:
    """What is answered to arguments of another kind; FastAPI fails where one is bytes that are no text."""
    told = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return _answer(422, "; ".join(told))


def _was_deleted(image: str) -> bool:
    """Whether an image went in the middle of what was done with it: anything may fail then."""
    with suppress(Exception):
        store = app_instance().datastore()
        return isinstance(store, PacsImages) and store.gone(image)
    return False


async def fault(request: Request, error: Exception) -> Response:
    """What is answered for an error that nobody has foreseen; it is raised again, and the log has it."""
    image = request.query_params.get("image") or request.query_params.get("label") or ""
    if image and await asyncio.to_thread(_was_deleted, image):
        return JSONResponse({"detail": f"Image {image} was deleted in the DICOMweb server meanwhile"}, 404)
    return JSONResponse({"detail": f"The server has failed ({type(error).__name__}); its log says more"}, 500)


HANDLERS: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    HTTPException: _http,
    Refused: _refused,
    Forbidden: _forbidden,
    Changed: _changed,
    ImageNotFoundException: _not_found,
    LabelNotFoundException: _not_found,
    MONAILabelException: _failed,
    LabelError: _bad_label,
    NotStored: _not_stored,
    UnreadLabel: _unread_label,
    Busy: _busy,
    Left: _left,
    torch.OutOfMemoryError: _out_of_memory,
    IncompleteSeries: _incomplete,
    requests.ConnectionError: _dicomweb_away,
    requests.Timeout: _dicomweb_away,
    requests.exceptions.ChunkedEncodingError: _dicomweb_away,  # in the middle of a series
    requests.HTTPError: _dicomweb_refused,
    OSError: _no_file,
}

"""The viewer's way to the DICOMweb server, with the server's login.

Upstream's proxy drops the query string, waits for ever and passes any path on, so that every resource of
Orthanc can be reached through it (monailabel 0.8.5, endpoints/proxy.py:49-95).

Reading takes any role, storing takes admin: what is stored here would pass all checks of a label by, who painted it
among them. Labels go to `PUT /datastore/label`.
"""

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator
from functools import cache
from http import HTTPStatus

import httpx
from monailabel.config import settings
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from label_server import request_id
from label_server.dicomweb import http_session, login, trust
from label_server.users import Role

logger = logging.getLogger(__name__)
# It says whole URLs, and with them what a user searches for.
logging.getLogger("httpx").setLevel(logging.WARNING)

# DICOMweb's own resources: studies, series and instances, by UID, and what hangs below them.
_UID = r"[0-9.]{1,64}"
_BELOW = r"(?:/(?:metadata|rendered|thumbnail|bulk/[A-Za-z0-9/_.-]*|frames/[0-9,]+(?:/rendered)?))?"
_READ = re.compile(
    rf"(?:studies|series|instances)/?|studies/{_UID}(?:{_BELOW}|/(?:series|instances)"
    rf"|/series/{_UID}(?:{_BELOW}|/instances|/instances/{_UID}{_BELOW}))"
)
_STORE = re.compile(rf"studies/?(?:{_UID})?")
_REQUEST_HEADERS = (b"accept", b"content-type", b"range")
_RESPONSE_HEADERS = ("content-type", "content-length", "content-encoding", "content-range")
# Browsers encode the commas between fields, and Orthanc then knows none of them.
_FIELDS = re.compile(rb"(?<=includefield=)[^&]*")
_COMMA = re.compile(rb"%2c", re.IGNORECASE)
_TIMEOUT = httpx.Timeout(30.0, connect=3.0)
# Orthanc holds some copies of what is stored in memory; a viewer sends each instance by itself.
_MOST_STORED = 128 * 2**20


def allowed(method: str, path: str) -> bool:
    """Whether a decoded path below the DICOMweb root is one that viewers need.

    `path` has no leading slash; anything with `..` is refused.
    """
    pattern = _STORE if method == "POST" else _READ
    return ".." not in path and pattern.fullmatch(path) is not None


def client(timeout: httpx.Timeout) -> httpx.AsyncClient:
    """A client with the server's login."""
    own = login.read()
    return httpx.AsyncClient(auth=own if all(own) else None, timeout=timeout, verify=_trust())


@cache
def _trust() -> ssl.SSLContext:
    """Made once: reading the authorities takes longer than most of a viewer's requests."""
    return trust.context() or httpx.create_ssl_context()


def with_plain_commas(query: bytes) -> bytes:
    """The query with the fields that are to be in the answer as Orthanc reads them."""
    return _FIELDS.sub(lambda found: _COMMA.sub(b",", found[0]), query)


async def _forward(request: Request) -> Response:
    path = request.path_params["path"]
    if not allowed(request.method, path):
        return JSONResponse({"detail": "Not a DICOMweb resource"}, 404)
    if request.method == "POST" and request.user.role < Role.ADMIN:
        detail = "Storing images takes the role admin; labels go to PUT /datastore/label"
        return JSONResponse({"detail": detail}, 403)
    try:
        root = httpx.URL(f"{settings.MONAI_LABEL_STUDIES.rstrip('/')}/{path}")
        url = root.copy_with(query=with_plain_commas(request.scope["query_string"]) or None)
    except httpx.InvalidURL:  # every character that has to be encoded makes it longer
        return JSONResponse({"detail": "The query is too long"}, 414)
    upstream = client(_TIMEOUT)
    # As they came: they need not be ASCII.
    headers = [(name, value) for name, value in request.headers.raw if name in _REQUEST_HEADERS]
    headers.append((request_id.HEADER.lower().encode(), request_id.current.get().encode()))
    content = _bounded(request) if request.method == "POST" else None
    try:
        answer = await _asked(upstream, upstream.build_request(request.method, url, headers=headers, content=content))
    except httpx.HTTPError as error:
        await upstream.aclose()
        logger.warning(f"DICOMweb proxy: {type(error).__name__}")
        return JSONResponse({"detail": "The DICOMweb server does not answer"}, 503, {"Retry-After": "5"})
    except HTTPException:
        await upstream.aclose()
        raise

    async def close() -> None:
        await answer.aclose()
        await upstream.aclose()

    return StreamingResponse(
        _raw(answer),
        answer.status_code,
        {name: answer.headers[name] for name in _RESPONSE_HEADERS if name in answer.headers},
        background=BackgroundTask(close),
    )


async def _asked(upstream: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """Orthanc's answer; a question that is in conflict with another is asked again, see http_session.CONFLICTS."""
    for _ in range(http_session.CONFLICTS if request.method == "GET" else 0):
        answer = await upstream.send(request, stream=True)
        if answer.status_code != HTTPStatus.CONFLICT:
            return answer
        await answer.aclose()
        await asyncio.sleep(http_session.PAUSE)
    return await upstream.send(request, stream=True)


async def _bounded(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes.

    Raises:
        HTTPException: 413, it is too long for Orthanc's memory.

    """
    left = _MOST_STORED
    async for piece in request.stream():
        left -= len(piece)
        if left < 0:
            most = f"{_MOST_STORED // 2**20} MB"
            detail = f"More than {most} at once: send one instance after another, or use `deploy.py studies push`"
            raise HTTPException(413, detail, {"Connection": "close"})
        yield piece


async def _raw(answer: httpx.Response) -> AsyncIterator[bytes]:
    async for piece in answer.aiter_raw():
        yield piece


routes = [
    Route("/wado/{path:path}", _forward, methods=["GET", "POST"]),
    Route("/qido/{path:path}", _forward, methods=["GET"]),
    Route("/stow/{path:path}", _forward, methods=["POST"]),
]

"""The ASGI application that the server runs: nobody comes to monailabel's own without a token.

The order is that of cost: what can be refused without reading anything is refused first. Only `/healthz` answers
without a token.
"""

import logging
import os
import time

import httpx
from monailabel.app import app as upstream
from monailabel.config import settings
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from label_server import users
from label_server.errors import Refused
from label_server.pod import state
from label_server.users import LOOPBACK, Users
from label_server.web import dicomweb_proxy, rate_limits, request_validation, routes, token_auth
from label_server.web.error_handlers import HANDLERS
from label_server.web.ohif import OhifFiles

access = logging.getLogger("access")

# OHIF decodes images with WebAssembly in workers that it makes itself; it needs nothing of other servers.
_CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' blob: data:; font-src 'self' data:; connect-src 'self' blob: data:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": _CONTENT_POLICY,
}
_ALIVE = PlainTextResponse("alive\n")
# Asking how the server is does not keep a rented pod from stopping.
_LOOKED_AT = ("/info", "/readyz")
_UNKNOWN = "Not authorised"


class Gateway:
    """Asks for a token, keeps to the limits, and looks at the path before the application sees it.

    Args:
        inner: the application behind the gate.
        known: the users.
        open_on_loopback: whether nobody needs a token where no user is known.

    """

    def __init__(self, inner: ASGIApp, known: Users, open_on_loopback: bool) -> None:
        self._inner = inner
        self._users = known
        self._open_on_loopback = open_on_loopback
        self._failures = rate_limits.Failures()
        self._concurrency = rate_limits.Concurrency()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["path"] == "/healthz":
            await _ALIVE(scope, receive, send)
        else:
            await self._request(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.monotonic()
        status, who, path = 500, "-", "-"

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        try:
            rate_limits.headers(scope)
            entry = self._identify(scope)
            # Only now: the path of a stranger may hold a mistyped token.
            _check_address(scope)
            who, path = entry.user.name, scope["path"]
            users.current.set(entry.user)
            if path.rstrip("/") not in _LOOKED_AT:
                state.note_use()
            with self._concurrency.of(entry.user.name):
                application = token_auth.browser_login(scope, entry) or self._inner
                await application(scope, rate_limits.body(receive), noting)
        except HTTPException as refused:
            answer = JSONResponse({"detail": refused.detail}, refused.status_code, refused.headers)
            await answer(scope, receive, noting)
        finally:
            took = (time.monotonic() - started) * 1000
            access.info(f"{_address(scope)} {who} {scope['method']} {path} {status} {took:.0f} ms")

    def _identify(self, scope: Scope) -> token_auth.Entry:
        entry = token_auth.identify(scope, self._users, self._open_on_loopback)
        if entry:
            return entry
        if self._failures.note(_address(scope)):
            raise HTTPException(429, _UNKNOWN, {"Retry-After": "60"})
        raise HTTPException(401, _UNKNOWN, {"WWW-Authenticate": "Bearer"})


def _check_address(scope: Scope) -> None:
    try:
        request_validation.path(scope["raw_path"].decode("latin-1"))
        # A backslash in a DICOM query parts values; it goes to the DICOMweb server alone.
        if not scope["path"].startswith("/proxy/dicom/"):
            request_validation.query(scope["query_string"].decode("latin-1"))
    except Refused as problem:
        raise HTTPException(400, f"Refused: {problem}") from None


def _address(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else "-"


async def _home(request: Request) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/ohif/", 303)
    return JSONResponse({"name": "labelpod", "user": users.current.get().name})


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


def _application() -> Starlette:
    return Starlette(
        routes=[
            Route("/", _home),
            Route("/readyz", _ready),
            Mount("/proxy/dicom", routes=dicomweb_proxy.routes),
            Mount("/ohif", OhifFiles()),
            Mount("/", routes.application(settings.MONAI_LABEL_PROJECT_NAME)),
        ],
        exception_handlers=HANDLERS,
        # A mounted application's own start-up is not run by itself: it loads the models.
        lifespan=upstream.router.lifespan_context,
    )


app = Gateway(_application(), users.from_environment(), os.environ.get("LISTEN", "") in LOOPBACK)
# A training, which inherits the environment, has no use for it.
os.environ.pop("LABEL_SERVER_TOKEN", None)

"""The gateway's parts that keep no count and know no token: each does one thing for every HTTP request."""

import logging

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from label_server import server_role
from label_server.errors import Refused
from label_server.pod import state
from label_server.web import request_validation
from label_server.web.answers import Answer
from label_server.web.browser_sessions import secure
from label_server.web.rate_limits import client_address

access = logging.getLogger("access")

_CONTENT_POLICY = "default-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
# What an answer does not say itself; ohif/ says what the viewer needs.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": _CONTENT_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), serial=(), usb=()",
    # Images and labels of patients stay in no browser and no proxy.
    "Cache-Control": "no-store",
}
_TLS_ONLY = "max-age=31536000"
# Behind a door, only the label server that does all is asked to train.
_ALIVE = PlainTextResponse("alive\n", headers={"Labelpod-Role": server_role.role()})
# Asking how the server is does not keep a rented pod from stopping.
_LOOKED_AT = ("/info", "/readyz", "/metrics")
# In the scope: the name and the path that may be written down.
_FOR_THE_LOG = "labelpod.log"


class Liveness:
    """Answers `/healthz` to anybody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say that the server runs, or pass the request on."""
        await (_ALIVE if scope["path"] == "/healthz" else self._app)(scope, receive, send)


class AccessLog:
    """Writes one line for each request: from where, who, what, how it ended and how long it took.

    Who and what are `-` until AddressCheck has let the request pass: the path of a stranger may hold a mistyped token.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and write its line when it has been answered."""
        answer = Answer(send)
        try:
            await self._app(scope, receive, answer.send)
        finally:
            who, path = scope.get(_FOR_THE_LOG, ("-", "-"))
            told = f"{scope['method']} {path} {answer.status} {answer.milliseconds:.0f} ms"
            access.info(f"{client_address(scope)} {who} {told}")


class SecurityHeaders:
    """Tells browsers with every answer what its pages may do, and who else may have it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add to the headers of its answer."""

        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if secure(scope):
                    headers["Strict-Transport-Security"] = _TLS_ONLY
            await send(message)

        await self._app(scope, receive, adding)


class Refusals:
    """Answers for the parts of the gateway behind it: they raise what is to be answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and answer if it was refused."""
        try:
            await self._app(scope, receive, send)
        except HTTPException as refused:
            answer = JSONResponse({"detail": refused.detail}, refused.status_code, refused.headers)
            await answer(scope, receive, send)


class AddressCheck:
    """Refuses paths and queries that could mean more than they say; what passes may be logged."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with 400."""
        try:
            request_validation.path(scope["raw_path"].decode("latin-1"))
            if not scope["query_string"].isascii():  # as a URL is; starlette fails on what is not UTF-8
                raise Refused("the query holds a character that is not encoded")
            # A backslash in a DICOM query parts values; it goes only to the DICOMweb server.
            if not scope["path"].startswith("/proxy/dicom/"):
                request_validation.query(scope["query_string"].decode("latin-1"))
        except Refused as problem:
            raise HTTPException(400, f"Refused: {problem}") from None
        scope[_FOR_THE_LOG] = (scope["user"].name, scope["path"])
        await self._app(scope, receive, send)


class UseNote:
    """Notes that somebody works with the server, so that a rented pod does not stop itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the use, and pass the request on."""
        if scope["path"].rstrip("/") not in _LOOKED_AT:
            state.note_use()
        await self._app(scope, receive, send)

"""What a person is told in a browser where a program gets `{"detail": ...}`: what happened, and whom to ask.

Whoever is not known learns nothing: no token, a wrong one, a revoked one and a session that is over are one page.
"""

import json
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from label_server.web import html

_ASKED = ("GET", "POST")
_TITLES = {
    400: "This address is not understood",
    401: "You are not logged in",
    403: "You may not do this",
    404: "There is no such page",
    429: "Too many requests",
    502: "The DICOM server does not do its part",
    503: "The server cannot answer now",
    507: "The server's disk is full",
}
_OTHER = "This did not work"
_OF_STRANGERS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS)
# They are about the other answer.
_REPLACED = (b"content-encoding", b"content-length", b"content-type")


class RefusalPages:
    """Answers a browser with a page where the answer would be an error in JSON; any other goes as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and rewrite its answer if that is a refusal of a browser's."""
        browser = scope["method"] in _ASKED and "text/html" in Headers(scope=scope).get("accept", "")
        await self._app(scope, receive, _Rewriter(scope, receive, send).send if browser else send)


class _Rewriter:
    """One answer on its way to a browser."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_refusal(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._page(self._start)(self._scope, self._receive, self._send)

    def _page(self, start: Message) -> HTMLResponse:
        status: int = start["status"]
        known = "user" in self._scope
        stranger = not known and status in _OF_STRANGERS
        title, detail = _TITLES.get(status, _OTHER), _detail(self._body)
        values = {"title": title, "known": known, "stranger": stranger, "status": status, "detail": detail}
        answer = html.page("refusal.html", values, status)
        answer.raw_headers += [pair for pair in start["headers"] if pair[0].lower() not in _REPLACED]
        return answer


def _is_refusal(start: Message) -> bool:
    kind = Headers(raw=start["headers"]).get("content-type", "")
    return start["status"] >= HTTPStatus.BAD_REQUEST and kind.startswith("application/json")


def _detail(body: bytes) -> str:
    try:
        said = json.loads(body)
    except ValueError:  # of the DICOMweb server, which says what it likes
        return ""
    return str(said.get("detail", "")) if isinstance(said, dict) else ""

"""Gives every request a number, or takes that of a trusted proxy in front."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from label_server import request_id
from label_server.web.trusted_proxy import PROXIED


class RequestIds:
    """Notes the number in `request_id.current`, and tells the client.

    What a client names itself is not taken: it could give its requests the number of somebody else's.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the number to the headers of its answer."""
        named = Headers(scope=scope).getlist(request_id.HEADER) if scope.get(PROXIED) else []
        number = named[0] if len(named) == 1 and request_id.is_plain(named[0]) else request_id.made()
        request_id.current.set(number)

        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[request_id.HEADER] = number
            await send(message)

        await self._app(scope, receive, adding)

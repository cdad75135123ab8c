"""What an answer turned out to be, for those who write it down."""

import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Answer:
    """An answer on its way out: pass `send` on in the place of the server's.

    Args:
        send: of the server.

    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._started = time.monotonic()
        self.status = 500  # of one that never begins

    async def of(self, app: ASGIApp, scope: Scope, receive: Receive) -> None:
        """Have an app give it; a refusal that the app raises tells its status, and is passed on."""
        try:
            await app(scope, receive, self.send)
        except HTTPException as refused:
            self.status = refused.status_code
            raise

    async def send(self, message: Message) -> None:
        """Send a part of it, and keep its status in mind."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    @property
    def milliseconds(self) -> float:
        """Since the request came."""
        return (time.monotonic() - self._started) * 1000

"""How many connections there may be, and which one makes room for another.

A connection whose last request showed a token is a user's. All others are strangers', and whatever strangers ask is
answered at once: theirs may be closed at any time, the oldest first. So a flood of them closes itself, and a new
connection has time to ask.
"""

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable, Iterable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import get_remote_addr

from label_server.settings import SLOW_CLIENT_SECONDS

# Beyond twice as many requests, uvicorn answers 503: those of connections that were just closed still count there.
_MOST = 500
# Of strangers. Behind a tunnel or a proxy everybody has one address, but a user is no stranger after a request.
_MOST_OF_AN_ADDRESS = 128


class CountedProtocol(H11Protocol):
    """HTTP/1.1 that closes another connection if there are too many with this one."""

    since = 0.0
    _user = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Make room for the connection; a request may come."""
        super().connection_made(transport)
        self.enter(self.transport)

    def on_response_complete(self) -> None:
        """Keep in mind whose the connection is, and since when a user's is idle; the next request has its own scope."""
        self._user = self.users
        if self._user:
            self.since = self.loop.time()
        super().on_response_complete()

    def enter(self, transport: asyncio.Transport) -> None:
        """Count the connection from now on, and close the one that makes room for it."""
        self.transport, self.client, self.since = transport, get_remote_addr(transport), self.loop.time()
        self.connections.add(self)
        if leaving := self._makes_room():
            self.connections.discard(leaving)
            leaving.transport.abort()  # an answer that nobody reads would keep it open

    @property
    def users(self) -> bool:
        """Whether a request on this connection came from a user: the gateway notes it in the scope."""
        return self._user or "user" in (self.scope or ())

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _makes_room(self) -> "CountedProtocol | None":
        others: list[CountedProtocol] = [each for each in self.connections if each is not self]
        strangers = [each for each in others if not each.users]
        neighbours = [each for each in strangers if _host(each) == _host(self)]
        if len(neighbours) >= _MOST_OF_AN_ADDRESS:
            return _oldest(neighbours)
        if len(others) < _MOST:
            return None
        # A user with very many connections does not close those that are about to ask.
        idle = [each for each in others if each.users and each.idle]
        return _oldest(strangers if len(strangers) >= _MOST_OF_AN_ADDRESS or not idle else idle)


def _oldest(connections: Iterable[CountedProtocol]) -> CountedProtocol | None:
    return min(connections, key=lambda each: each.since, default=None)


def _host(connection: CountedProtocol) -> str:
    return connection.client[0] if connection.client else ""


class Handshake(SSLProtocol):
    """TLS whose connections count, and have a limited time, before the handshake is done.

    Args:
        loop: that it runs in.
        http: spoken after the handshake.
        context: of the server.

    """

    def __init__(self, loop: asyncio.AbstractEventLoop, http: CountedProtocol, context: ssl.SSLContext) -> None:
        seconds = SLOW_CLIENT_SECONDS
        super().__init__(loop, http, context, None, server_side=True, ssl_handshake_timeout=seconds)  # type: ignore[arg-type]
        self._http = http

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection."""
        self._http.enter(transport)  # type: ignore[arg-type]
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count it no more, if the handshake was never done."""
        self._http.connections.discard(self._http)
        super().connection_lost(exc)


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose TLS servers count their connections from the first moment."""

    async def create_server(  # type: ignore[override]
        self, factory: Callable[[], Any], *where: Any, ssl: ssl.SSLContext | None = None, **options: Any
    ) -> asyncio.Server:
        """Listen as asyncio does."""
        made = (lambda: Handshake(self, factory(), ssl)) if ssl else factory
        return await super().create_server(made, *where, **options)

"""How many connections there may be, and which ones make room for others.

A connection on which a request showed a token is a user's. All others are strangers', and whatever strangers ask is
answered at once: theirs may be closed at any time, the oldest first. So a flood of them closes itself, and a new
connection has time to ask.
"""

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, cast
from weakref import WeakSet

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import get_remote_addr
from uvicorn.server import ServerState

from label_server.settings import SLOW_CLIENT_SECONDS

# Of strangers. Behind a tunnel or a proxy everybody has one address, but a user is no stranger after a request.
_MOST_OF_AN_ADDRESS = 128
# A connection has this long to ask, in seconds, however many come after it; but not if there are this many in all.
_TIME_TO_ASK = 1.0
_FAR_TOO_MANY = 4000
_PAUSE = 0.1
_to_be_looked_at: WeakSet[ServerState] = WeakSet()


class CountedProtocol(H11Protocol):
    """HTTP/1.1 that closes connections if there are too many; uvicorn's `limit_concurrency` says how many that are.

    uvicorn itself would answer 503 to everybody.
    """

    since = 0.0
    _user = False

    def __init__(self, config: Config, *more: Any, **named: Any) -> None:
        super().__init__(config, *more, **named)
        self._most, self.limit_concurrency = config.limit_concurrency, None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection; a request may come."""
        super().connection_made(transport)
        self.enter(self.transport)

    def on_response_complete(self) -> None:
        """Keep in mind whose the connection is, and since when a user's is idle; the next request has its own scope."""
        self._user = self.users
        if self._user:
            self.since = self.loop.time()
        super().on_response_complete()

    def enter(self, transport: asyncio.Transport) -> None:
        """Count the connection from now on, and make room for it in a moment."""
        self.transport, self.client, self.since = transport, get_remote_addr(transport), self.loop.time()
        self.connections.add(self)
        self._make_room_soon()

    @property
    def users(self) -> bool:
        """Whether a request on this connection came from a user: the gateway notes it in the scope."""
        return self._user or "user" in (self.scope or ())

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _make_room_soon(self) -> None:
        if self.server_state not in _to_be_looked_at:
            _to_be_looked_at.add(self.server_state)
            # Not at once then: the gateway first looks at the requests that have been read at that moment.
            self.loop.call_later(_PAUSE, self.loop.call_soon, self._make_room)

    def _make_room(self) -> None:
        _to_be_looked_at.discard(self.server_state)
        asked_by = self.loop.time() - (_TIME_TO_ASK if len(self.connections) < _FAR_TOO_MANY else 0)
        for leaving in surplus(self.connections, self._most):
            if leaving.since > asked_by:
                self._make_room_soon()
            else:
                self.connections.discard(leaving)
                leaving.transport.abort()  # an answer that nobody reads would keep it open


def surplus(connections: Iterable[CountedProtocol], most: int | None) -> list[CountedProtocol]:
    """Choose what to close: strangers beyond the limit of their address, and what is beyond the limit of all.

    A user with very many connections does not close those that are about to ask: before a stranger among the newest,
    the user's that has been idle for longest goes.
    """
    oldest_first = sorted(connections, key=lambda each: each.since)
    strangers, leaving = _by_address([each for each in oldest_first if not each.users])
    beyond = 0 if most is None else max(0, len(oldest_first) - len(leaving) - most)
    older, newest = strangers[:-_MOST_OF_AN_ADDRESS], strangers[-_MOST_OF_AN_ADDRESS:]
    idle = [each for each in oldest_first if each.users and each.idle]
    return leaving + [*older, *idle, *newest][:beyond]


def _by_address(strangers: list[CountedProtocol]) -> tuple[list[CountedProtocol], list[CountedProtocol]]:
    """Those within the limit of their address, and those beyond; both oldest first, as they are given."""
    count: Counter[str] = Counter()
    within: list[CountedProtocol] = []
    beyond: list[CountedProtocol] = []
    for each in reversed(strangers):
        host = each.client[0] if each.client else ""
        count[host] += 1
        (within if count[host] <= _MOST_OF_AN_ADDRESS else beyond).append(each)
    return within[::-1], beyond[::-1]


class Handshake(SSLProtocol):
    """TLS whose connections count, and have a limited time, before the handshake is done.

    Args:
        loop: that it runs in.
        http: spoken after the handshake.
        context: of the server.

    """

    def __init__(self, loop: asyncio.AbstractEventLoop, http: CountedProtocol, context: ssl.SSLContext) -> None:
        nobody: Any = None  # waits for the handshake; asyncio takes it, its types do not
        super().__init__(loop, http, context, nobody, server_side=True, ssl_handshake_timeout=SLOW_CLIENT_SECONDS)
        self._http = http

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection."""
        self._http.enter(cast(asyncio.Transport, transport))
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count it no more, if the handshake was never done."""
        self._http.connections.discard(self._http)
        super().connection_lost(exc)


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose TLS servers count their connections from the first moment."""

    async def create_server(  # type: ignore[override]  # asyncio's form with a socket is passed on as it is
        self, factory: Callable[[], Any], *where: Any, ssl: ssl.SSLContext | None = None, **options: Any
    ) -> asyncio.Server:
        """Listen as asyncio does."""
        made = (lambda: Handshake(self, factory(), ssl)) if ssl else factory
        return await super().create_server(made, *where, **options)

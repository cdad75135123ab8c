"""How much and how fast: bounds on what one address, one user and one request may take."""

import asyncio
import time
from collections import Counter, OrderedDict, deque

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from label_server.settings import MAX_BODY_BYTES, MAX_HEADER_BYTES, MAX_REQUESTS_PER_USER, SLOW_CLIENT_SECONDS

_CLOSE = {"Connection": "close"}


class Failures:
    """Requests without a valid token, by address; too many of them are answered with 429.

    A valid token is accepted anyway: behind a tunnel everybody has one address.

    Args:
        most: failures of one address within `seconds`.
        seconds: how long a failure counts.
        addresses: how many are remembered.

    """

    def __init__(self, most: int = 30, seconds: float = 60, addresses: int = 10_000) -> None:
        self._most = most
        self._seconds = seconds
        self._addresses = addresses
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def note(self, address: str) -> bool:
        """Count one failure; whether the address has had too many."""
        now = time.monotonic()
        times = self._seen.setdefault(address, deque(maxlen=self._most + 1))
        self._seen.move_to_end(address)
        if len(self._seen) > self._addresses:
            self._seen.popitem(last=False)
        times.append(now)
        return len(times) > self._most and now - times[0] < self._seconds


class HeaderLimit:
    """Refuses headers that are too long, and a body that says it is."""

    def __init__(self, app: ASGIApp, most: int = MAX_HEADER_BYTES, most_body: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._most = most
        self._most_body = most_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with 431 or 413."""
        if sum(len(key) + len(value) + 4 for key, value in scope["headers"]) > self._most:
            raise HTTPException(431, "The headers are too long", _CLOSE)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._most_body:
            raise HTTPException(413, "The body is too long", _CLOSE)
        await self._app(scope, receive, send)


class Concurrency:
    """Lets a user have a limited number of requests at once; the user is in the scope."""

    def __init__(self, app: ASGIApp, most: int = MAX_REQUESTS_PER_USER) -> None:
        self._app = app
        self._most = most
        self._running: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the request while it is answered, or refuse it with 429."""
        name = scope["user"].name
        if self._running[name] >= self._most:
            raise HTTPException(429, "Too many requests at once", {"Retry-After": "2"})
        self._running[name] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running[name] -= 1
            if not self._running[name]:
                del self._running[name]


class BodyLimit:
    """Gives up a body that is too long, 413, or does not keep coming, 408; the reader meets the error."""

    def __init__(self, app: ASGIApp, most: int = MAX_BODY_BYTES, seconds: float = SLOW_CLIENT_SECONDS) -> None:
        self._app = app
        self._most = most
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a body that is bounded."""
        await self._app(scope, self._bounded(receive), send)

    def _bounded(self, receive: Receive) -> Receive:
        left, whole = self._most, False

        async def bounded() -> Message:
            nonlocal left, whole
            if whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self._seconds)
            except TimeoutError:
                raise HTTPException(408, "The body does not come", _CLOSE) from None
            left -= len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if left < 0:
                raise HTTPException(413, "The body is too long", _CLOSE)
            return message

        return bounded


def client_address(scope: Scope) -> str:
    """The address that a request comes from."""
    return scope["client"][0] if scope.get("client") else "-"

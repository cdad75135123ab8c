"""How much and how fast: bounds on what one address, one user and one request may take."""

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

from label_server.settings import MAX_BODY_BYTES, MAX_HEADER_BYTES, MAX_REQUESTS_PER_USER, SLOW_CLIENT_SECONDS

_CLOSE = {"Connection": "close"}


class Failures:
    """Requests without a valid token, by address; too many of them are answered no more.

    A valid token is let in all the same: behind a tunnel everybody has one address.

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


class Concurrency:
    """Requests that are being answered, by user."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Count a request of this user while it is answered.

        Raises:
            HTTPException: 429, as many as a user may have are running.

        """
        if self._running[name] >= MAX_REQUESTS_PER_USER:
            raise HTTPException(429, "Too many requests at once", {"Retry-After": "2"})
        self._running[name] += 1
        try:
            yield
        finally:
            self._running[name] -= 1
            if not self._running[name]:
                del self._running[name]


def headers(scope: Scope) -> None:
    """Refuse headers that are too long, and a body that says it is."""
    if sum(len(key) + len(value) + 4 for key, value in scope["headers"]) > MAX_HEADER_BYTES:
        raise HTTPException(431, "The headers are too long", _CLOSE)
    length = dict(scope["headers"]).get(b"content-length", b"0")
    if not length.isdigit() or int(length) > MAX_BODY_BYTES:
        raise HTTPException(413, "The body is too long", _CLOSE)


def body(receive: Receive) -> Receive:
    """The request's body, as long as it is not too long and keeps coming."""
    left, whole = MAX_BODY_BYTES, False

    async def bounded() -> Message:
        nonlocal left, whole
        if whole:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), SLOW_CLIENT_SECONDS)
        except TimeoutError:
            raise HTTPException(408, "The body does not come", _CLOSE) from None
        left -= len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if left < 0:
            raise HTTPException(413, "The body is too long", _CLOSE)
        return message

    return bounded

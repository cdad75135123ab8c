"""How much and how fast: bounds on what one address, one user and one request may take."""

import asyncio
import time
from collections import Counter, OrderedDict, deque

from starlette.datastructures import Headers
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
    """Lets a user have a limited number of requests at once; the user is in the scope.

    A few more wait a moment: a browser asks for the next slice when it has the last one, which is not yet done with
    here, and a slice that is refused is missing from the image.

    Args:
        app: behind it.
        most: requests of one user that are answered at once.
        waiting: times as many may wait.
        seconds: that one may wait.

    """

    def __init__(self, app: ASGIApp, most: int = MAX_REQUESTS_PER_USER, waiting: int = 4, seconds: float = 3) -> None:
        self._app = app
        self._most = most
        self._here_at_most = most * (1 + waiting)
        self._seconds = seconds
        self._here: Counter[str] = Counter()
        self._room: dict[str, asyncio.Semaphore] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the request while it waits and is answered, or refuse it with 429."""
        name = scope["user"].name
        if self._here[name] >= self._here_at_most:
            raise _too_many()
        self._here[name] += 1
        room = self._room.setdefault(name, asyncio.Semaphore(self._most))
        try:
            await self._wait(room)
            try:
                await self._app(scope, receive, send)
            finally:
                room.release()
        finally:
            self._here[name] -= 1
            if not self._here[name]:
                del self._here[name], self._room[name]

    async def _wait(self, room: asyncio.Semaphore) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await room.acquire()
        except TimeoutError:
            raise _too_many() from None


def _too_many() -> HTTPException:
    return HTTPException(429, "Too many requests at once", {"Retry-After": "2"})


class BodyLimit:
    """Gives up a body that is too long, 413, or does not keep coming, 408; the reader meets the error.

    Args:
        app: behind it.
        most: bytes of an upload, and of all that one user uploads at once; of all users, half as much again.
        most_plain: bytes of anything else, JSON above all, which is read as a whole.
        seconds: that a client may be silent.
        grace: seconds that any body may take; a longer one must come with `slowest` bytes a second.
        slowest: see there.

    """

    def __init__(
        self,
        app: ASGIApp,
        most: int = MAX_BODY_BYTES,
        most_plain: int = 2**20,
        seconds: float = SLOW_CLIENT_SECONDS,
        grace: float = 60,
        slowest: int = 2**14,
    ) -> None:
        self._app = app
        self._most = most
        self._most_plain = most_plain
        self._seconds = seconds
        self._grace = grace
        self._slowest = slowest
        self._here: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a body that is bounded."""
        headers = Headers(scope=scope)
        upload = headers.get("content-type", "").lower().startswith("multipart/")
        most = self._most if upload else min(self._most, self._most_plain)
        if int(headers.get("content-length", 0)) > most:
            raise HTTPException(413, "The body is too long", _CLOSE)
        user = scope["user"].name if "user" in scope else ""
        body = _Body(self, user, most)
        try:
            await self._app(scope, lambda: body.receive(receive), send)
        finally:
            self.forget(user, body.received)

    def note(self, user: str, size: int) -> bool:
        """Count bytes of a body that is here; whether there is room for them."""
        self._here[user] += size
        return self._here[user] <= self._most and self._here.total() <= self._most * 3 // 2

    def forget(self, user: str, size: int) -> None:
        """Their request has been answered."""
        self._here[user] -= size
        if self._here[user] <= 0:
            del self._here[user]

    def left(self, started: float, received: int) -> float:
        """Seconds that the next piece of a body may take."""
        end = started + self._grace + received / self._slowest
        return min(self._seconds, end - time.monotonic())


class _Body:
    """The body of one request on its way in."""

    def __init__(self, limit: BodyLimit, user: str, most: int) -> None:
        self._limit = limit
        self._user = user
        self._most = most
        self._started = time.monotonic()
        self._whole = False
        self.received = 0

    async def receive(self, receive: Receive) -> Message:
        if self._whole:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), self._limit.left(self._started, self.received))
        except TimeoutError:
            raise HTTPException(408, "The body does not come", _CLOSE) from None
        size = len(message.get("body", b""))
        self.received += size
        self._whole = not message.get("more_body", False)
        room = self._limit.note(self._user, size)
        if self.received > self._most:
            raise HTTPException(413, "The body is too long", _CLOSE)
        if not room:
            raise HTTPException(429, "Too much is uploaded at once", _CLOSE | {"Retry-After": "30"})
        return message


def client_address(scope: Scope) -> str:
    """The address that a request comes from."""
    return scope["client"][0] if scope.get("client") else "-"

"""Thread pools that requests are worked on in, so that a long one keeps nobody else waiting.

Upstream's endpoints are coroutines around blocking code: while one works, the server answers nothing
(monailabel 0.8.5, endpoints/infer.py:238). Here each works in a thread; inferences, which share one device,
take turns, and only so many may wait.
"""

import asyncio
import inspect
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Coroutine
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi.encoders import jsonable_encoder
from starlette.responses import JSONResponse, Response

from label_server import users
from label_server.settings import INFER_QUEUE


class Busy(Exception):
    """The queue is full, of what the message says."""


class Left(Exception):
    """The client has gone before it was its turn."""


class WorkerPool:
    """A thread pool with a bounded queue; users take turns, and it rejects requests when the queue is full.

    Args:
        workers: requests that are worked on at the same time; of one user, all but one, if there are several.
        waiting: requests that may wait.
        waiting_of_one: requests of one user that may wait.
        what: they are.

    """

    def __init__(self, workers: int, waiting: int, waiting_of_one: int | None = None, what: str = "requests") -> None:
        self._what = what
        self._workers = workers
        self._most = workers + waiting
        self._most_of_one = self._most if waiting_of_one is None else waiting_of_one
        self._here = 0
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._working: Counter[str] = Counter()
        self._limiter: CapacityLimiter | None = None

    @property
    def working(self) -> int:
        """Requests that are worked on now."""
        return self._working.total()

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return self._here - self._working.total()

    async def run(
        self, endpoint: Callable[..., Any], arguments: dict[str, Any], left: asyncio.Future[None] | None = None
    ) -> Response:
        """The endpoint's answer. Takes `left` and raises as `call`."""
        answer: Response = await self.call(_answer, endpoint, arguments, left=left)
        return answer

    async def call(
        self, function: Callable[..., Any], *arguments: Any, left: asyncio.Future[None] | None = None
    ) -> Any:
        """What a function returns.

        Args:
            function: to run.
            arguments: its own.
            left: is done when the client has gone; what works by then cannot be stopped.

        Raises:
            Busy: too many wait already, or too many of this user.
            Left: the client has gone.

        """
        user = users.current.get().name
        if self._here >= self._most:
            raise Busy(self._what)
        # Made here, because a limiter belongs to the event loop that runs.
        self._limiter = self._limiter or CapacityLimiter(self._workers)
        self._here += 1
        try:
            await self._turn(user, left)
            try:
                return await run_sync(function, *arguments, limiter=self._limiter)
            finally:
                self._working[user] -= 1
        finally:
            self._here -= 1
            self._call_next()

    def queue(self, user: str) -> dict[str, int | None]:
        """How many work and wait, and the place of the user's first among those who wait: 1 is called next.

        Each user before them is called once before they are.
        """
        waiting = [(who, len(queue)) for who, queue in list(self._waiting.items()) if queue]
        places = {who: place for place, (who, _) in enumerate(waiting, start=1)}
        number = sum(number for _, number in waiting)
        return {"working": self._working.total(), "waiting": number, "mine": places.get(user)}

    async def _turn(self, user: str, left: asyncio.Future[None] | None) -> None:
        """Wait until this user may have a worker; it is counted as working then."""
        mine = self._waiting.setdefault(user, deque())
        if not self._may_work(user) and len(mine) >= self._most_of_one:
            raise Busy(self._what)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        mine.append(turn)
        self._call_next()
        if left:
            left.add_done_callback(lambda _: turn.cancel())
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was called in the same moment
                self._working[user] -= 1
            elif turn in mine:
                mine.remove(turn)
            if left and left.done():
                raise Left from None
            raise

    def _may_work(self, user: str) -> bool:
        of_one = max(1, self._workers - 1)
        return self._working.total() < self._workers and self._working[user] < of_one

    def _call_next(self) -> None:
        """Call those who wait, one of each user in turn."""
        for user in list(self._waiting):
            queue = self._waiting[user]
            while queue and queue[0].done():
                queue.popleft()
            if queue and self._may_work(user):
                queue.popleft().set_result(None)
                self._working[user] += 1
                self._waiting.move_to_end(user)
            if not queue:
                del self._waiting[user]


def _answer(endpoint: Callable[..., Any], arguments: dict[str, Any]) -> Response:
    result = endpoint(**arguments)
    if inspect.iscoroutine(result):
        result = _finish(result)
    return result if isinstance(result, Response) else JSONResponse(jsonable_encoder(result))


def _finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that awaits nothing, as upstream's endpoints do, to its end."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError("an endpoint of upstream waits for something")


inference = WorkerPool(1, INFER_QUEUE, (INFER_QUEUE + 1) // 2, "inferences")
# Of uploads: as many as there are processes that read them.
reading = WorkerPool(2, 64, what="uploads")
# Reading, writing and downloading; the rest waits for its turn as in any thread pool.
others = WorkerPool(32, 1000)

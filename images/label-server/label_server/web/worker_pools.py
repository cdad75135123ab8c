"""Thread pools that requests are worked on in, so that a long one keeps nobody else waiting.

Upstream's endpoints are coroutines around blocking code: while one works, the server answers nothing
(monailabel 0.8.5, endpoints/infer.py:238). Here each works in a thread; inferences, which share one device,
take turns, and only so many may wait.
"""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi.encoders import jsonable_encoder
from starlette.responses import JSONResponse, Response

from label_server.settings import INFER_QUEUE


class Busy(Exception):
    """The queue is full."""


class WorkerPool:
    """A thread pool with a bounded queue; it rejects requests when the queue is full.

    Args:
        workers: requests that are worked on at the same time.
        waiting: requests that may wait.

    """

    def __init__(self, workers: int, waiting: int) -> None:
        self._workers = workers
        self._most = workers + waiting
        self._here = 0
        self._limiter: CapacityLimiter | None = None

    async def run(self, endpoint: Callable[..., Any], arguments: dict[str, Any]) -> Response:
        """The endpoint's answer. Raises as `call`."""
        answer: Response = await self.call(_answer, endpoint, arguments)
        return answer

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function returns.

        Raises:
            Busy: too many wait already.

        """
        if self._here >= self._most:
            raise Busy
        # Made here, because a limiter belongs to the event loop that runs.
        self._limiter = self._limiter or CapacityLimiter(self._workers)
        self._here += 1
        try:
            return await run_sync(function, *arguments, limiter=self._limiter)
        finally:
            self._here -= 1


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


inference = WorkerPool(1, INFER_QUEUE)
# Of uploads: as many as there are processes that read them.
reading = WorkerPool(2, 64)
# Reading, writing and downloading; the rest waits for its turn as in any thread pool.
others = WorkerPool(32, 1000)

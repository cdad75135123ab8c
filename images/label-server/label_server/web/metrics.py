"""Counts what the server does, for Prometheus: numbers, and no word of a patient, an image or a user in them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from label_server.users import Role
from label_server.web import audit_actions
from label_server.web.answers import Answer

_SECONDS = (0.005, 0.02, 0.1, 0.5, 2, 10, 60)
_INFERENCE_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100)

registry = CollectorRegistry()
_requests = Counter("labelpod_requests", "Requests that were answered.", ["action", "status"], registry=registry)
_took = Histogram("labelpod_request_seconds", "How long answers took.", ["action"], registry=registry, buckets=_SECONDS)
_inferences = Histogram(
    "labelpod_inference_seconds",
    "How long a model took, without the queue.",
    ["model"],
    registry=registry,
    buckets=_INFERENCE_SECONDS,
)


class RequestFigures:
    """Counts requests, by what they do and how they are answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count it when it has been answered."""
        answer = Answer(send)
        try:
            await answer.of(self._app, scope, receive)
        finally:
            # What a stranger asks for may be anything; the words of a user's request are few.
            known = "user" in scope
            action = audit_actions.action(scope["method"], scope["path"]).words if known else "stranger"
            _requests.labels(action, str(answer.status)).inc()
            _took.labels(action).observe(answer.milliseconds / 1000)


class Monitors:
    """Shows users with the role monitor the figures, and nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with 403."""
        if scope["user"].role < Role.ANNOTATOR and scope["path"].rstrip("/") != "/metrics":
            raise HTTPException(403, "The role monitor sees /metrics only")
        await self._app(scope, receive, send)


@contextmanager
def inference(model: str) -> Iterator[None]:
    """Note how long a model takes."""
    started = time.monotonic()
    try:
        yield
    finally:
        _inferences.labels(model).observe(time.monotonic() - started)

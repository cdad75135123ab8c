"""Upstream's endpoints that are open, to whom, and where they are worked on; what is not listed is closed.

Closed are, but to pathology, the inferences on whole slides; `/reload`, which drops all models under a running
inference; upstream's own proxy and OHIF routes (dicomweb_proxy.py and ohif/ stand in their place), its static files,
and its pages, which load scripts from elsewhere.
"""

import inspect
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from monailabel.endpoints import (
    activelearning,
    batch_infer,
    datastore,
    infer,
    info,
    logs,
    model,
    scoring,
    session,
    train,
    wsi_infer,
)
from monailabel.endpoints.user.auth import User as UpstreamUser
from monailabel.interfaces.utils.app import app_instance
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.types import Receive, Scope, Send

from label_server import server_role, users
from label_server.datastore import training_list
from label_server.models import training_runs, upload
from label_server.users import Role
from label_server.web import (
    client_left,
    downloads,
    endpoint_checks,
    infer_queue,
    inferences,
    kept_labels,
    labels,
    next_sample,
    request_validation,
    reviews,
    skips,
    upload_reading,
    viewer_state,
    worker_pools,
)
from label_server.web.error_handlers import HANDLERS, fault, not_valid

_PIECE = 2**20  # of a file that is sent: each takes a thread of its own
_ROUTERS = (
    info,
    model,
    infer,
    wsi_infer,
    batch_infer,
    train,
    skips,  # before upstream's, which takes any word for a strategy
    activelearning,
    scoring,
    datastore,
    logs,
    session,
    kept_labels,
    infer_queue,
    viewer_state,
    reviews,
)


@dataclass(frozen=True)
class Endpoint:
    """The role it takes, the worker pool it runs in, and what is checked besides what always is."""

    role: Role
    pool: worker_pools.WorkerPool = worker_pools.others
    check: Callable[[dict[str, Any]], None] | None = None
    among: tuple[str, str] | None = None  # a name in the path, and the app's collection that must have it
    function: Callable[..., Any] | None = None  # in the place of upstream's
    reading: Callable[[dict[str, Any]], None] | None = None  # of what is uploaded
    fixed: tuple[tuple[str, Any], ...] = ()
    trainers: bool = False  # not where a server only annotates


_ANNOTATOR, _REVIEWER, _ADMIN = Endpoint(Role.ANNOTATOR), Endpoint(Role.REVIEWER), Endpoint(Role.ADMIN)
_INFER = Endpoint(
    Role.ANNOTATOR,
    worker_pools.inference,
    endpoint_checks.inference,
    among=("model", "_infers"),
    function=inferences.run,
    reading=upload_reading.inference,
)
_IMAGE = Endpoint(Role.ANNOTATOR, check=endpoint_checks.new_image, reading=upload_reading.images)
# In the server's own process a training would run into its next inference.
_IN_BACKGROUND = (("run_sync", False),)
_TRAIN = Endpoint(Role.ADMIN, check=endpoint_checks.training, fixed=_IN_BACKGROUND, trainers=True)

ENDPOINTS = {
    ("GET", "/info/"): _ANNOTATOR,
    ("POST", "/activelearning/{strategy}"): Endpoint(
        Role.ANNOTATOR,
        check=endpoint_checks.sample,
        among=("strategy", "_strategies"),
        function=next_sample.sample,
    ),
    ("POST", "/activelearning/skip"): _ANNOTATOR,
    ("DELETE", "/activelearning/skip"): _ANNOTATOR,
    ("GET", "/activelearning/skipped"): _ANNOTATOR,
    ("POST", "/infer/{model}"): _INFER,
    ("GET", "/infer/queue"): _ANNOTATOR,
    ("GET", "/datastore/"): Endpoint(Role.ANNOTATOR, function=training_list.datastore),
    ("PUT", "/datastore/"): _IMAGE,
    ("PUT", "/datastore/image"): _IMAGE,
    ("GET", "/datastore/image"): Endpoint(Role.ANNOTATOR, function=downloads.image),
    ("HEAD", "/datastore/image"): Endpoint(Role.ANNOTATOR, function=downloads.check),
    ("GET", "/datastore/image/info"): _ANNOTATOR,
    ("GET", "/datastore/label"): Endpoint(Role.ANNOTATOR, function=labels.download),
    ("HEAD", "/datastore/label"): Endpoint(Role.ANNOTATOR, function=labels.check),
    ("PUT", "/datastore/label"): Endpoint(
        Role.ANNOTATOR, check=endpoint_checks.save, function=labels.save, reading=upload_reading.label
    ),
    ("GET", "/datastore/label/info"): Endpoint(Role.ANNOTATOR, function=labels.info),
    ("GET", "/viewer/label"): _ANNOTATOR,
    ("GET", "/viewer/following"): _ANNOTATOR,
    ("GET", "/viewer/training"): _ANNOTATOR,
    ("GET", "/datastore/review"): _ANNOTATOR,
    ("GET", "/datastore/kept"): _ANNOTATOR,
    ("GET", "/datastore/kept/{name}"): _ANNOTATOR,
    ("GET", "/session/{session_id}"): _ANNOTATOR,
    ("PUT", "/session/"): Endpoint(Role.ANNOTATOR, reading=upload_reading.session),
    ("DELETE", "/session/{session_id}"): _ANNOTATOR,
    ("GET", "/train/"): _ANNOTATOR,
    ("GET", "/scoring/"): _ANNOTATOR,
    ("GET", "/batch/infer"): _ANNOTATOR,
    ("PUT", "/datastore/image/info"): _REVIEWER,
    ("PUT", "/datastore/label/info"): Endpoint(Role.REVIEWER, function=reviews.judge),
    ("PUT", "/datastore/updatelabelinfo"): Endpoint(Role.REVIEWER, function=reviews.judge_as_slicer),
    ("DELETE", "/datastore/"): _ADMIN,
    ("DELETE", "/datastore/image"): _ADMIN,
    ("DELETE", "/datastore/label"): _ADMIN,
    ("GET", "/datastore/dataset"): Endpoint(Role.ADMIN, function=downloads.dataset),
    ("POST", "/train/"): _TRAIN,
    ("POST", "/train/{model}"): _TRAIN,
    ("DELETE", "/train/"): Endpoint(Role.ADMIN, function=training_runs.stop, trainers=True),
    ("POST", "/scoring/"): Endpoint(Role.ADMIN, fixed=_IN_BACKGROUND),
    ("POST", "/scoring/{method}"): Endpoint(Role.ADMIN, among=("method", "_scoring_methods"), fixed=_IN_BACKGROUND),
    ("DELETE", "/scoring/"): _ADMIN,
    ("POST", "/batch/infer/{model}"): Endpoint(
        Role.ADMIN, check=endpoint_checks.batch, among=("model", "_infers"), fixed=_IN_BACKGROUND, trainers=True
    ),
    ("DELETE", "/batch/infer"): Endpoint(Role.ADMIN, trainers=True),
    ("GET", "/model/{model}"): _ADMIN,
    ("GET", "/model/info/{model}"): _ADMIN,
    ("PUT", "/model/{model}"): Endpoint(Role.ADMIN, function=upload.replace, trainers=True),
    ("DELETE", "/model/{model}"): Endpoint(Role.ADMIN, trainers=True),
    # As text: upstream's page loads its scripts from elsewhere.
    ("GET", "/logs/"): Endpoint(Role.ADMIN, fixed=(("html", False),)),
    ("GET", "/logs/gpu"): Endpoint(Role.ADMIN, function=downloads.gpu),
}

# Inferences on whole slides: of pathology, an app of its own.
WHOLE_SLIDES = {
    (method, path): Endpoint(Role.ANNOTATOR, worker_pools.inference, endpoint_checks.some_image, ("model", "_infers"))
    for method, path in (("POST", "/infer/wsi/{model}"), ("POST", "/infer/wsi_v2/{model}"))
}


class GuardedRoute(APIRoute):
    """A route that answers 403 to a user without its role, before anything of the body is read.

    What is for the trainer is answered with 421 where the server only annotates: whoever passes requests on chose the
    wrong one.
    """

    role = Role.ADMIN
    trainers = False

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the user pass, or say which role it takes."""
        if scope["user"].role < self.role:
            answer = JSONResponse({"detail": f"This takes the role {self.role.name.lower()}"}, 403)
            await answer(scope, receive, send)
        elif self.trainers and not server_role.writes_models():
            await JSONResponse({"detail": server_role.ELSEWHERE}, 421)(scope, receive, send)
        else:
            await super().handle(scope, receive, send)


def application(title: str, app_name: str = "radiology") -> FastAPI:
    """Upstream's endpoints that are open to an app, and their description at /openapi.json."""
    endpoints = ENDPOINTS | (WHOLE_SLIDES if app_name == "pathology" else {})
    handlers = HANDLERS | {RequestValidationError: not_valid, Exception: fault}
    app = FastAPI(title=title, docs_url=None, redoc_url=None, redirect_slashes=False, exception_handlers=handlers)
    for route in _upstream():
        for method in sorted(route.methods):
            if opened := endpoints.get((method, route.path)):
                _add(app, opened, method, route)
    return app


def _upstream() -> Iterable[APIRoute]:
    for module in _ROUTERS:
        yield from (route for route in module.router.routes if isinstance(route, APIRoute))


def _add(app: FastAPI, opened: Endpoint, method: str, route: APIRoute) -> None:
    # With and without the slash at the end: a redirect would lose the token in front.
    for path in sorted({route.path, route.path.rstrip("/")}):
        guarded = GuardedRoute(
            path,
            _checked(opened, opened.function or route.endpoint),
            methods=[method],
            name=route.name,
            summary=route.summary,
            tags=route.tags,
            response_model=None,
            include_in_schema=path == route.path,
        )
        guarded.role, guarded.trainers = opened.role, opened.trainers
        app.router.routes.append(guarded)


def _checked(opened: Endpoint, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function without upstream's `user`: its arguments are checked, and it runs in the endpoint's worker pool.

    A client that goes away before its turn leaves the queue of inferences; what it saves is saved all the same.
    """
    signature = inspect.signature(function)
    hidden, leaves = {"user", *dict(opened.fixed)}, opened.pool is worker_pools.inference

    async def answer(http_request: Request, **given: Any) -> Any:
        request_validation.arguments(given)
        if opened.among and given[opened.among[0]] not in getattr(app_instance(), opened.among[1]):
            raise HTTPException(404, f"There is no such {opened.among[0]}")
        if opened.check:
            opened.check(given)
        if "user" in signature.parameters:
            given["user"] = UpstreamUser(username=users.current.get().name)
        try:
            if opened.reading:
                await worker_pools.reading.call(opened.reading, given)
            async with client_left.watched(http_request) if leaves else nullcontext() as left:
                result = await opened.pool.run(function, given | dict(opened.fixed), left)
            if isinstance(result, FileResponse):
                result.chunk_size = _PIECE
            return result
        except BaseException:
            # They remove the upload; FastAPI runs them after a good answer only.
            if cleaning := given.get("background_tasks"):
                await cleaning()
            raise

    answer.__name__ = function.__name__
    shown = [each for each in signature.parameters.values() if each.name not in hidden]
    request = inspect.Parameter("http_request", inspect.Parameter.KEYWORD_ONLY, annotation=Request)
    answer.__signature__ = signature.replace(parameters=[*shown, request])  # type: ignore[attr-defined]
    return answer

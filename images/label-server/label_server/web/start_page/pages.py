"""The start page, and what its buttons lead to."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import requests
from monailabel.endpoints.user.auth import User as UpstreamUser
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.utils.app import app_instance
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from label_server.datastore.datastore import RepairedDicomWebDatastore
from label_server.users import Role, User
from label_server.web import html, next_sample, readiness, worker_pools
from label_server.web.browser_sessions import secure
from label_server.web.start_page import images, machine, models, slicer_script
from label_server.web.token_auth import ENTRY, KNOWN

_FOLDER = Path(__file__).parent
_DEFAULT_STRATEGY = "random"
# With no-referrer, browsers would not say where a form comes from.
_HEADERS = {"Referrer-Policy": "same-origin"}


async def _start(request: Request) -> Response:
    """The page for a browser; programs get who they are."""
    user: User = request.user
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"name": "labelpod", "user": user.name, "role": user.role.name.lower()})
    gathered, dicomweb = await asyncio.gather(worker_pools.others.call(_gathered, request, user), readiness.problem())
    return html.page("start.html", gathered | {"dicomweb": dicomweb}, headers=_HEADERS)


def _gathered(request: Request, user: User) -> dict[str, Any]:
    app = app_instance()
    return {
        **_who(request),
        "strategies": _strategies(app._strategies),
        "work": models.work(app),
        "machine": machine.machine(request.scope[KNOWN].all().values()) if user.role >= Role.ADMIN else None,
        **_archive(app, user),
    }


def _archive(app: Any, user: User) -> dict[str, Any]:
    """What needs the lists of the DICOMweb server; nothing while it does not answer."""
    store = app.datastore()
    try:
        told, lent = app.info(), images.loans(store, app.loans())
        return {
            "progress": images.progress(store, user.name),
            "last": images.last(store, user.name, lent),
            "mine": [loan for loan in lent if loan.user == user.name],
            "models": models.models(app, told["models"]),
            "left_out": _left_out(store),
        }
    except requests.RequestException:
        return {"progress": None, "last": None, "mine": [], "models": [], "left_out": {}}


def _left_out(store: Datastore) -> dict[str, str]:
    """The series that nobody is given, and the labels that cannot be read, with the reasons."""
    if not isinstance(store, RepairedDicomWebDatastore):
        return {}
    unread = store.status().get("unread_labels", [])
    found: dict[str, str] = store.left_out() | {each["SeriesInstanceUID"]: each["reason"] for each in unread}
    return found


async def _next(request: Request) -> Response:
    """Lend the user an image and send them to it, or to the page that says why there is none."""
    form = parse_qs((await request.body()).decode(errors="replace"))
    (strategy,) = form.get("strategy", [_DEFAULT_STRATEGY])[:1]
    app = app_instance()
    if strategy not in app._strategies:
        raise HTTPException(404, "There is no such strategy")
    asking = UpstreamUser(username=request.user.name)
    found = await worker_pools.others.call(next_sample.sample, strategy, {}, asking)
    where = images.address(app.datastore(), found["id"]) if found.get("id") else "/next"
    if where is None:
        raise HTTPException(404, "The viewer shows images of a DICOMweb server only: use 3D Slicer for this one")
    return RedirectResponse(where, 303, _HEADERS)


async def _nothing_left(request: Request) -> Response:
    """Why there is no next image."""
    found = await worker_pools.others.call(_why_none, request, request.user)
    return html.page("nothing_left.html", found, headers=_HEADERS)


def _why_none(request: Request, user: User) -> dict[str, Any]:
    app = app_instance()
    store = app.datastore()
    told = app.remaining(user.name, "")
    of_others = {loan["image"] for loan in told["loans"]}
    return {
        **_who(request),
        "strategies": _strategies(app._strategies),
        "progress": images.progress(store, user.name),
        "on_loan": told["on_loan"],
        "skipped": told["skipped"],
        "others": [loan for loan in _loans(app, user) if loan.image in of_others],
        "left_out": _left_out(store),
    }


def _loans(app: Any, user: User) -> list[images.Loan]:
    """Who has what, for those who may know."""
    return images.loans(app.datastore(), app.loans()) if user.role >= Role.REVIEWER else []


async def _connection(request: Request) -> Response:
    """Whether what a client needs answers."""
    return html.page("connection.html", _who(request) | {"dicomweb": await readiness.problem()}, headers=_HEADERS)


async def _slicer(request: Request) -> Response:
    name = {"Content-Disposition": 'attachment; filename="connect.py"'}
    return Response(slicer_script.script(_server(request)), headers=name, media_type="text/x-python")


async def _file(request: Request) -> Response:
    return FileResponse(_FOLDER / request.url.path.lstrip("/"), headers={"Cache-Control": "no-cache"})


def _who(request: Request) -> dict[str, Any]:
    user: User = request.user
    return {
        "user": user.name,
        "role": user.role.name.lower(),
        "in_session": request.scope[ENTRY].by == "cookie",
        "server": _server(request),
    }


def _server(request: Request) -> str:
    """What the addresses of this server begin with, as the browser knows it."""
    return f"{'https' if secure(request.scope) else 'http'}://{request.headers.get('host', '')}/"


def _strategies(strategies: dict[str, Any]) -> list[tuple[str, str]]:
    """The names and what they mean; the default first."""
    named = [(name, str(strategy.description)) for name, strategy in sorted(strategies.items())]
    return sorted(named, key=lambda each: each[0] != _DEFAULT_STRATEGY)


routes = [
    Route("/", _start),
    Route("/next", _next, methods=["POST"]),
    Route("/next", _nothing_left, methods=["GET"]),
    Route("/connection", _connection),
    Route("/connect.py", _slicer),
    Route("/start.css", _file),
    Route("/start.svg", _file),
]

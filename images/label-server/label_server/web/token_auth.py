"""How a request shows whose it is: a token in front of the path or in a header, or a browser's session in a cookie.

The path is for clients that know nothing of logins: 3D Slicer's plugins and the MONAI Label client keep the path of
the URL that they are given. The cookie is for OHIF, whose pages ask for absolute paths; browser_login.py sets it.
"""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from label_server import users
from label_server.users import LOOPBACK, Role, User, Users
from label_server.web.browser_sessions import BrowserSessions
from label_server.web.rate_limits import Failures, client_address

_SAFE = ("GET", "HEAD")
_SHORTEST = 16
_PORT = re.compile(r":[0-9]*$")
# In the scope: how it was shown who asks, and the users that there are.
ENTRY, KNOWN = "labelpod.entry", "labelpod.known"
_UNKNOWN = "Not authorised"


@dataclass(frozen=True)
class Entry:
    """Who asks, and how that was shown; `token` is what stood in the path, or the id of the session."""

    user: User
    by: Literal["bearer", "path", "cookie", "loopback"]
    token: str = ""


class Authentication:
    """Lets nobody pass without a token; who it is stands in the scope, as starlette has it, and in `users.current`.

    Args:
        app: behind it.
        known: the users.
        sessions: of browsers.
        open_on_loopback: whether nobody needs a token if no user is known.
        failures: counts the requests without a valid token.

    """

    def __init__(
        self,
        app: ASGIApp,
        known: Users,
        sessions: BrowserSessions,
        open_on_loopback: bool = False,
        failures: Failures | None = None,
    ) -> None:
        self._app = app
        self._users = known
        self._sessions = sessions
        self._open_on_loopback = open_on_loopback
        self._failures = failures or Failures()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a user's request on, or refuse it with 401, or 429 if there were many such."""
        entry = identify(scope, self._users, self._sessions, self._open_on_loopback)
        if entry is None:
            if self._failures.note(client_address(scope)):
                raise HTTPException(429, _UNKNOWN, {"Retry-After": "60"})
            raise HTTPException(401, _UNKNOWN, {"WWW-Authenticate": "Bearer"})
        scope["user"], scope[ENTRY], scope[KNOWN] = entry.user, entry, self._users
        users.current.set(entry.user)
        await self._app(scope, receive, send)


def identify(scope: Scope, known: Users, sessions: BrowserSessions, open_on_loopback: bool) -> Entry | None:
    """The user whose token or session the request shows, None without. A token in front of the path is taken off."""
    headers = Headers(scope=scope)
    if open_on_loopback and not known.all():
        local = _PORT.sub("", headers.get("host", "")).strip("[]") in LOOPBACK
        return Entry(User("local", Role.ADMIN), "loopback") if local and _may(scope) else None
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        user = known.find(bearer.strip())
        return Entry(user, "bearer") if user else None
    first = scope["raw_path"].decode("latin-1").split("/", 2)[1:]
    if first and len(first[0]) >= _SHORTEST and (user := known.find(first[0])):
        _take_off(scope, first[0])
        return Entry(user, "path", first[0])
    if session := sessions.of(scope):
        # A page of another origin on this machine may send the browser here, cookie and all.
        return Entry(session[1], "cookie", session[0]) if _may(scope) else None
    return None


def _take_off(scope: Scope, token: str) -> None:
    # One slash: MONAI Label Reviewer puts its own behind that of the pasted address.
    rest = "/" + scope["raw_path"].decode("latin-1").removeprefix(f"/{token}").lstrip("/")
    scope["raw_path"], scope["path"] = rest.encode("latin-1"), unquote(rest)


def same_origin(scope: Scope) -> bool:
    """Whether a change is asked for by a page of this very server, or by no browser at all."""
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    if origin is not None:
        return origin.partition("://")[2] == headers.get("host")
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _may(scope: Scope) -> bool:
    return scope["method"] in _SAFE or same_origin(scope)

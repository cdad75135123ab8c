"""How a request shows its token: in front of the path, in a header, or in the browser's cookie.

The path is for clients that know nothing of logins: 3D Slicer's plugins and the MONAI Label client keep the path of
the URL that they are given. The cookie is for OHIF, whose pages ask for absolute paths.
"""

from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from label_server import users
from label_server.users import LOOPBACK, Role, User, Users
from label_server.web.rate_limits import Failures, client_address

COOKIE = "labelpod"
# Where OHIF's panel for MONAI Label looks up the server's URL; without it, it takes port 8000 and plain HTTP.
OHIF_COOKIE = "MONAILABEL_SERVER_URL"
_SAFE = ("GET", "HEAD")
_SHORTEST = 16
_ENTRY = "labelpod.entry"  # in the scope
_UNKNOWN = "Not authorised"


@dataclass(frozen=True)
class Entry:
    """Who asks, and how that was shown."""

    user: User
    by: Literal["bearer", "path", "cookie", "loopback"]
    token: str = ""


class Authentication:
    """Lets nobody pass without a token; who it is stands in the scope, as starlette has it, and in `users.current`.

    Args:
        app: behind it.
        known: the users.
        open_on_loopback: whether nobody needs a token if no user is known.
        failures: counts the requests without a valid token.

    """

    def __init__(
        self, app: ASGIApp, known: Users, open_on_loopback: bool = False, failures: Failures | None = None
    ) -> None:
        self._app = app
        self._users = known
        self._open_on_loopback = open_on_loopback
        self._failures = failures or Failures()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a user's request on, or refuse it with 401, or 429 if there were many such."""
        entry = identify(scope, self._users, self._open_on_loopback)
        if entry is None:
            if self._failures.note(client_address(scope)):
                raise HTTPException(429, _UNKNOWN, {"Retry-After": "60"})
            raise HTTPException(401, _UNKNOWN, {"WWW-Authenticate": "Bearer"})
        scope["user"], scope[_ENTRY] = entry.user, entry
        users.current.set(entry.user)
        await self._app(scope, receive, send)


class BrowserLogin:
    """Gives a browser that opens the token's URL its cookie; any other request passes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Log the browser in, or pass the request on."""
        await (browser_login(scope, scope[_ENTRY]) or self._app)(scope, receive, send)


def identify(scope: Scope, known: Users, open_on_loopback: bool) -> Entry | None:
    """The user whose token the request shows, None without a valid one. A token in front of the path is taken off."""
    headers = Headers(scope=scope)
    if open_on_loopback and not known.all():
        local = urlsplit(f"//{headers.get('host', '')}").hostname in LOOPBACK
        return Entry(User("local", Role.ADMIN), "loopback") if local and _same_origin(scope, headers) else None
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        user = known.find(bearer.strip())
        return Entry(user, "bearer") if user else None
    first = scope["raw_path"].decode("latin-1").split("/", 2)[1:]
    if first and len(first[0]) >= _SHORTEST and (user := known.find(first[0])):
        _take_off(scope, first[0])
        return Entry(user, "path", first[0])
    token = _cookie(headers)
    if token and (user := known.find(token)):
        # A page of another origin on this machine may send the browser here, cookie and all.
        return Entry(user, "cookie") if _same_origin(scope, headers) else None
    return None


def browser_login(scope: Scope, entry: Entry) -> Response | None:
    """For a browser that opens the token's URL: a cookie, and the same page without the token in its address."""
    headers = Headers(scope=scope)
    if entry.by != "path" or scope["method"] != "GET" or "text/html" not in headers.get("accept", ""):
        return None
    query = scope["query_string"].decode("latin-1")
    place = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
    secure = scope["scheme"] == "https" or headers.get("x-forwarded-proto", "") == "https"
    answer = RedirectResponse(place, 303)
    answer.set_cookie(COOKIE, entry.token, path="/", secure=secure, httponly=True, samesite="strict")
    server = f"{'https' if secure else 'http'}://{headers.get('host', '')}/"
    answer.set_cookie(OHIF_COOKIE, quote(server, safe=""), path="/", secure=secure, samesite="strict")
    return answer


def _take_off(scope: Scope, token: str) -> None:
    # One slash: MONAI Label Reviewer puts its own behind that of the pasted address.
    rest = "/" + scope["raw_path"].decode("latin-1").removeprefix(f"/{token}").lstrip("/")
    scope["raw_path"], scope["path"] = rest.encode("latin-1"), unquote(rest)


def _cookie(headers: Headers) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _same_origin(scope: Scope, headers: Headers) -> bool:
    if scope["method"] in _SAFE:
        return True
    origin = headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc == headers.get("host")
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")

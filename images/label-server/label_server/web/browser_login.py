"""How a browser is logged in and out: by the address with the token, after a question if its user may not want that.

An address may come from somebody else. If it belongs to another user than who is logged in, or if another site sends
the browser here, the user is asked first: what is labelled then would be stored in that other name.
"""

from html import escape
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from label_server.users import User
from label_server.web.browser_sessions import BrowserSessions, cookie_name, cookies, secure
from label_server.web.token_auth import ENTRY, Entry, same_origin

# Where OHIF's panel for MONAI Label looks up the server's URL; without it, it takes port 8000 and plain HTTP.
OHIF_COOKIE = "MONAILABEL_SERVER_URL"
_LOGIN, _LOGOUT = "/login", "/logout"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    # With no-referrer, browsers would not say where a form comes from.
    "Referrer-Policy": "strict-origin",
    # They may hold the token beside the words of a link: compressed, their length would tell it bit by bit.
    "Cache-Control": "no-store, no-transform",
}


class BrowserLogin:
    """Gives a browser that opens the token's URL a session, and ends it at `/logout`; any other request passes."""

    def __init__(self, app: ASGIApp, sessions: BrowserSessions) -> None:
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Log the browser in or out, or pass the request on."""
        await (self._answer(scope, scope[ENTRY]) or self._app)(scope, receive, send)

    def _answer(self, scope: Scope, entry: Entry) -> Response | None:
        method, path = scope["method"], scope["path"]
        if entry.by == "path" and method == "POST" and f"{path}/".startswith(f"{_LOGIN}/"):
            return self._chosen(scope, entry)
        if entry.by == "path" and method == "GET" and "text/html" in Headers(scope=scope).get("accept", ""):
            return self._opened(scope, entry)
        if entry.by == "cookie" and path == _LOGOUT and method in ("GET", "POST"):
            return self._log_out(scope, entry) if method == "POST" else _page(*_logout(entry.user))
        return None

    def _opened(self, scope: Scope, entry: Entry) -> Response:
        """For a browser that opens the token's URL."""
        session = self._sessions.of(scope)
        if (session and session[1] != entry.user) or (not session and _sent_by_another_site(scope)):
            return _page(*_choice(scope, entry, session and session[1]))
        return self._log_in(scope, entry, _place(scope))

    def _chosen(self, scope: Scope, entry: Entry) -> Response:
        """For a browser whose user has pressed the button; behind the token and /login is where it goes on."""
        if not same_origin(scope):
            return JSONResponse({"detail": "This button is on another site's page"}, 403)
        return self._log_in(scope, entry, "/" + _place(scope).removeprefix(_LOGIN).lstrip("/"))

    def _log_in(self, scope: Scope, entry: Entry, place: str) -> Response:
        """The same page without the token in its address, and a new session in the place of another."""
        if session := self._sessions.of(scope):
            self._sessions.end(session[0])
        answer = RedirectResponse(place, 303)
        tls = secure(scope)
        new = self._sessions.begin(entry.token)
        answer.set_cookie(cookie_name(scope), new, path="/", secure=tls, httponly=True, samesite="strict")
        # It is no secret. It comes with a link from another site, too, and tells that somebody is logged in.
        answer.set_cookie(OHIF_COOKIE, _server(scope), path="/", secure=tls, samesite="lax")
        return answer

    def _log_out(self, scope: Scope, entry: Entry) -> Response:
        self._sessions.end(entry.token)
        answer = _page("Logged out", f"<p>{escape(entry.user.name)} is logged out of this browser.</p>")
        for name in (cookie_name(scope), OHIF_COOKIE):
            answer.delete_cookie(name, path="/", secure=secure(scope))
        return answer


def _sent_by_another_site(scope: Scope) -> bool:
    """Whether another site, or another port of this host, has sent the browser here.

    Browsers tell under TLS and to their own machine. Where they do not, a strict cookie stays away from such a request
    and a lax one does not.
    """
    site = Headers(scope=scope).get("sec-fetch-site")
    if site is not None:
        return site not in ("none", "same-origin")
    return _server(scope) in cookies(scope, OHIF_COOKIE) and not list(cookies(scope, cookie_name(scope)))


def _server(scope: Scope) -> str:
    """The URL of the server as the browser knows it, as the value of a cookie."""
    server = f"{'https' if secure(scope) else 'http'}://{Headers(scope=scope).get('host', '')}/"
    return quote(server, safe="")


def _place(scope: Scope) -> str:
    """What was asked for, without the token."""
    query = scope["query_string"].decode("latin-1")
    return scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")


def _choice(scope: Scope, entry: Entry, present: User | None) -> tuple[str, str]:
    """The question whether to go on as the token's user; with no script, and nothing is done before the button."""
    name, place = escape(entry.user.name), _place(scope)
    question = f"The address that was opened belongs to <b>{name}</b>: what you label will be stored in that name."
    action = escape(f"/{entry.token}{_LOGIN}{place}")
    body = f'<p>{question}</p><form method="post" action="{action}"><button>Go on as {name}</button></form>'
    if present:
        now = escape(present.name)
        body = f'<p>This browser is logged in as <b>{now}</b>.</p>{body}<p><a href="{escape(place)}">Stay {now}</a></p>'
    return f"Go on as {name}?", body


def _logout(user: User) -> tuple[str, str]:
    return "Log out?", f'<form method="post" action="{_LOGOUT}"><button>Log {escape(user.name)} out</button></form>'


def _page(title: str, body: str) -> Response:
    text = (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        f"<title>{title}</title><main><h1>{title}</h1>{body}</main></html>\n"
    )
    return HTMLResponse(text, headers=_HEADERS)

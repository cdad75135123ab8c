"""The gateway: what every request goes through before an endpoint sees it, as a list of middlewares with one job each.

The order is that of cost: what can be refused without reading anything is refused first. Only `/healthz` answers
without a token. What is behind the gateway is no matter of this module: asgi.py puts the two together.
"""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from label_server.settings import IN_POD, TRUSTED_NAMES, TRUSTED_PROXIES
from label_server.users import Users
from label_server.web.audit_log import Audit, AuditLog
from label_server.web.browser_login import BrowserLogin
from label_server.web.browser_sessions import BrowserSessions
from label_server.web.compression import Compression
from label_server.web.metrics import Monitors, RequestFigures
from label_server.web.middleware import AccessLog, AddressCheck, Liveness, Refusals, SecurityHeaders, UseNote
from label_server.web.rate_limits import BodyLimit, Concurrency, HeaderLimit
from label_server.web.refusal_pages import RefusalPages
from label_server.web.request_ids import RequestIds
from label_server.web.token_auth import Authentication
from label_server.web.trusted_proxy import TrustedProxy


def middleware(
    known: Users, open_on_loopback: bool, sessions: BrowserSessions, audit: Audit | None = None
) -> list[Middleware]:
    """List what a request goes through, the first one first.

    Args:
        known: the users.
        open_on_loopback: whether nobody needs a token if no user is known.
        sessions: of browsers.
        audit: records who does what; None for nobody.

    """
    return [
        Middleware(Liveness),
        Middleware(TrustedProxy, TRUSTED_PROXIES, TRUSTED_NAMES, IN_POD),
        Middleware(RequestIds),
        Middleware(AccessLog),
        Middleware(SecurityHeaders),
        Middleware(Compression),
        Middleware(RefusalPages),
        Middleware(Refusals),
        Middleware(HeaderLimit),
        Middleware(RequestFigures),
        *([Middleware(AuditLog, audit)] if audit else []),
        Middleware(Authentication, known, sessions, open_on_loopback),
        Middleware(AddressCheck),
        Middleware(Monitors),
        Middleware(UseNote),
        Middleware(Concurrency),
        Middleware(BrowserLogin, sessions),
        Middleware(BodyLimit),
    ]


class Gateway:
    """An application behind the gateway.

    Args:
        inner: the application.
        known: the users.
        open_on_loopback: whether nobody needs a token if no user is known.
        sessions: of browsers; None: they end with this process.
        audit: records who does what; None for nobody.

    """

    def __init__(
        self,
        inner: ASGIApp,
        known: Users,
        open_on_loopback: bool,
        sessions: BrowserSessions | None = None,
        audit: Audit | None = None,
    ) -> None:
        self._inner = self._guarded = inner
        self._audit = audit
        for part in reversed(middleware(known, open_on_loopback, sessions or BrowserSessions(known), audit)):
            self._guarded = part.cls(self._guarded, *part.args, **part.kwargs)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request through the gateway; the start and the end of the server are no requests."""
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            if self._audit:
                self._audit.close()
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await self._guarded(scope, receive, send)

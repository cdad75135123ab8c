"""Records who did what, a line for each request; of many alike, as a viewer's hundreds of frames, the first and a sum.

A record holds the time, user, role, address, action, study, series, outcome, duration and the request's number, and no
other word of a client's: neither a name of a patient nor a forged line can get into it.
"""

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from label_server import request_id
from label_server.audit import Kind, Record, Trail
from label_server.web import audit_actions
from label_server.web.answers import Answer
from label_server.web.audit_actions import UID
from label_server.web.rate_limits import client_address

logger = logging.getLogger(__name__)

ALIKE_SECONDS = 300
_MOST_ALIKE = 10_000
_SAFE = ("GET", "HEAD")
_UNRECORDED = "The audit log cannot be written, and nothing is changed without it"
_IMAGE_KEYS = ("image", "label", "id")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


Key = tuple[object, ...]


@dataclass
class _Seen:
    until: float
    kind: Kind
    record: Record
    repeats: int = 0


class Alike:
    """Requests that one line stands for; how many there were is told when their time is over."""

    def __init__(self) -> None:
        self._seen: OrderedDict[Key, _Seen] = OrderedDict()

    def first(self, key: Key, kind: Kind, record: Record) -> bool:
        """Whether this is the first of its kind for a while; the others are counted."""
        if seen := self._seen.get(key):
            seen.repeats, seen.record = seen.repeats + 1, record
            return False
        self._seen[key] = _Seen(time.monotonic() + ALIKE_SECONDS, kind, record)
        return True

    def over(self, everything: bool = False) -> Iterator[tuple[Kind, Record]]:
        """The sums of those whose time is over, or of all."""
        while self._seen:
            key, seen = next(iter(self._seen.items()))
            if not everything and seen.until > time.monotonic() and len(self._seen) <= _MOST_ALIKE:
                return
            del self._seen[key]
            if seen.repeats:
                yield seen.kind, seen.record | {"times": seen.repeats}


class Audit:
    """What is recorded of a request, and where to.

    Args:
        trail: the files.
        study_of: the study of an image, if that is known without asking anybody.

    """

    def __init__(self, trail: Trail, study_of: Callable[[str], str | None]) -> None:
        self._trail = trail
        self._study_of = study_of
        self._alike = Alike()

    def works(self) -> bool:
        """Whether something can be recorded."""
        return self._trail.works()

    def note(self, scope: Scope, status: int, milliseconds: int) -> None:
        """Record a request that has been answered, if it is one of those that are."""
        for each in self._alike.over():
            self._write(*each)
        if "user" in scope:
            kind, key, record = self._described(scope, status)
        else:
            kind, key, record = Kind.REFUSAL, (client_address(scope),), _login(scope)
        record |= {"outcome": status, "milliseconds": milliseconds, "request": request_id.current.get()}
        if kind == Kind.CHANGE or (kind and self._alike.first(key, kind, record)):
            self._write(kind, record)

    def close(self) -> None:
        """Record the sums whose time is not over."""
        for each in self._alike.over(everything=True):
            self._write(*each)

    def _described(self, scope: Scope, status: int) -> tuple[Kind | None, Key, Record]:
        """Where a user's request belongs, if anywhere; what it shares with those alike; its record."""
        action = audit_actions.action(scope["method"], scope["path"])
        refused = status >= 400 and not (action is audit_actions.ASK and status == 404)
        study, series = self._subject(scope, refused)
        user, address = scope["user"], client_address(scope)
        record = {"user": user.name, "role": user.role.name.lower(), "address": address}
        record |= {"action": action.words, "study": study or None, "series": series or None}
        # What a client makes up and is refused makes no line of its own.
        about = (status,) if refused else (study, series)
        kind = Kind.REFUSAL if refused else action.kind
        return kind, (user.name, address, action.words, *about), record

    def _subject(self, scope: Scope, refused: bool) -> tuple[str, str]:
        """The study and the image series of a request, "" for none."""
        study, series = audit_actions.dicomweb_subject(scope["path"])
        if not study:
            asked = dict(parse_qsl(scope["query_string"].decode("latin-1")))
            series = next((asked[key] for key in _IMAGE_KEYS if key in asked), "")
            study = (self._study_of(series) if series else None) or ""
        # An image of a folder has the name of its file; that it is one shows only if it was found.
        if not re.fullmatch(UID, series) and (refused or not _PLAIN.fullmatch(series)):
            series = ""
        return study, series

    def _write(self, kind: Kind, record: Record) -> None:
        try:
            self._trail.write(kind, record)
        except OSError as error:
            told = ", ".join(f"{key} {value}" for key, value in record.items())
            logger.error(f"the audit log cannot be written, {error.strerror}: {told}")


class AuditLog:
    """Records each request when it has been answered; while nothing can be recorded, nothing is changed."""

    def __init__(self, app: ASGIApp, audit: Audit) -> None:
        self._app = app
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and record it, or refuse with 503 what may change something."""
        if scope["method"] not in _SAFE and not self._audit.works():
            raise HTTPException(503, _UNRECORDED, {"Retry-After": "30"})
        answer = Answer(send)
        try:
            await answer.of(self._app, scope, receive)
        finally:
            self._audit.note(scope, answer.status, round(answer.milliseconds))


def _login(scope: Scope) -> Record:
    """A request without a valid token: of a stranger nothing is written down but the address."""
    stranger = {"user": "-", "role": "-", "address": client_address(scope), "action": "login"}
    return stranger | {"study": None, "series": None}

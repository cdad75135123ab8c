"""Sessions of browsers, and the cookie that carries one: an id that the server made, never the token.

Of an id only its digest is kept, so that whoever reads the file can log in as nobody. It begins as the token's digest
does: so a door keeps a user at one of several label servers, which share the file. A session is worth as much as the
token that it began with: it ends when the user is revoked or gets another token, and after half a day anyway.
"""

import fcntl
import json
import logging
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import Scope

from label_server.users import User, Users
from labelpod_common import atomic_file, users_file

logger = logging.getLogger(__name__)

SECONDS = 12 * 3600
_AHEAD = 300  # seconds
_MOST_OF_A_USER = 16
_MOST = 2048
_KEY = 8  # letters of a token's digest: enough to tell users apart, and nothing to find the token by


@dataclass(frozen=True)
class Session:
    """The digest of the token that it began with, and its end in seconds since 1970."""

    token: str
    ends: float


class BrowserSessions:
    """Who is logged in with which browser.

    Args:
        known: the users.
        file: keeps the sessions, so that a restart logs nobody out, and other label servers with the same file know
            them; None: only this process knows them.

    """

    def __init__(self, known: Users, file: Path | None = None) -> None:
        self._known = known
        self._file = file
        self._seen: object = None
        self._sessions: dict[str, Session] = {}  # the one that ends first comes first

    def begin(self, token: str) -> str:
        """Make a session of the user with this token; the longest open ones make way if there are many.

        Returns:
            Its id, which nobody but the browser is told.

        """
        digest = users_file.digest(token)
        session = f"{digest[:_KEY]}.{secrets.token_urlsafe(32)}"
        with self._alone():
            lasting = {key: each for key, each in self._latest().items() if each.ends > time.time()}
            own = [key for key, each in lasting.items() if each.token == digest]
            while len(own) >= _MOST_OF_A_USER:
                del lasting[own.pop(0)]
            while len(lasting) >= _MOST:
                del lasting[next(iter(lasting))]
            lasting[users_file.digest(session)] = Session(digest, time.time() + SECONDS)
            self._keep(lasting)
        return session

    def find(self, session: str) -> User | None:
        """Whose session this is, if it has not ended."""
        found = self._latest().get(users_file.digest(session))
        return self._known.all().get(found.token) if found and found.ends > time.time() else None

    def end(self, session: str) -> None:
        """End a session."""
        digest = users_file.digest(session)
        with self._alone():
            self._keep({key: each for key, each in self._latest().items() if key != digest})

    def of(self, scope: Scope) -> tuple[str, User] | None:
        """The session that a request shows, and whose it is.

        A page at another port of this host may have set cookies of this name: those of no session do no harm, and of
        the sessions of two users neither counts.
        """
        found = {value: user for value in cookies(scope, cookie_name(scope)) if (user := self.find(value))}
        return next(iter(found.items())) if len(set(found.values())) == 1 else None

    def _latest(self) -> dict[str, Session]:
        """What is known by now: another label server may have written since."""
        if self._file and (seen := _state(self._file)) != self._seen:
            self._sessions, self._seen = _read(self._file), seen
        return self._sessions

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other label server write meanwhile; if there can be no lock, nothing can be written either."""
        try:
            lock = self._file.with_suffix(".lock").open("w") if self._file else None
        except OSError:
            lock = None
        if lock is None:
            yield
            return
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _keep(self, sessions: dict[str, Session]) -> None:
        self._sessions = sessions
        if self._file:
            content = json.dumps({key: asdict(each) for key, each in sessions.items()})
            try:
                atomic_file.write(self._file, content.encode(), 0o600)
                self._seen = _state(self._file)
            except OSError as error:
                logger.warning(f"Sessions of browsers will end with this process: {error.strerror}")


def _state(file: Path) -> object:
    """What changes when a file is replaced; None while there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read(file: Path) -> dict[str, Session]:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        read = {key: Session(str(each["token"]), float(each["ends"])) for key, each in kept.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        logger.warning(f"Sessions of browsers are not known any more: {type(error).__name__}")
        return {}
    # Whatever the file says, none lasts longer; but a clock may have been set back, or be another server's.
    latest = time.time() + SECONDS + _AHEAD
    return {key: each for key, each in read.items() if each.ends <= latest}


def secure(scope: Scope) -> bool:
    """Whether the browser speaks HTTPS, to the server itself or to a trusted proxy in front of it."""
    return bool(scope["scheme"] == "https")


def cookie_name(scope: Scope) -> str:
    """The name of the cookie.

    Under TLS browsers take one of this prefix only from the host itself, over TLS. Without, cookies go to every port of
    a host: the port in the name keeps two servers apart.
    """
    if secure(scope):
        return "__Host-labelpod"
    port = re.search(r":([0-9]{1,5})$", Headers(scope=scope).get("host", ""))
    return f"labelpod-{port.group(1) if port else '80'}"


def cookies(scope: Scope, name: str) -> Iterator[str]:
    """The values of the cookies of this name; whatever others hold, they keep nobody out."""
    for header in Headers(scope=scope).getlist("cookie"):
        for pair in header.split(";"):
            key, equals, value = pair.strip().partition("=")
            if equals and key == name:
                yield value

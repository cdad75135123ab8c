"""Who may use the server: access tokens, and the user and role that each stands for."""

import hmac
import logging
import os
import re
import threading
import time
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from labelpod_common import users_file

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_SHORTEST_OF_A_POD = 20
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Role(IntEnum):
    """What a user may do; each role but the first includes the ones before it."""

    MONITOR = 0  # a program that looks at the server's figures
    ANNOTATOR = 1
    REVIEWER = 2
    ADMIN = 3


@dataclass(frozen=True)
class User:
    """A person or program with a token."""

    name: str
    role: Role


# The user whose request is being answered, in the gateway as well as in the threads that work for it.
# Outside of requests, as in a training, it is the server itself.
_SERVER = User("server", Role.ADMIN)
current: ContextVar[User] = ContextVar("current", default=_SERVER)


class Users:
    """The users of a file that may change at any time, and the one whose token came with the environment.

    Args:
        file: JSON, `{"users": [{"name", "role", "sha256"}]}`; it need not exist.
        digest: of the token of the user `admin`; "" for none.
        others: entries as in the file, which came with the environment as well.

    """

    def __init__(self, file: Path, digest: str, others: Iterable[Mapping[str, str]] = ()) -> None:
        self._file = file
        self._own = _by_digest(others) | ({digest: User(users_file.ADMIN, Role.ADMIN)} if digest else {})
        self._users: dict[str, User] = {}
        self._version: tuple[int, int] | None = None
        self._looked_at = float("-inf")
        self._lock = threading.Lock()

    def find(self, token: str) -> User | None:
        """The token's user; every digest is compared, so that time tells nothing."""
        digest, found = users_file.digest(token), None
        for known, user in self.all().items():
            if hmac.compare_digest(known, digest):
                found = user
        return found

    def all(self) -> dict[str, User]:
        """Users by the digest of their token."""
        with self._lock:
            if time.monotonic() - self._looked_at > _LOOK_SECONDS:
                self._looked_at = time.monotonic()
                self._read()
            return self._users | self._own

    def _read(self) -> None:
        try:
            status = self._file.stat()
            version = (status.st_mtime_ns, status.st_ino)
            if version == self._version:
                return
            entries = users_file.parse(self._file.read_text(encoding="utf-8"))
            self._users = _by_digest(entries)
            self._version = version
        except FileNotFoundError:
            self._users, self._version = {}, None
        except (OSError, ValueError) as error:
            # A file that cannot be understood gives nobody access.
            logger.error(f"the users' file cannot be read: {type(error).__name__}")
            self._users, self._version = {}, None


def file(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the users are."""
    return Path(environ.get("USERS_FILE", "/run/users/users.json"))


def from_environment(environ: Mapping[str, str] = os.environ) -> Users:
    """The users that USERS_FILE, LABEL_SERVER_USERS, LABEL_SERVER_TOKEN, its _FILE and its _SHA256 name.

    Raises:
        OSError: the token's file cannot be read.
        ValueError: the digest is none, the token is a place where one was to be, or the users are none.

    """
    # A rented machine need not know the token to tell it from others; a token beside the digest is its template's.
    digest = environ.get("LABEL_SERVER_TOKEN_SHA256", "") or _digest_of_token(environ)
    if digest and not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError("LABEL_SERVER_TOKEN_SHA256 is not a SHA-256 digest in hexadecimal")
    others = []
    if text := environ.get("LABEL_SERVER_USERS"):
        try:
            others = users_file.parse(text)
        except ValueError as error:
            raise ValueError(f"LABEL_SERVER_USERS cannot be read: {error}") from None
    return Users(file(environ), digest, others)


def _digest_of_token(environ: Mapping[str, str]) -> str:
    token = environ.get("LABEL_SERVER_TOKEN", "")
    if not token and (path := environ.get("LABEL_SERVER_TOKEN_FILE")):
        token = Path(path).read_text(encoding="utf-8").strip()
    # Everybody who reads the template would know it, or guess what stands there for a secret that there is not.
    if "{{" in token or (token and environ.get("RUNPOD_POD_ID") and len(token) < _SHORTEST_OF_A_POD):
        raise ValueError("LABEL_SERVER_TOKEN is no token: RunPod has no secret of the name that its template says")
    return users_file.digest(token) if token else ""


def _by_digest(entries: Iterable[Mapping[str, str]]) -> dict[str, User]:
    return {each["sha256"]: User(each["name"], Role[each["role"].upper()]) for each in entries}

"""The number of a request: every log that the request leaves a line in has it, from the proxy in front to Orthanc."""

import re
import secrets
from contextvars import ContextVar

HEADER = "X-Request-ID"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{7,63}")
# Of the request that is being answered, in the gateway as well as in the threads that work for it; "" outside of one.
current: ContextVar[str] = ContextVar("request_id", default="")


def made() -> str:
    """A new one."""
    return secrets.token_hex(8)


def is_plain(text: str) -> bool:
    """Whether somebody else's may be taken: it can stand in any log as it is."""
    return _PLAIN.fullmatch(text) is not None

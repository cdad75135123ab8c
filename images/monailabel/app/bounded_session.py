"""A session to the DICOMweb server that waits for nothing for ever, and outlives a connection that is closed."""

from typing import Any

from requests import ConnectionError, PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ProtocolError

from app import dicomweb_tls

_CONNECT_SECONDS = 3.0
# Between two pieces of an answer, not for the whole of it.
_READ_SECONDS = 20.0


def bounded(session: Session) -> Session:
    """The session with a bound on every wait, a second try where a kept connection was closed, and trust in Orthanc."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Bounded())
    if certificate := dicomweb_tls.certificate():
        session.verify = certificate
        session.trust_env = False  # REQUESTS_CA_BUNDLE would win over it
    return session


class _Bounded(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        if trusting := dicomweb_tls.context():
            kwargs |= {"ssl_context": trusting, "assert_hostname": False}
        super().init_poolmanager(*args, **kwargs)

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        kwargs["timeout"] = kwargs.get("timeout") or (_CONNECT_SECONDS, _READ_SECONDS)
        try:
            return super().send(request, *args, **kwargs)
        except ConnectionError as problem:
            if not _closed(problem) or not isinstance(request.body, bytes | str | None):
                raise
            return super().send(request, *args, **kwargs)


def _closed(problem: ConnectionError) -> bool:
    """Whether the server ended a connection without an answer.

    Orthanc does so with one that was quiet for a second, and just then the next request may be on its way. All that is
    asked of it here may be asked twice.
    """
    return bool(problem.args) and isinstance(problem.args[0], ProtocolError)

"""HTTP sessions to the DICOMweb server: its login, a bound on every wait, and a second try if a connection was closed.

Upstream's session has no time-out: an Orthanc that hangs hangs the label server for ever
(monailabel 0.8.5 reads MONAI_LABEL_DICOMWEB_READ_TIMEOUT nowhere).
"""

import time
from http import HTTPStatus
from typing import Any

from requests import ConnectionError, PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ProtocolError

from label_server import request_id
from label_server.dicomweb import trust

_CONNECT_SECONDS = 3.0
# Between two pieces of an answer, not for the whole of it.
_READ_SECONDS = 20.0
# Orthanc keeps what it has gathered of a series when it is first asked for its headers, and answers 409 to who asks at
# the same time (1.12.7 with CheckRevisions): so often it is asked again, after so many seconds.
CONFLICTS, PAUSE = 5, 0.1


def session(user: str, password: str) -> Session:
    """A bounded session with this login, if both are given."""
    made = Session()
    made.auth = (user, password) if user and password else None
    return bounded(made)


def bounded(session: Session) -> Session:
    """Bound every wait of a session, repeat a request whose kept connection was closed, and trust Orthanc."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Bounded())
    if certificate := trust.certificate():
        session.verify = certificate
        session.trust_env = False  # REQUESTS_CA_BUNDLE would win over it
    return session


class _Bounded(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        if trusting := trust.context():
            kwargs |= {"ssl_context": trusting, "assert_hostname": False}
        super().init_poolmanager(*args, **kwargs)

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        if number := request_id.current.get():
            request.headers[request_id.HEADER] = number
        kwargs["timeout"] = kwargs.get("timeout") or (_CONNECT_SECONDS, _READ_SECONDS)
        for _ in range(CONFLICTS if request.method == "GET" else 0):
            answer = self._send(request, *args, **kwargs)
            if answer.status_code != HTTPStatus.CONFLICT:
                return answer
            answer.close()
            time.sleep(PAUSE)
        return self._send(request, *args, **kwargs)

    def _send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
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

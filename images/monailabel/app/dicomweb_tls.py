"""Trust in the stack's own Orthanc, whose certificate is of the site's own making.

DICOMWEB_CA_FILE holds the certificate that Orthanc shows, with the chain behind it. Orthanc is found under its name
in the stack, which no certificate carries, so that the name is not compared; therefore that one certificate alone is
trusted, and none that the chain has signed besides. Any other DICOMweb server is held to the system's authorities.
"""

import os
import ssl
import tempfile
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from requests import ConnectionError, PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ProtocolError

CONNECT_SECONDS = 3.0
# Between two pieces of an answer, not for the whole of it.
READ_SECONDS = 20.0
_OWN_ORTHANC = "orthanc"
_END = "-----END CERTIFICATE-----"


@cache
def context() -> ssl.SSLContext | None:
    """TLS that trusts Orthanc's certificate alone; None where the system's authorities count."""
    file = _certificate()
    if not file:
        return None
    trusting = ssl.create_default_context(cafile=file)
    trusting.check_hostname = False
    # It need not be an authority's: the server's own certificate will do.
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return trusting


def bounded(session: Session) -> Session:
    """The session with a bound on every wait, a second try where a kept connection was closed, and with that trust."""
    trusting = context()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Bounded(trusting))
    if trusting:
        session.verify = _certificate()
        session.trust_env = False  # REQUESTS_CA_BUNDLE would win over it
    return session


@cache
def _certificate() -> str:
    """A file with Orthanc's own certificate, the first of its chain; "" where it is not to be trusted like that."""
    chain = os.environ.get("DICOMWEB_CA_FILE")
    if not chain or urlsplit(os.environ.get("STUDIES", "")).hostname != _OWN_ORTHANC:
        return ""
    first, end, _ = Path(chain).read_text(encoding="ascii").partition(_END)
    file = Path(tempfile.gettempdir(), "orthanc.pem")
    file.write_text(first + end + "\n", encoding="ascii")
    return str(file)


class _Bounded(HTTPAdapter):
    def __init__(self, trusting: ssl.SSLContext | None) -> None:
        self._pool: dict[str, Any] = {"ssl_context": trusting, "assert_hostname": False} if trusting else {}
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **(kwargs | self._pool))

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        kwargs["timeout"] = kwargs.get("timeout") or (CONNECT_SECONDS, READ_SECONDS)
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

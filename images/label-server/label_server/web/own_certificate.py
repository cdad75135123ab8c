"""The certificate that this server shows: clients refuse it on the day on which it expires."""

import os
import ssl
from functools import cache
from pathlib import Path

from labelpod_common import pinned_certificate

_ANY_TIME = ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME, which Python has no name for


@cache
def expires() -> float | None:
    """When it expires, in seconds since 1970; None without one. Read once, as uvicorn does when it starts."""
    certificate, key = os.environ.get("TLS_CERT_FILE"), os.environ.get("TLS_KEY_FILE")
    if not certificate or not key:
        return None
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = pinned_certificate.trusting(Path(certificate).read_text(encoding="ascii"))
    client.verify_flags |= _ANY_TIME
    return pinned_certificate.expires(server, client).timestamp()

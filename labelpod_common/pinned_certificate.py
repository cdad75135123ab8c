"""Trust in one certificate, the first of a chain, whatever name it carries and whoever signed it.

The stack's services find each other under names and addresses that no certificate carries, so that the name is not
compared; therefore only that one certificate is trusted, and nothing else that its authority has signed.
"""

import re
import ssl
from contextlib import suppress
from datetime import UTC, datetime

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def first(chain: str) -> str:
    """The first certificate of a chain in PEM; "" if there is none."""
    found = _CERTIFICATE.search(chain)
    return f"{found.group()}\n" if found else ""


def trusting(chain: str) -> ssl.SSLContext:
    """A client's TLS that accepts the first certificate of this chain and no other.

    Raises:
        ssl.SSLError: the chain holds no certificate that can be read.

    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # The certificate need not be an authority's.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=first(chain) or "no certificate")
    return context


def expires(server: ssl.SSLContext, client: ssl.SSLContext) -> datetime:
    """When the certificate expires that a server shows to a client; they talk in memory.

    Raises:
        ssl.SSLError: the client does not trust it.

    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (asking, answering, asking, answering):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    shown = asking.getpeercert() or {}
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)

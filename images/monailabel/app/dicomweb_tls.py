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
from urllib.parse import urlsplit

_OWN_ORTHANC = "orthanc"
_END = "-----END CERTIFICATE-----"


@cache
def context() -> ssl.SSLContext | None:
    """TLS that trusts Orthanc's certificate alone; None where the system's authorities count."""
    file = certificate()
    if not file:
        return None
    trusting = ssl.create_default_context(cafile=file)
    trusting.check_hostname = False
    # It need not be an authority's: the server's own certificate will do.
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return trusting


@cache
def certificate() -> str:
    """A file with Orthanc's own certificate, the first of its chain; "" where it is not to be trusted like that."""
    chain = os.environ.get("DICOMWEB_CA_FILE")
    if not chain or urlsplit(os.environ.get("STUDIES", "")).hostname != _OWN_ORTHANC:
        return ""
    first, end, _ = Path(chain).read_text(encoding="ascii").partition(_END)
    file = Path(tempfile.gettempdir(), "orthanc.pem")
    file.write_text(first + end + "\n", encoding="ascii")
    return str(file)

"""Trust in the stack's own Orthanc, whose certificate is of the site's own making.

DICOMWEB_CA_FILE holds the certificate that Orthanc shows, with the chain behind it; only the certificate itself is
trusted. Any other DICOMweb server is held to the system's authorities.
"""

import os
import ssl
import tempfile
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from labelpod_common import pinned_certificate

_OWN_ORTHANC = "orthanc"


@cache
def context() -> ssl.SSLContext | None:
    """TLS that trusts only Orthanc's certificate; None if the system's authorities count."""
    file = certificate()
    return pinned_certificate.trusting(Path(file).read_text(encoding="ascii")) if file else None


@cache
def certificate() -> str:
    """A file with Orthanc's own certificate, the first of its chain; "" if it is not to be trusted like that."""
    chain = os.environ.get("DICOMWEB_CA_FILE")
    if not chain or urlsplit(os.environ.get("STUDIES", "")).hostname != _OWN_ORTHANC:
        return ""
    file = Path(tempfile.gettempdir(), "orthanc.pem")
    file.write_text(pinned_certificate.first(Path(chain).read_text(encoding="ascii")), encoding="ascii")
    return str(file)

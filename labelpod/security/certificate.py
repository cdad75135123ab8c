"""The certificate that the ports show: whether it is any good, and how the driver itself trusts it."""

import re
import ssl
from datetime import datetime
from pathlib import Path

from labelpod.config.settings import Settings
from labelpod.errors import DeployError
from labelpod_common import pinned_certificate

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def read(values: Settings) -> tuple[str, str]:
    """Certificate chain and key as their files have them.

    Raises:
        DeployError: a file cannot be read or is not PEM.

    """
    return _text("TLS_CERT", values.TLS_CERT, "CERTIFICATE"), _text("TLS_KEY", values.TLS_KEY, "PRIVATE KEY")


def check(values: Settings) -> datetime:
    """Serve and ask once, in memory, so that whatever would keep a client away shows now.

    Returns:
        When the certificate expires.

    Raises:
        DeployError: the files are not there, no pair, or not valid now.

    """
    read(values)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(values.TLS_CERT, values.TLS_KEY, password=_no_password)
        return pinned_certificate.expires(server, _trusting(values))
    except ssl.SSLCertVerificationError as error:
        raise _bad("TLS_CERT", error.verify_message) from None
    except ssl.SSLError as error:
        reason = (error.reason or "not PEM").replace("_", " ").lower()
        raise _bad("TLS_CERT", f"it and LABELPOD_TLS_KEY cannot be used together: {reason}") from None


def trust(values: Settings) -> ssl.SSLContext | bool:
    """What httpx verifies the stack's answers with: that very certificate, whatever name it carries."""
    return _trusting(values) if values.tls else True


def _trusting(values: Settings) -> ssl.SSLContext:
    chain, _ = read(values)
    try:
        return pinned_certificate.trusting(chain)
    except ssl.SSLError:
        raise _bad("TLS_CERT", f"{values.TLS_CERT} holds no certificate that can be read") from None


def _text(name: str, path: str, kind: str) -> str:
    try:
        text = Path(path).read_text(encoding="ascii")
    except OSError as error:
        raise _bad(name, f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    if not re.search(f"-----BEGIN [A-Z ]*{kind}-----", text):
        raise _bad(name, f"{path} holds no {kind.lower()} in PEM form")
    return text


def _no_password() -> str:
    raise _bad("TLS_KEY", "the key is encrypted, and no server could read it at its start")


def _bad(name: str, reason: str) -> DeployError:
    return DeployError(
        f"LABELPOD_{name}: {reason}",
        f"correct LABELPOD_{name} in .env, or empty LABELPOD_TLS_CERT and LABELPOD_TLS_KEY for plain HTTP",
    )

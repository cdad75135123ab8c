"""A certificate chain as a hospital's own authority makes one: root, intermediate, server; by OpenSSL."""

from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import NEW_KEY, openssl

_AUTHORITY = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
_SERVER = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"


@dataclass(frozen=True)
class Chain:
    """Files in PEM.

    Args:
        root: what clients trust.
        certificate: the server's, with the intermediate behind it.
        key: the server's.

    """

    root: Path
    certificate: Path
    key: Path


def make(folder: Path) -> Chain:
    """A chain for localhost and 127.0.0.1."""
    folder.mkdir(parents=True, exist_ok=True)
    root = _signed(folder, "root", _AUTHORITY, None)
    intermediate = _signed(folder, "intermediate", _AUTHORITY, "root")
    server = _signed(folder, "server", _SERVER, "intermediate")
    chain = folder / "chain.pem"
    chain.write_text(server.read_text() + intermediate.read_text())
    return Chain(root, chain, folder / "server.key")


def _signed(folder: Path, name: str, extensions: str, by: str | None) -> Path:
    (folder / f"{name}.ext").write_text(extensions)
    key = [*NEW_KEY, "-keyout", f"{name}.key"]
    openssl(folder, "req", "-new", *key, "-subj", f"/CN=labelpod test {name}", "-out", f"{name}.csr")
    signer = ["-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial"] if by else ["-signkey", f"{name}.key"]
    days = ["-days", "60", "-extfile", f"{name}.ext"]
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", *signer, *days, "-out", f"{name}.pem")
    return folder / f"{name}.pem"

"""Certificates for tests, made by openssl on the spot."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed: apt-get install it")
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
_CA = """
[ca]
default_ca = d
[d]
database = index.txt
rand_serial = yes
new_certs_dir = .
default_md = sha256
policy = p
[p]
commonName = supplied
"""


def make(folder: Path, name: str = "own", first: float = -1, last: float = 90) -> tuple[Path, Path]:
    """A certificate of its own making, valid between these days from now, and its key."""
    place = folder / f"{name}-ca"
    place.mkdir(parents=True)
    (place / "index.txt").touch()
    (place / "ca.cnf").write_text(_CA)
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    openssl(place, "req", "-new", *NEW_KEY, "-keyout", str(key), "-subj", "/CN=labelpod.test", "-out", "csr")
    days = ["-startdate", _in_days(first), "-enddate", _in_days(last)]
    signed = ["-batch", "-config", "ca.cnf", "-selfsign", "-in", "csr", "-keyfile", str(key), "-notext"]
    openssl(place, "ca", *signed, *days, "-out", str(certificate))
    return certificate, key


def issued(folder: Path) -> tuple[Path, Path]:
    """A certificate with that of the authority between it and the root, which is not with it; and its key."""
    place = folder / "issued"
    place.mkdir(parents=True)
    for name, issuer, is_authority in (("root", "", True), ("between", "root", True), ("leaf", "between", False)):
        (place / "ext").write_text(f"basicConstraints=critical,CA:{str(is_authority).upper()}\n")
        openssl(place, "req", "-new", *NEW_KEY, "-keyout", f"{name}.key", "-subj", f"/CN={name}", "-out", "csr")
        by = ["-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key"] if issuer else ["-signkey", f"{name}.key"]
        serial = ["-CAcreateserial"] if issuer else []
        signed = ["x509", "-req", "-in", "csr", "-days", "9", "-extfile", "ext", "-out", f"{name}.pem"]
        openssl(place, *signed, *by, *serial)
    chain = place / "chain.pem"
    chain.write_text((place / "leaf.pem").read_text() + (place / "between.pem").read_text())
    return chain, place / "leaf.key"


def encrypt(key: Path) -> Path:
    """The same key with a password."""
    encrypted = key.with_suffix(".encrypted")
    openssl(key.parent, "pkey", "-in", str(key), "-aes256", "-passout", "pass:secret", "-out", str(encrypted))
    return encrypted


def _in_days(days: float) -> str:
    return f"{datetime.now(UTC) + timedelta(days=days):%Y%m%d%H%M%SZ}"


def openssl(folder: Path, *arguments: str) -> None:
    """Run openssl in a folder."""
    result = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr

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

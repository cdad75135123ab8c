"""Packages of npm's that tests need, fetched by the machine's own npm and checked by their integrity."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest


def file(package: str, integrity: str, name: str, folder: Path) -> str:
    """The text of a file in a package, `name@version`; the test is skipped where npm is absent or reaches nobody."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed: apt-get install npm")
    fetched = subprocess.run(
        ["npm", "pack", "--silent", package], cwd=folder, capture_output=True, text=True, check=False
    )
    if fetched.returncode:
        pytest.skip(f"npm cannot fetch {package}: {fetched.stderr.strip()[-200:]}")
    archive = folder / fetched.stdout.strip()
    algorithm, _, digest = integrity.partition("-")
    assert base64.b64encode(hashlib.new(algorithm, archive.read_bytes()).digest()).decode() == digest
    with tarfile.open(archive) as packed:
        member = packed.extractfile(f"package/{name}")
        assert member is not None
        return member.read().decode()

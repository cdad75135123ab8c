"""A signature in a real registry: it holds for the image that was signed, and for no other."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labelpod.runpod import signing
from tests.support import registry as registries


@pytest.fixture
def registry(tmp_path: Path, engine: None) -> Iterator[str]:
    if not shutil.which("cosign"):
        pytest.skip("cosign is not installed (Debian package cosign)")
    with registries.serving(tmp_path) as address:
        yield address


def pushed(registry: str, tag: str, folder: Path) -> str:
    """A tiny image, by its digest."""
    (folder / tag).write_text(tag)
    subprocess.run(["tar", "-cf", f"{tag}.tar", tag], cwd=folder, check=True)
    name = f"{registry}/tiny:{tag}"
    for words in (("import", str(folder / f"{tag}.tar"), name), ("push", "-q", name)):
        subprocess.run(["docker", *words], capture_output=True, check=True)
    form = "{{index .RepoDigests 0}}"
    return subprocess.run(
        ["docker", "inspect", "-f", form, name], capture_output=True, text=True, check=True
    ).stdout.strip()


def verified(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    key = ["--key", str(folder / signing.PUBLIC), "--insecure-ignore-tlog=true"]
    return subprocess.run(["cosign", words[0], *key, *words[1:]], capture_output=True, text=True, check=False)


def test_a_signature_and_an_sbom_hold_for_what_was_signed_only(registry: str, tmp_path: Path):
    ours, other = pushed(registry, "ours", tmp_path), pushed(registry, "other", tmp_path)
    sbom = tmp_path / "sbom.json"
    sbom.write_text(json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}))
    signing.sign(ours, sbom, tmp_path / "secrets")
    assert verified(tmp_path / "secrets", "verify", ours).returncode == 0
    attested = verified(tmp_path / "secrets", "verify-attestation", "--type", "cyclonedx", ours)
    assert attested.returncode == 0, attested.stderr
    assert verified(tmp_path / "secrets", "verify", other).returncode != 0
    assert (tmp_path / "secrets" / signing.KEY).stat().st_mode & 0o077 == 0

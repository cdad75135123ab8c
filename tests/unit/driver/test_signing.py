"""A published image is signed and its SBOM attested, by cosign and without any service of others."""

import pytest

from labelpod.errors import DeployError
from labelpod.runpod import signing

IMAGE = f"registry.example/you/labelpod@sha256:{'a' * 64}"


@pytest.fixture
def cosign(programs):
    """A cosign that makes the keys that it is asked for."""
    programs.add("cosign", '[ "$1" != generate-key-pair ] || touch "$3.key" "$3.pub"; [ -z "$COSIGN_PASSWORD" ]')
    return programs


def test_an_image_is_signed_by_its_digest_and_its_sbom_attested(cosign, tmp_path):
    secrets = tmp_path / "secrets"
    signing.sign(IMAGE, tmp_path / "sbom.json", secrets)
    made, signed, attested = cosign.calls("cosign")
    assert made == f"generate-key-pair --output-key-prefix {secrets}/cosign"
    assert signed == f"sign --key {secrets}/cosign.key --tlog-upload=false --yes {IMAGE}"
    assert attested == (
        f"attest --key {secrets}/cosign.key --tlog-upload=false --yes --type cyclonedx"
        f" --predicate {tmp_path}/sbom.json {IMAGE}"
    )
    assert secrets.stat().st_mode & 0o777 == 0o700


def test_the_key_stays_the_same(cosign, tmp_path):
    for _ in range(2):
        signing.sign(IMAGE, tmp_path / "sbom.json", tmp_path / "secrets")
    assert [call.split()[0] for call in cosign.calls("cosign")] == [
        *("generate-key-pair", "sign", "attest", "sign", "attest")
    ]


def test_a_registry_that_takes_no_signature_is_an_error(programs, tmp_path):
    programs.add("cosign", "echo 'Error: UNAUTHORIZED' >&2; exit 1")
    (tmp_path / "cosign.key").touch()
    with pytest.raises(DeployError, match="cosign sign: Error: UNAUTHORIZED"):
        signing.sign(IMAGE, tmp_path / "sbom.json", tmp_path)


def test_without_cosign_it_is_said_that_the_image_is_not_signed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert signing.possible() is False
    assert "not signed: there is no cosign" in capsys.readouterr().err

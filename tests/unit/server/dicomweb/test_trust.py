"""Whose certificate is trusted: Orthanc's own where it is the stack's, the authorities' anywhere else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from label_server.dicomweb import http_session, trust
from tests.support.certificates import make, needs_openssl


@pytest.fixture(autouse=True)
def asked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process asks once."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for question in (trust.certificate, trust.context):
        question.cache_clear()
    yield
    for question in (trust.certificate, trust.context):
        question.cache_clear()


@needs_openssl
def test_the_stacks_own_orthanc_is_trusted_by_its_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    certificate, _ = make(tmp_path)
    chain = tmp_path / "chain.pem"
    chain.write_text(certificate.read_text() * 2)
    monkeypatch.setenv("DICOMWEB_CA_FILE", str(chain))
    monkeypatch.setenv("STUDIES", "https://orthanc:8042/dicom-web")
    assert Path(trust.certificate()).read_text().count("BEGIN") == 1, "the certificate itself, not who signed it"
    assert trust.context().cert_store_stats()["x509"] == 1
    session = http_session.session("", "")
    assert session.verify == trust.certificate() and session.trust_env is False


@pytest.mark.parametrize("studies", ["https://pacs.example/dicom-web", "https://orthanc.example/dicom-web", ""])
def test_any_other_server_is_held_to_the_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, studies: str):
    monkeypatch.setenv("DICOMWEB_CA_FILE", str(tmp_path / "chain.pem"))
    monkeypatch.setenv("STUDIES", studies)
    assert trust.certificate() == "" and trust.context() is None
    assert http_session.session("", "").verify is True

"""What is said of a certificate before anything is started with it, and whom the driver trusts."""

import http.server
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from labelpod.config.settings import Settings
from labelpod.errors import DeployError
from labelpod.security import certificate as tls
from tests.support import certificates

pytestmark = certificates.needs_openssl


def settings(certificate: Path, key: Path) -> Settings:
    return Settings(TLS_CERT=str(certificate), TLS_KEY=str(key))


@pytest.fixture
def refused(tmp_path):
    """The error's message for these two files."""

    def refuse(certificate: Path, key: Path) -> str:
        with pytest.raises(DeployError) as caught:
            tls.check(settings(certificate, key))
        assert ".env" in caught.value.remedy and "\n" not in caught.value.message
        return caught.value.message

    return refuse


def test_a_good_pair_tells_when_it_expires(tmp_path):
    expires = tls.check(settings(*certificates.make(tmp_path, last=90)))
    assert abs(expires - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=5)


def test_a_file_that_is_not_there_is_named(tmp_path, refused):
    certificate, key = certificates.make(tmp_path)
    assert refused(tmp_path / "absent.pem", key) == f"LABELPOD_TLS_CERT: {tmp_path}/absent.pem cannot be read: " + (
        "No such file or directory"
    )
    assert refused(certificate, tmp_path / "absent.key").startswith("LABELPOD_TLS_KEY: ")


@pytest.mark.parametrize("content", [b"", b"\x30\x82\x01\xff", b"-----BEGIN NONSENSE-----"])
def test_what_is_not_pem_is_refused(tmp_path, refused, content):
    certificate, key = certificates.make(tmp_path)
    (tmp_path / "other").write_bytes(content)
    assert "holds no certificate in PEM form" in refused(tmp_path / "other", key)
    assert "holds no private key in PEM form" in refused(certificate, tmp_path / "other")


@pytest.mark.parametrize("which", ["certificate", "key"])
def test_what_looks_like_pem_and_is_broken_is_refused(tmp_path, refused, which):
    files = dict(zip(("certificate", "key"), certificates.make(tmp_path), strict=True))
    lines = files[which].read_text().splitlines()
    files[which].write_text("\n".join([lines[0], "AAAA", lines[-1]]))
    assert refused(**files).startswith("LABELPOD_TLS_CERT: ")


def test_two_files_that_do_not_belong_together_are_refused(tmp_path, refused):
    certificate, _ = certificates.make(tmp_path, "one")
    _, key = certificates.make(tmp_path, "two")
    assert "key values mismatch" in refused(certificate, key)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_password(tmp_path, refused):
    certificate, key = certificates.make(tmp_path)
    assert refused(certificate, certificates.encrypt(key)).startswith("LABELPOD_TLS_KEY: the key is encrypted")


@pytest.mark.parametrize(("first", "last", "says"), [(-9, -1, "expired"), (1, 9, "not yet valid")])
def test_a_certificate_that_is_not_valid_today_is_refused(tmp_path, refused, first, last, says):
    assert says in refused(*certificates.make(tmp_path, first=first, last=last))


@pytest.fixture
def serve():
    """An HTTPS server with this certificate; its URL."""
    servers = []

    def start(certificate: Path, key: Path) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"https://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_configured_certificate_is_trusted_by_any_name(tmp_path, serve):
    pair = certificates.make(tmp_path)
    assert httpx.get(serve(*pair), verify=tls.trust(settings(*pair)), trust_env=False).status_code == 200


def test_no_other_certificate_is_trusted(tmp_path, serve):
    other = certificates.make(tmp_path, "other")
    trust = tls.trust(settings(*certificates.make(tmp_path)))
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(serve(*other), verify=trust, trust_env=False)


def test_only_the_first_of_a_chain_is_trusted(tmp_path, serve):
    certificate, key = certificates.make(tmp_path)
    signer = certificates.make(tmp_path, "signer")
    certificate.write_text(certificate.read_text() + signer[0].read_text())
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(serve(*signer), verify=tls.trust(settings(certificate, key)), trust_env=False)


def test_without_a_certificate_httpx_verifies_as_usual():
    assert tls.trust(Settings()) is True

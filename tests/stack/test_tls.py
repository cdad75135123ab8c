"""TLS for both services from TLS_CERT and TLS_KEY, with a chain of the site's own authority."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests.stack import chain as authority
from tests.stack.chain import Chain
from tests.support.annotator import Annotator
from tests.support.certificates import needs_openssl
from tests.support.clone import Clone
from tests.support.waiting import eventually

pytestmark = needs_openssl


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return authority.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, engine: None, chain: Chain) -> Iterator[Clone]:
    """A stack with TLS, brought up by one command."""
    clone = Clone.make(tmp_path_factory.mktemp("tls"), "labelpod-test-tls")
    clone.environment |= {"TLS_CERT": str(chain.certificate), "TLS_KEY": str(chain.key)}
    clone.done("up", "--yes", "--cpu")
    yield clone
    clone.cli("down", "--volumes", "--yes")


@pytest.fixture(scope="module")
def state(secured: Clone) -> dict[str, Any]:
    return secured.status()


def test_status_finds_both_services_over_tls(state):
    assert state["label_server"]["ready"] is True
    for service in ("label_server", "ohif", "orthanc"):
        assert state[service]["url"].startswith("https://"), service


def test_whoever_trusts_the_authority_is_served_and_nobody_else(state, chain):
    for url in (f"{state['label_server']['url']}info/", state["orthanc"]["url"]):
        login = (state["orthanc"]["username"], state["orthanc"]["password"])
        assert requests.get(url, auth=login, verify=str(chain.root), timeout=30).status_code in (200, 401)
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(url, timeout=30)
        with pytest.raises(requests.RequestException):
            requests.get(url.replace("https://", "http://"), timeout=30).raise_for_status()


def test_old_tls_is_not_spoken(state):
    for url in (state["label_server"]["url"], state["orthanc"]["url"]):
        old = ssl._create_unverified_context()
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.raises((urllib.error.URLError, OSError)):
            urllib.request.urlopen(url, context=old, timeout=10)


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES256-SHA384"], ids=["CBC-SHA1", "CBC"])
def test_weak_ciphers_are_not_spoken(state, cipher: str):
    for url in (state["label_server"]["url"], state["orthanc"]["url"]):
        weak = ssl._create_unverified_context()
        weak.maximum_version = ssl.TLSVersion.TLSv1_2
        weak.set_ciphers(f"{cipher}:@SECLEVEL=0")
        with pytest.raises((urllib.error.URLError, OSError), match=r"(?i)handshake|ssl"):
            urllib.request.urlopen(url, context=weak, timeout=10)
        weak.set_ciphers("ECDHE+AESGCM")
        with urllib.request.urlopen(f"{state['label_server']['url']}info/", context=weak, timeout=30) as answer:
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_the_browsers_cookie_is_for_tls_alone(state, chain):
    answer = requests.get(
        state["ohif"]["url"],
        headers={"Accept": "text/html"},
        verify=str(chain.root),
        allow_redirects=False,
        timeout=30,
    )
    cookies = answer.raw.headers.getlist("set-cookie")
    assert answer.status_code == 303 and cookies and all("secure" in each.lower() for each in cookies)


def test_a_study_is_pushed_labelled_and_stored(secured, state, chain, data: Path, monkeypatch: pytest.MonkeyPatch):
    """The client of the Slicer plugin verifies uploads and downloads alone; here they trust the authority."""
    secured.done("studies", "push", str(data / "chest-ct-mini"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(chain.root))
    annotator = Annotator(state["label_server"]["url"])
    ct = eventually(annotator.next_sample, 10, "the CT is offered")
    image = annotator.image(ct)
    voxels = np.zeros(image.GetSize()[::-1], np.uint8)
    voxels[20:25, 100:120, 100:120] = 1
    annotator.submit(ct, image, voxels)
    assert annotator.completed() == 1
    proxied = requests.get(f"{state['label_server']['url']}proxy/dicom/qido/series?Modality=SEG", timeout=30)
    assert proxied.status_code == 200 and len(proxied.json()) == 1

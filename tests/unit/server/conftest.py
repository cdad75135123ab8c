"""A label server and a DICOMweb server in the tests' process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import app, dicomweb, web
from tests.support.ct import Ct, ct
from tests.support.dicomweb import Pacs
from tests.support.web import Server


@pytest.fixture
def pacs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pacs]:
    """A DICOMweb server that holds nothing yet."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    yield from dicomweb.serve()


@pytest.fixture
def label_app(pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The label server's app, loaded."""
    return app.load(tmp_path, pacs.url, monkeypatch)


@pytest.fixture
def second(label_app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The app of another label server over the same DICOMweb server, in a workspace of its own."""
    return app.beside(label_app, tmp_path / "second", monkeypatch)


@pytest.fixture
def server(label_app: Any, tmp_path: Path) -> Iterator[Server]:
    """The label server, running."""
    with web.running(web.users(tmp_path), audit=web.audit(tmp_path)) as server:
        yield server


@pytest.fixture
def image(pacs: Pacs) -> Ct:
    """A CT that the DICOMweb server holds."""
    pacs.store(ct())
    return ct()

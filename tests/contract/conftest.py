"""A RunPod account of our own, and `deploy.py runpod` at work in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from labelpod import cli, console
from labelpod.commands import runpod as verbs
from labelpod.config.settings import PREFIX, Settings
from labelpod.project import Project
from labelpod.runpod import keys, pods, wait
from tests.contract.fake_runpod import KEY, FakeRunPod
from tests.contract.runpod_document import FILE, Document

TOKEN = "a-token-of-thirty-two-letters-00"
IMAGE = f"registry.example/labelpod@sha256:{'a' * 64}"


@pytest.fixture(scope="session")
def document() -> Document | None:
    return Document() if FILE.exists() else None


@pytest.fixture
def fake(document: Document | None) -> Iterator[FakeRunPod]:
    """The service; whatever broke its contract fails the test."""
    service = FakeRunPod(document)
    yield service
    service.close()
    assert service.violations == []


@dataclass
class Said:
    """What a verb printed, and how it ended."""

    code: int
    out: str
    err: str


Runpod = Callable[..., Said]


@pytest.fixture
def runpod(
    fake: FakeRunPod, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Runpod:
    """Call `deploy.py runpod ...`."""
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name, raising=False)
    monkeypatch.setattr(keys, "public_key", lambda _: "ssh-ed25519 AAAA labelpod")
    for module, name in ((wait, "_POLL_SECONDS"), (pods, "_POLL_SECONDS")):
        monkeypatch.setattr(module, name, 0.01)
    monkeypatch.setattr(pods, "_LISTED_SECONDS", 0.1)
    monkeypatch.setattr(verbs, "_MINUTES", 0.1)
    monkeypatch.setattr("labelpod.runpod.client._pause", lambda *_: 0.01)
    for stream in ("out", "err"):
        monkeypatch.setattr(getattr(console, stream), "width", 200)
    given = {
        "RUNPOD_API_KEY": KEY,
        "RUNPOD_API_URL": fake.url,
        "RUNPOD_PROXY_URL": fake.url + "/proxy/{pod}/",
        "LABEL_SERVER_TOKEN": TOKEN,
    }

    def call(*arguments: str, **environment: str) -> Said:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (given | environment).items():
                patch.setenv(PREFIX + name, value)
            capfd.readouterr()
            code = cli.main(["runpod", *arguments], Project(tmp_path))
            said = capfd.readouterr()
        assert KEY not in said.out + said.err
        return Said(code, said.out, said.err)

    return call


@pytest.fixture
def published(runpod: Runpod) -> str:
    """There is a template; its id."""
    said = runpod("publish", "--image", IMAGE)
    assert said.code == 0, said.err
    return said.out

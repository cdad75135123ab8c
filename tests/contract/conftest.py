"""A RunPod account of our own, and `deploy.py runpod` at work in it."""

import functools
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer.main

from labelpod import cli, console
from labelpod.commands import runpod as verbs
from labelpod.config.settings import PREFIX, Settings
from labelpod.docker import ownership
from labelpod.project import Project
from labelpod.runpod import keys, ledger, polling, wait
from tests.contract.fake_runpod import KEY
from tests.contract.runpod_document import FILE, Document
from tests.contract.unkind_runpod import UnkindRunPod

TOKEN = "a-token-of-thirty-two-letters-00"
IMAGE = f"registry.example/labelpod@sha256:{'a' * 64}"


@pytest.fixture(autouse=True)
def nobody_else_has_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs on this machine."""
    monkeypatch.setattr(ownership, "_docker", lambda *_: "")


# What every call of a verb would make anew, and what takes longer than the verb.
_COMMAND = functools.cache(typer.main.get_command)
_CERTIFICATES = functools.cache(ssl.create_default_context)


@pytest.fixture(scope="session")
def document() -> Document | None:
    return Document() if FILE.exists() else None


@pytest.fixture
def fake(document: Document | None) -> Iterator[UnkindRunPod]:
    """The service; whatever broke its contract fails the test."""
    service = UnkindRunPod(document)
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
    fake: UnkindRunPod, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Runpod:
    """Call `deploy.py runpod ...`, in a folder of its own, or in another machine's `at`."""
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name, raising=False)
    monkeypatch.setattr("typer.main.get_command", _COMMAND)
    monkeypatch.setattr("httpx._transports.default.create_ssl_context", lambda **_: _CERTIFICATES())
    monkeypatch.setattr(keys, "public_key", lambda _: "ssh-ed25519 AAAA labelpod")
    monkeypatch.setattr(wait, "_POLL_SECONDS", 0.01)
    for module in (polling, ledger):
        monkeypatch.setattr(module, "time", fake.clock)
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

    def call(*arguments: str, at: Path = tmp_path, **environment: str) -> Said:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (given | environment).items():
                patch.setenv(PREFIX + name, value)
            capfd.readouterr()
            code = cli.main(["runpod", *arguments], Project(at))
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


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Another machine's checkout."""
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "elsewhere"

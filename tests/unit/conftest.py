"""Stand-ins that several tests share: programs on PATH, a web server that behaves as told, a label server."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from labelpod.config.settings import Settings
from labelpod.docker import info, ownership
from labelpod.host import gpu, package_sources
from labelpod.render import render
from tests.support.paths import ROOT


class Programs:
    """Shell scripts in a folder that is first on PATH; each call is noted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._noted = folder / "calls"

    def add(self, name: str, script: str = "") -> Path:
        program = self.folder / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> "{self._noted}"\n{script}\n')
        program.chmod(0o755)
        return program

    def calls(self, name: str) -> list[str]:
        """Arguments of each call of a program, in order."""
        lines = self._noted.read_text().splitlines() if self._noted.exists() else []
        return [line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} ")]

    def forget(self) -> None:
        self._noted.unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def nothing_is_known_of_the_machine() -> None:
    """A process asks a program once; each test stands for a process of its own."""
    for question in (package_sources._output, info.docker_info, gpu.find):
        question.cache_clear()


@pytest.fixture(autouse=True)
def nobody_else_has_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs on this machine; tests/unit/driver/test_ownership.py asks an engine of its own."""
    monkeypatch.setattr(ownership, "_docker", lambda *_: "")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return Programs(folder)


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        self.server.pages.get(self.path.partition("?")[0], answer(404))(self)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


def answer(status: int = 200, body: bytes = b"", length: int | None = None) -> Callable[[_Page], None]:
    """A page; `length` is what it says of itself where that is not the truth."""

    def page(request: _Page) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body) if length is None else length))
        request.end_headers()
        request.wfile.write(body)

    return page


def hang(body: bytes = b"") -> Callable[[_Page], None]:
    """A page that stops in the middle, or says nothing at all, until the test is over."""

    def page(request: _Page) -> None:
        if body:
            answer(200, body, length=1_000_000)(request)
        request.server.over.wait(30)

    return page


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch):
    """A web server: `pages` says what it answers, `asked` what it was asked (path, headers)."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    server.pages, server.asked, server.over = {}, [], threading.Event()
    server.answer, server.hang = answer, hang
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def listener() -> Iterator[int]:
    """The port of a program, this one, that listens on 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@dataclass
class Call:
    """How the stand-in for Python was called."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str

    @property
    def conf(self) -> dict[str, str]:
        """The --conf pairs."""
        starts = [index for index, word in enumerate(self.arguments) if word == "--conf"]
        return {self.arguments[index + 1]: self.arguments[index + 2] for index in starts}

    def option(self, name: str) -> str:
        return self.arguments[self.arguments.index(name) + 1]


@dataclass
class Start:
    """What start_server did: its exit code and words, and the calls of Python, None if there was none."""

    code: int
    stderr: str
    prepare: Call | None
    server: Call | None


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Start]:
    """Run the rendered start_server with a stand-in for Python, in the given environment and nothing else."""
    folder, workspace = tmp_path / "bin", tmp_path / "workspace"
    folder.mkdir()
    workspace.mkdir()
    calls = tmp_path / "calls.jsonl"
    (folder / "note.py").write_text(
        "import json, os, sys\n"
        f"with open({str(calls)!r}, 'a') as file:\n"
        "    print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]), file=file)\n"
        "sys.exit(int(os.environ.get('PREPARE_FAILS', 0)) if sys.argv[1:] == ['-m', 'label_server.startup'] else 0)\n"
    )
    (folder / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{folder}/note.py" "$@"\n')
    (folder / "python").chmod(0o755)
    # Docker's name server, which knows an address by its container's name.
    (folder / "getent").write_text('#!/bin/sh\n[ -n "$NAMED" ] && echo "172.18.0.3  $NAMED"\n')
    (folder / "getent").chmod(0o755)

    def run(settings: Settings | None = None, *words: str, **environment: str) -> Start:
        text = render(settings or Settings(), ROOT / "templates")["start_server.sh"]
        assert text.count(":-/workspace}") == 1
        script = tmp_path / "start_server"
        script.write_text(text.replace(":-/workspace}", f":-{workspace}}}"))
        calls.unlink(missing_ok=True)
        result = subprocess.run(
            ["/bin/bash", str(script), *words],
            env={"PATH": f"{folder}:/usr/bin:/bin", "TMPDIR": str(tmp_path), **environment},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        noted = [Call(*json.loads(line)) for line in calls.read_text().splitlines()] if calls.exists() else []
        prepare = [call for call in noted if call.arguments == ["-m", "label_server.startup"]]
        server = [
            call
            for call in noted
            if call.arguments[1:2] not in (["label_server.startup"], ["label_server.pod.standby"])
        ]
        assert len(prepare) <= 1 and len(server) <= 1
        return Start(result.returncode, result.stderr, *(found[0] if found else None for found in (prepare, server)))

    return run


@pytest.fixture
def model_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models' folder of a label server that serves two, untrained: this process has its environment."""
    environment = {"APP": "radiology", "WORKSPACE": str(tmp_path), "WEIGHTS": str(tmp_path / "baked"), "CONF": ""}
    environment |= {"MODELS": "deepgrow_2d, deepgrow_3d", "BUNDLES": "", "LABELS": "nodule1:1"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "radiology" / "model"
    folder.mkdir(parents=True)
    return folder

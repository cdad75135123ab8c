"""A machine for the doctor to look at; docker, apt-get and nvidia-smi are stand-ins first on PATH."""

import json
import os
import shutil
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace

import pytest

from labelpod.config.settings import PREFIX
from labelpod.docker.tags import LABEL_SERVER_TAG, ORTHANC_TAG
from labelpod.doctor import examine
from labelpod.host import npm_config
from labelpod_common.doctor_report import Finding
from tests.support.ports import held_port

PYTHON = sys.executable
NOWHERE = "http://127.0.0.1:9"
WHEEL = b'<a href="monailabel-0.8.5-py3-none-any.whl">monailabel-0.8.5-py3-none-any.whl</a>'
needs_apt = pytest.mark.skipif(not Path("/usr/lib/apt/apt-helper").exists(), reason="no apt on this machine")


class Web(BaseHTTPRequestHandler):
    """A registry that wants a login, a Debian mirror and a Python index in one."""

    def do_GET(self):
        status, body = self.server.pages.get(self.path, (404, b""))
        self.server.asked.append(self.path)
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Machine:
    """A healthy machine, to be made ill by a test."""

    def __init__(self, folder: Path, packages, monkeypatch: pytest.MonkeyPatch) -> None:
        self.env_file = folder / ".env"
        self.bin = folder / "bin"
        self.bin.mkdir()
        self._monkeypatch = monkeypatch
        self.info = {
            "ServerVersion": "26.1.5+dfsg1",
            "DockerRootDir": "/",
            "MemTotal": 25_000_000_000,
            "Runtimes": {"runc": {}},
            "IndexServerAddress": f"http://{packages.host}/v1/",
            "ClientInfo": {"Plugins": [plugin("compose", "v2.26.1"), plugin("buildx", "0.13.1+ds1")]},
        }
        for name in list(os.environ):
            if name.startswith(PREFIX) or name.upper().startswith(("PIP_", "NPM_CONFIG_")):
                monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("NPM_CONFIG_USERCONFIG", os.devnull)
        monkeypatch.setattr(npm_config, "_SYSTEM", ())
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1")
        (folder / "apt.conf").write_text('Acquire::http::Proxy::127.0.0.1 "DIRECT";\n')
        monkeypatch.setenv("APT_CONFIG", str(folder / "apt.conf"))
        monkeypatch.setenv("PATH", f"{self.bin}{os.pathsep}{os.environ['PATH']}")
        self.ports = {name: held_port() for name in ("LABEL_SERVER_PORT", "ORTHANC_PORT", "DICOM_PORT")}
        self.settings()
        self.disk(free_gib=100)
        self.sources(f"http://{packages.host}")
        self.program("nvidia-smi", "exit 9")
        self.docker()
        self.pip("exit 0")

    def program(self, name: str, script: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def docker(self, images=(LABEL_SERVER_TAG, ORTHANC_TAG), containers="", error="") -> None:
        """A docker that says `info`; with an error, one whose engine does not answer."""
        info = self.info | ({"ServerVersion": ""} if error else {})
        for name, text in {"info": json.dumps(info), "image": "\n".join(images), "ps": containers}.items():
            (self.bin / f"docker.{name}").write_text(text)
        failing = f"echo '{error}' >&2; exit 1" if error else ""
        self.program("docker", f'/bin/cat "{self.bin}/docker.$1"\n{failing}')

    def sources(self, url: str) -> None:
        """Where apt and pip get packages."""
        self.program("apt-get", f"echo {url}/InRelease")
        self._monkeypatch.setenv("PIP_INDEX_URL", f"{url}/simple")

    def pip(self, script: str) -> None:
        """What this machine's Python is; pip takes a second to ask an index, and few tests are about that."""
        self.program("python", script)
        self._monkeypatch.setattr(sys, "executable", str(self.bin / "python"))

    def real_pip(self) -> None:
        """This process's own."""
        self.pip(f'exec "{PYTHON}" "$@"')

    def settings(self, **values) -> None:
        self.env_file.write_text("".join(f"{key}={value}\n" for key, value in (self.ports | values).items()))
        self.env_file.chmod(0o600)

    def disk(self, free_gib: float) -> list[Path]:
        """Set the free space; the list tells which places were asked about."""
        asked = []
        usage = SimpleNamespace(free=int(free_gib * 2**30))
        self._monkeypatch.setattr(shutil, "disk_usage", lambda place: asked.append(Path(place)) or usage)
        return asked

    def find(self, subject: str) -> Finding:
        (finding,) = [each for each in examine.examine(self.env_file) if each.subject == subject]
        return finding


def plugin(name: str, version: str) -> dict[str, str]:
    return {"Name": name, "Version": version}

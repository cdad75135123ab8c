"""The door: the real HAProxy with the rendered file, in front of servers of our own."""

import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from labelpod import render
from labelpod.config.settings import Settings
from tests.support.paths import ROOT
from tests.support.ports import held_port
from tests.support.waiting import eventually

PROGRAM = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
needs_haproxy = pytest.mark.skipif(not PROGRAM, reason="haproxy is not installed: apt-get install haproxy")


def _version() -> int:
    told = subprocess.run([str(PROGRAM), "-v"], capture_output=True, text=True, check=False).stdout if PROGRAM else ""
    found = re.search(r"version (\d+)", told)
    return int(found[1]) if found else 0


# The image's; Debian 12 has 2.6.
needs_haproxy_3 = pytest.mark.skipif(_version() < 3, reason="haproxy is older than 3, which Debian 13 has")


def configuration(values: Settings) -> str:
    return render.render(values, ROOT / "templates")["haproxy.cfg"]


@dataclass
class Door:
    """A running HAProxy.

    Args:
        port: Orthanc's, as others reach it.
        servers: the label servers' port, if there are several.
        log: what it has written.
        figures: the port for Prometheus.

    """

    port: int
    servers: int
    log: Path
    figures: int


@contextmanager
def running(
    folder: Path,
    values: Settings,
    orthanc: int = 9,
    instead: Mapping[str, str] | None = None,
    servers: Sequence[int] = (),
    second: int = 9,
) -> Iterator[Door]:
    """Run the door on this machine.

    Args:
        folder: for its file and its log.
        values: the settings.
        orthanc: the port of what stands in for Orthanc.
        instead: words of the file, and others in their place.
        servers: the ports of what stands in for the label servers.
        second: the port of what stands in for the second Orthanc, if there are two.

    """
    port, behind, health, figures = (held_port() for _ in range(4))
    log = folder / "haproxy.log"
    places = {"bind :8042": f"bind 127.0.0.1:{port}", "bind 127.0.0.1:8404": f"bind 127.0.0.1:{health}"}
    places["bind :8405"] = f"bind 127.0.0.1:{figures}"
    if values.two_orthancs:
        for name, each in (("orthanc-1", orthanc), ("orthanc-2-1", second)):
            places[f'"${{STACK}}-{name}:8042"'] = f"127.0.0.1:{each}"
    else:
        places["orthanc:8042"] = f"127.0.0.1:{orthanc}"
    if servers:
        places["bind :8000"] = f"bind 127.0.0.1:{behind}"
    for number, each in enumerate(servers, start=1):
        places[f'"${{STACK}}-label-server-{number}:8000"'] = f"127.0.0.1:{each}"
    text = configuration(values)
    for word, other in (places | dict(instead or {})).items():
        assert word in text, word
        text = text.replace(word, other)
    file = folder / "haproxy.cfg"
    file.write_text(text)
    with log.open("w") as output:
        process = subprocess.Popen([str(PROGRAM), "-db", "-f", str(file)], stdout=output, stderr=output)
    try:
        eventually(lambda: healthy(health), 10, f"the door answers: {log.read_text()}")
        yield Door(port, behind, log, figures)
    finally:
        process.kill()
        process.wait()


def healthy(port: int) -> bool:
    """Whether a door says on this port that it is alive."""
    result = subprocess.run(["curl", "-sf", f"http://127.0.0.1:{port}/"], capture_output=True, check=False)
    time.sleep(0 if result.returncode == 0 else 0.05)
    return result.returncode == 0


@contextmanager
def cutting(noted: list[bytes], check: bytes, healthy: bytes) -> Iterator[int]:
    """A server that dies over each request but the door's own.

    Args:
        noted: gets the first line of each request.
        check: what the door's own have in them.
        healthy: the answer to these.

    """
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    asked = connection.recv(65536)
                    if check in asked:
                        connection.sendall(healthy)
                    elif asked:
                        noted.append(asked.partition(b"\r\n")[0])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def stays_open(connection: socket.socket) -> bool:
    """Whether nobody has closed it."""
    connection.setblocking(False)
    try:
        return bool(connection.recv(1))
    except BlockingIOError:
        return True
    except ConnectionError:
        return False

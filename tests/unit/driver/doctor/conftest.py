"""A machine for the doctor to look at, and the places that packages come from."""

import threading
from http.server import ThreadingHTTPServer

import pytest

from tests.support.doctor_machine import WHEEL, Machine, Web


@pytest.fixture
def packages():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    server.asked = []
    server.pages = {"/v2/": (401, b""), "/InRelease": (200, b"x"), "/simple/monailabel/": (200, WHEEL)}
    server.host = f"127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def machine(tmp_path, packages, monkeypatch) -> Machine:
    return Machine(tmp_path, packages, monkeypatch)

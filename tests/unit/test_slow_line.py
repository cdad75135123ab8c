"""The slow line that the benchmark measures on: as slow as it says, and nothing is lost on it."""

import socket
import time
from urllib.request import urlopen

import pytest

from bench import line


def test_what_comes_is_whole_and_takes_its_time(web):
    body = bytes(range(256)) * 1000
    web.pages["/"] = web.answer(body=body)
    with line.slow(f"{web.url}/") as far:
        started = time.monotonic()
        with urlopen(far, timeout=20) as answer:
            assert answer.read() == body
        took = time.monotonic() - started
    assert took > 8 * len(body) / line.BITS_PER_SECOND + 4 * line.SECONDS


def test_it_ends_with_its_use(web):
    with line.slow(f"{web.url}/") as far:
        port = int(far.rsplit(":", 1)[1].strip("/"))
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=2).close()

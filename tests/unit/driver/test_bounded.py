"""Answers of RunPod's that never end are ended here."""

import time
import tracemalloc

import pytest

from labelpod.errors import DeployError
from labelpod.runpod import bounded, wait
from labelpod.runpod.client import Client


@pytest.mark.parametrize(("seconds", "most"), [(0.3, 10**9), (60, 1000)])
def test_an_answer_that_never_ends_is_one_that_never_came(web, monkeypatch, seconds: float, most: int):
    monkeypatch.setattr(bounded, "_SECONDS", seconds)
    monkeypatch.setattr(bounded, "_BYTES", most)
    monkeypatch.setattr("labelpod.runpod.client._pause", lambda *_: 0.01)

    def page(request) -> None:
        web.answer(200, b"{", length=10**9)(request)
        while True:
            time.sleep(0.01)
            request.wfile.write(b" " * 100)

    web.pages["/v2/pods"] = page
    with Client("key", web.url) as client, pytest.raises(DeployError, match="does not answer to GET /pods"):
        client.list_pods()
    answers = wait.lets_in("token")
    web.pages["/info/"] = page
    assert answers(web.url) is False


def test_a_line_without_an_end_is_not_kept():
    tracemalloc.start()
    try:
        found = list(bounded.lines((b"x" * 10_000 for _ in range(1000)), 60))
        assert found == [] and tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()
    assert list(bounded.lines(iter([b"a\r\nb", b"c\n", b"\xff\nd"]), 60)) == ["a", "bc", "\ufffd"]
    (cut,) = bounded.lines(iter([b"x" * 10**6, b"\n"]), 60)
    assert len(cut) == 2**16

"""What a rented pod answers before its studies can be reached."""

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from label_server.pod import standby, state
from label_server.users import Users

TOKEN = "t" * 32


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(state, "_FOLDER", str(tmp_path))
    monkeypatch.setattr(
        standby.Waiting, "known", Users(tmp_path / "absent", hashlib.sha256(TOKEN.encode()).hexdigest()), raising=False
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), standby.Waiting)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def asked(url: str, method: str = "GET", **headers: str) -> tuple[int, dict, dict]:
    request = urllib.request.Request(url, method=method, headers=headers, data=b"" if method == "POST" else None)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.load(answer), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), dict(error.headers)


def test_it_is_alive(url: str):
    assert asked(f"{url}/healthz")[0] == 200


def test_whoever_has_the_token_is_told_what_it_waits_for_and_when_it_stops(url: str):
    state.set_stop(86400.0)
    for status, answer, headers in (
        asked(f"{url}/info/", Authorization=f"Bearer {TOKEN}"),
        asked(f"{url}/{TOKEN}/info/"),
        asked(f"{url}/{TOKEN}/infer/deepgrow_2d", "POST"),
    ):
        assert status == 503 and headers["Retry-After"] == "5"
        assert "runpod connect" in answer["detail"] and answer["stops_at"] == "1970-01-02T00:00:00+00:00"


@pytest.mark.parametrize("path", ["/", "/info/", f"/{TOKEN[:-1]}/info/", "//"])
def test_nobody_else_is_told_anything(url: str, path: str):
    assert asked(f"{url}{path}")[:2] == (401, {"detail": "Not authorised"})


def test_the_login_that_came_through_ssh_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(state, "_FOLDER", str(tmp_path))
    assert state.login() is None
    (tmp_path / "dicomweb_login").write_text("label-server\nits password \n")
    assert state.login() == ("label-server", "its password ")

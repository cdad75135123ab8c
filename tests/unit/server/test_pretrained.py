"""Fetching pretrained weights from a web server that is well, slow, broken or away."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from label_server.models import pretrained
from labelpod.config.settings import MODELS

BODY = b"weights" * 300_000  # more than one piece
SCRIPT = Path(pretrained.__file__)


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "model"


@pytest.fixture
def offer(web, monkeypatch):
    """Let models' files come from the web server: file name -> page."""

    def pages(**models) -> None:
        monkeypatch.setattr(pretrained, "FILES", {model: {f"{model}.pt": f"{web.url}/{model}"} for model in models})
        web.pages.update({f"/{model}": page for model, page in models.items()})

    return pages


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_every_model_that_can_be_served_has_its_files():
    assert set(pretrained.FILES) == set(MODELS)
    urls = [url for files in pretrained.FILES.values() for url in files.values()]
    assert all(url.startswith("https://") for url in urls) and len(set(urls)) == len(urls)


def test_fetched_weights_are_recorded_with_sha256(offer, web, folder):
    offer(one=web.answer(body=BODY), two=web.answer(body=b"2"), three=web.answer(body=b"3"))
    assert pretrained.fetch(["one", "two"], folder, 10) == []
    assert names(folder) == {"one.pt", "two.pt", pretrained.RECORD}
    assert (folder / "one.pt").read_bytes() == BODY
    record = json.loads((folder / pretrained.RECORD).read_text())
    assert record["one.pt"] == {"url": f"{web.url}/one", "sha256": hashlib.sha256(BODY).hexdigest()}
    assert set(record) == {"one.pt", "two.pt"}


def test_a_file_that_is_not_the_expected_one_is_not_kept(offer, web, folder, monkeypatch):
    offer(one=web.answer(body=BODY), two=web.answer(body=BODY))
    right = hashlib.sha256(BODY).hexdigest()
    monkeypatch.setattr(pretrained, "SHA256", {"one.pt": hashlib.sha256(b"other").hexdigest(), "two.pt": right})
    (problem,) = pretrained.fetch(["one", "two"], folder, 10)
    assert problem.startswith(f"one.pt: its SHA-256 is {right}, where ") and "it is another file" in problem
    assert names(folder) == {"two.pt", pretrained.RECORD}


def test_what_was_fetched_once_is_fetched_again_only_as_it_was(offer, web, folder):
    offer(one=web.answer(body=BODY))
    pretrained.fetch(["one"], folder, 10)
    record = (folder / pretrained.RECORD).read_text()
    (folder / "one.pt").unlink()
    offer(one=web.answer(body=b"other"))
    (problem,) = pretrained.fetch(["one"], folder, 10)
    assert "it is another file" in problem and hashlib.sha256(BODY).hexdigest() in problem
    assert names(folder) == {pretrained.RECORD} and (folder / pretrained.RECORD).read_text() == record
    offer(one=web.answer(body=BODY))
    assert pretrained.fetch(["one"], folder, 10) == [] and (folder / "one.pt").read_bytes() == BODY


def test_what_is_there_is_not_fetched_again_and_stays_recorded(offer, web, folder):
    offer(one=web.answer(body=b"1"), two=web.answer(body=b"2"))
    pretrained.fetch(["one"], folder, 10)
    (folder / "one.pt").write_bytes(b"trained since")
    assert pretrained.fetch(["one", "two"], folder, 10) == []
    assert [path for path, _ in web.asked] == ["/one", "/two"]
    assert (folder / "one.pt").read_bytes() == b"trained since"
    assert set(json.loads((folder / pretrained.RECORD).read_text())) == {"one.pt", "two.pt"}


def test_a_model_without_pretrained_weights_wants_none(offer, web, folder):
    offer(one=web.answer(body=b"1"))
    assert pretrained.fetch(["my_own_model"], folder, 10) == [] and web.asked == []


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (lambda web: web.answer(404), "HTTP Error 404: Not Found"),
        (lambda web: web.answer(503, b"try later"), "HTTP Error 503"),
        (lambda web: web.answer(body=b"half", length=8), "the connection ended after 4 of 8 bytes"),
        (lambda _: lambda request: request.wfile.write(b"who are you?\r\n\r\n"), "who are you?"),
        (lambda _: lambda request: None, "closed connection"),
    ],
)
def test_what_cannot_be_fetched_is_one_line(offer, web, folder, page, reason):
    offer(one=page(web), two=web.answer(body=b"2"))
    (line,) = pretrained.fetch(["one", "two"], folder, 10)
    assert line.startswith("one.pt: ") and reason in line and line.endswith(f"({web.url}/one)")
    assert len(line.splitlines()) == 1
    assert names(folder) == {"two.pt", pretrained.RECORD}


def test_a_server_that_is_away_is_one_line(folder, monkeypatch):
    monkeypatch.setattr(pretrained, "FILES", {"one": {"one.pt": "http://127.0.0.1:9/one"}})
    (line,) = pretrained.fetch(["one"], folder, 10)
    assert "refused" in line and names(folder) == set()


@pytest.mark.parametrize("begun", [b"", b"x" * 2_000_000])
def test_a_download_that_hangs_ends_with_the_time_and_leaves_nothing(offer, web, folder, begun):
    offer(one=web.hang(begun[:900_000]), two=web.answer(body=b"2"))
    started = time.monotonic()
    (line,) = pretrained.fetch(["one", "two"], folder, 0.5)
    assert 0.4 < time.monotonic() - started < 3
    assert line == f"one.pt: not finished within 0.5 s ({web.url}/one)"
    assert names(folder) == {"two.pt", pretrained.RECORD}


def test_the_bound_holds_for_all_files_together(offer, web, folder):
    models = {f"m{number}": web.hang(b"x") for number in range(10)}
    offer(**models)
    started = time.monotonic()
    assert len(pretrained.fetch(list(models), folder, 0.5)) == 10
    assert time.monotonic() - started < 3


def test_a_download_that_trickles_on_after_its_time_does_not_turn_up_later(offer, web, folder):
    def trickle(request) -> None:
        web.answer(body=b"x", length=2)(request)
        time.sleep(0.6)
        request.wfile.write(b"x")

    offer(one=trickle)
    assert len(pretrained.fetch(["one"], folder, 0.3)) == 1
    time.sleep(0.6)
    assert names(folder) == set()


def test_the_builds_step_needs_nothing_but_the_standard_library(folder):
    command = [sys.executable, "-IS", str(SCRIPT), str(folder), "1", "a_model_without_weights"]
    result = subprocess.run(command, env={"PATH": ""}, capture_output=True, text=True, check=False, timeout=20)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_builds_step_never_fails_a_build(web, folder, tmp_path):
    web.pages["/one"] = web.hang(b"x" * 100_000)
    program = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import pretrained as weights;"
        f"weights.FILES = {{'one': {{'one.pt': '{web.url}/one'}}}}; sys.argv[1:] = [{str(folder)!r}, '0.5', 'one'];"
        "weights.main()"
    )
    started = time.monotonic()
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=20
    )
    assert time.monotonic() - started < 5
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == f"no pretrained weights: one.pt: not finished within 0.5 s ({web.url}/one)\n"
    assert names(folder) == set()

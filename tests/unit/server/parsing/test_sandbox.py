"""What a process that has entered the sandbox can still do: nothing but compute, and write its own folder."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from label_server.parsing import landlock
from tests.support import sandboxed
from tests.support.paths import ROOT
from tests.support.sandboxed import DONE, REFUSED

WITHOUT_LANDLOCK = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
Outcome = Callable[..., int]


@pytest.fixture(scope="module")
def program() -> Iterator[subprocess.Popen[str]]:
    """The program that tries things."""
    places = os.pathsep.join([str(ROOT), str(ROOT / "images" / "label-server")])
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.sandboxed"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": places},
    ) as running:
        yield running
        running.kill()


@pytest.fixture
def outcome(program: subprocess.Popen[str], folder: Path) -> Outcome:
    """How a process in the sandbox ends that tries something: its exit status, or minus the signal."""

    def tried(deed: str, memory: int = 2**30, seconds: int = 20) -> int:
        assert program.stdin and program.stdout
        program.stdin.write(json.dumps([deed, str(folder), memory, seconds]) + "\n")
        program.stdin.flush()
        return int(program.stdout.readline())

    return tried


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("of somebody else")
    own = tmp_path / "own"
    own.mkdir()
    (own / "upload").write_text("a client's")
    return own


@pytest.mark.parametrize(
    "deed", [*sandboxed.OF_NO_USE, *(pytest.param(deed, marks=WITHOUT_LANDLOCK) for deed in sandboxed.ELSEWHERE)]
)
def test_what_it_needs_not_is_refused(folder: Path, outcome: Outcome, deed: str):
    assert outcome(deed) == REFUSED
    assert sorted(path.name for path in folder.parent.rglob("*")) == ["own", "secret", "upload"]


@pytest.mark.parametrize("deed", sandboxed.NEEDED)
def test_what_it_needs_it_has(outcome: Outcome, deed: str):
    assert outcome(deed) == DONE


@pytest.mark.parametrize("deed", sandboxed.REACHING)
def test_it_reaches_nothing_outside_its_folder_and_itself(folder: Path, outcome: Outcome, deed: str):
    before = (folder.parent / "secret").stat()
    assert outcome(deed) == REFUSED
    assert (folder.parent / "secret").stat() == before
    assert [path.name for path in folder.iterdir()] == ["upload"]


def test_a_system_call_that_nobody_has_thought_of_is_refused(outcome: Outcome):
    """Those that are allowed are listed, and all others are not."""
    assert outcome("other calls") == DONE


def test_it_ends_when_its_time_is_over(outcome: Outcome):
    assert outcome("compute for ever", seconds=1) in (-signal.SIGXCPU, -signal.SIGKILL)


def test_a_file_of_its_cannot_fill_the_disk(outcome: Outcome):
    """The signal of the limit is ignored by Python, which raises instead."""
    assert outcome("write 4 MB") == DONE
    assert outcome("grow to 2 GB") in (REFUSED, -signal.SIGXFSZ)

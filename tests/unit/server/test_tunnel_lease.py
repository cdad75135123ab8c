"""What ends a tunnel on the pod when nobody is at its other end any more."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SCRIPT = ROOT / "images" / "label-server" / "pod" / "tunnel_lease"


@pytest.fixture
def session(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Stands for sshd's process of one connection, with a lease of a second."""
    text = SCRIPT.read_text()
    assert "-t 60" in text
    (tmp_path / "lease").write_text(text.replace("-t 60", "-t 1"))
    process = subprocess.Popen(["bash", "-c", f"bash {tmp_path}/lease; sleep 60"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()


def test_it_lasts_as_long_as_a_line_comes_and_no_longer(session):
    for _ in range(8):
        time.sleep(0.4)
        session.stdin.write(b"\n")
        session.stdin.flush()
        assert session.poll() is None
    began = time.monotonic()
    assert session.wait(20) != 0 and time.monotonic() - began > 0.5


def test_it_ends_at_once_when_the_other_end_is_gone(session):
    session.stdin.close()
    assert session.wait(20) != 0

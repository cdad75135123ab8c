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
    """Stands for sshd's process of one connection, with a lease of three seconds."""
    text = SCRIPT.read_text()
    assert "-t 60" in text
    (tmp_path / "lease").write_text(text.replace("-t 60", "-t 3"))
    process = subprocess.Popen(["bash", "-c", f"bash {tmp_path}/lease; sleep 60"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()


def test_it_lasts_as_long_as_a_line_comes_and_no_longer(session):
    began = time.monotonic()
    while time.monotonic() - began < 4:
        time.sleep(0.2)
        session.stdin.write(b"\n")
        session.stdin.flush()
        assert session.poll() is None
    # The last line may have been on its way for a while: on a busy machine, that is no part of the lease.
    began = time.monotonic()
    assert session.wait(30) != 0 and time.monotonic() - began > 1


def test_it_ends_at_once_when_the_other_end_is_gone(session):
    session.stdin.close()
    assert session.wait(20) != 0

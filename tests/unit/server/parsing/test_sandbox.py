"""What a process that has entered the sandbox can still do: nothing but compute, and write its own folder."""

import ctypes
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from label_server.parsing import landlock, sandbox

_PTRACE_ATTACH = 16
_DONE, _REFUSED, _OTHER = 0, 1, 2


def outcome(folder: Path, deed: Callable[[], object], memory: int = 2**30, seconds: int = 20) -> int:
    """How a process in the sandbox ends that tries something: its exit status, or minus the signal."""
    child = os.fork()
    if child == 0:
        try:
            sandbox.enter(folder, memory, seconds)
            deed()
        except (OSError, MemoryError):
            os._exit(_REFUSED)
        except BaseException:
            os._exit(_OTHER)
        os._exit(_DONE)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("of somebody else")
    own = tmp_path / "own"
    own.mkdir()
    (own / "upload").write_text("a client's")
    return own


def traced() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(_PTRACE_ATTACH, os.getppid(), None, None):
        raise OSError(ctypes.get_errno(), "ptrace")


def threaded() -> None:
    thread = threading.Thread(target=sum, args=([1, 2],))
    thread.start()
    thread.join()


WITHOUT_LANDLOCK = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")


@pytest.mark.parametrize(
    "deed",
    [
        lambda own: socket.socket(),
        lambda own: socket.socketpair(),
        lambda own: subprocess.run(["true"], check=True),
        lambda own: os.execv("/bin/true", ["true"]),
        lambda own: os.fork(),
        lambda own: os.kill(os.getppid(), signal.SIGCONT),
        lambda own: (own / "link").symlink_to("/etc/passwd"),
        lambda own: os.link(own / "upload", own / "link"),
        lambda own: traced(),
        lambda own: bytes(2**30),
        pytest.param(lambda own: Path("/etc/passwd").read_text(), marks=WITHOUT_LANDLOCK),
        pytest.param(lambda own: (own.parent / "secret").read_text(), marks=WITHOUT_LANDLOCK),
        pytest.param(lambda own: list(own.parent.iterdir()), marks=WITHOUT_LANDLOCK),
        pytest.param(lambda own: Path(f"/proc/{os.getppid()}/environ").read_bytes(), marks=WITHOUT_LANDLOCK),
        pytest.param(lambda own: Path("/proc/self/environ").read_bytes(), marks=WITHOUT_LANDLOCK),
        pytest.param(lambda own: Path("/dev/zero").read_bytes(), marks=WITHOUT_LANDLOCK),
        pytest.param(lambda own: (own.parent / "new").write_text("x"), marks=WITHOUT_LANDLOCK),
        pytest.param(lambda own: (own.parent / "secret").unlink(), marks=WITHOUT_LANDLOCK),
        pytest.param(lambda own: (own.parent / "secret").write_text("x"), marks=WITHOUT_LANDLOCK),
    ],
)
def test_what_it_needs_not_is_refused(folder: Path, deed: Callable[[Path], object]):
    assert outcome(folder, lambda: deed(folder)) == _REFUSED
    assert sorted(path.name for path in folder.parent.rglob("*")) == ["own", "secret", "upload"]


@pytest.mark.parametrize(
    "deed",
    [
        lambda own: (own / "upload").read_text(),
        lambda own: (own / "volume").write_bytes(bytes(2**20)),
        lambda own: (own / "unpacked").mkdir(),
        lambda own: (own / "upload").unlink(),
        lambda own: bytes(2**26),
        lambda own: threaded(),
        lambda own: Path(os.__file__).read_bytes(),
    ],
)
def test_what_it_needs_it_has(folder: Path, deed: Callable[[Path], object]):
    assert outcome(folder, lambda: deed(folder)) == _DONE


def forever() -> None:
    while True:
        pass


def test_it_ends_when_its_time_is_over(folder: Path):
    assert outcome(folder, forever, seconds=1) in (-signal.SIGXCPU, -signal.SIGKILL)


def test_a_file_of_its_cannot_fill_the_disk(folder: Path):
    """The signal of the limit is ignored by Python, which raises instead."""
    assert outcome(folder, lambda: (folder / "x").write_bytes(bytes(2**22)), memory=2**21 + 2**29) == _DONE
    assert outcome(folder, lambda: os.truncate((folder / "upload"), 2**31), memory=2**30) in (_REFUSED, -signal.SIGXFSZ)

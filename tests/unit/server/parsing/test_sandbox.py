"""What a process that has entered the sandbox can still do: nothing but compute, and write its own folder."""

import ctypes
import errno
import fcntl
import mmap
import os
import resource
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pyseccomp
import pytest

from label_server.parsing import landlock, sandbox

_PTRACE_ATTACH = 16
_DONE, _REFUSED, _OTHER = 0, 1, 2
_PROBES = {335, 336}  # the kernel's own, in code that root traces; it asks no filter


def outcome(folder: Path, deed: Callable[[], object], memory: int = 2**31, seconds: int = 20) -> int:
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
        lambda own: bytes(2**31),
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


def called(name: str, *arguments: object) -> None:
    """A system call by its name, as a program that a file has taken over may make any."""
    number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(ctypes.c_long(number), *arguments) < 0 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
        raise OSError(ctypes.get_errno(), name)


def queue_a_signal(own: Path) -> None:
    parent = os.getppid()
    called("rt_tgsigqueueinfo", parent, parent, signal.SIGCONT, (ctypes.c_int * 32)(signal.SIGCONT, 0, -1))


def own_a_pipe(own: Path) -> None:
    """The kernel sends its owner a signal of one's choice, SIGKILL as well."""
    reading, _ = os.pipe()
    fcntl.fcntl(reading, fcntl.F_SETOWN, os.getppid())


def share_memory(own: Path) -> None:
    """It counts as nobody's data."""
    mmap.mmap(-1, 2**20)


REACHING = [
    pytest.param(lambda own: resource.prlimit(os.getppid(), resource.RLIMIT_CORE, (0, 0)), id="limit its parent"),
    pytest.param(lambda own: os.sched_setaffinity(os.getppid(), {0}), id="confine its parent"),
    pytest.param(lambda own: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19), id="slow its parent down"),
    pytest.param(queue_a_signal, id="queue a signal"),
    pytest.param(own_a_pipe, id="have a signal sent"),
    pytest.param(share_memory, id="share memory"),
    pytest.param(lambda own: (own.parent / "secret").chmod(0o777), id="open others' files to all"),
    pytest.param(lambda own: os.utime(own.parent / "secret", (0, 0)), id="change others' times"),
    pytest.param(lambda own: os.setxattr(own.parent / "secret", "user.x", b"x"), id="write others' attributes"),
    pytest.param(lambda own: os.truncate(own.parent / "secret", 0), id="empty others' files"),
    pytest.param(lambda own: os.mkfifo(own / "volume.nii.gz"), id="leave a pipe"),
    *(
        pytest.param(lambda own, name=name: called(name, 0, 0, 0, 0, 0, 0), id=name)
        for name in (
            *("process_madvise", "process_mrelease", "migrate_pages", "move_pages", "fanotify_init", "fsopen"),
            *("fsmount", "move_mount", "open_tree", "mount_setattr", "memfd_secret", "swapon", "kexec_load"),
            *("init_module", "finit_module", "quotactl", "acct", "reboot", "syslog", "io_setup", "io_uring_enter"),
            *("mq_open", "semget", "shmctl", "inotify_init1", "signalfd4", "timerfd_create", "seccomp", "ioprio_set"),
        )
    ),
]


@pytest.mark.parametrize("deed", REACHING)
def test_it_reaches_nothing_outside_its_folder_and_itself(folder: Path, deed: Callable[[Path], object]):
    before = (folder.parent / "secret").stat()
    assert outcome(folder, lambda: deed(folder)) == _REFUSED
    assert (folder.parent / "secret").stat() == before
    assert [path.name for path in folder.iterdir()] == ["upload"]


def test_a_system_call_that_nobody_has_thought_of_is_refused(folder: Path):
    """Those that are allowed are listed, and all others are not."""
    allowed = {pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) for name in (*sandbox.ALLOWED, "clone")}

    def others() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        for number in set(range(600)) - allowed - _PROBES:
            if (
                libc.syscall(ctypes.c_long(number), *[ctypes.c_long(-1)] * 6) != -1
                or ctypes.get_errno() != errno.ENOSYS
            ):
                raise ValueError(number)

    assert outcome(folder, others) == _DONE


def forever() -> None:
    while True:
        pass


def test_it_ends_when_its_time_is_over(folder: Path):
    assert outcome(folder, forever, seconds=1) in (-signal.SIGXCPU, -signal.SIGKILL)


def test_a_file_of_its_cannot_fill_the_disk(folder: Path):
    """The signal of the limit is ignored by Python, which raises instead."""
    assert outcome(folder, lambda: (folder / "x").write_bytes(bytes(2**22)), memory=2**21 + 2**29) == _DONE
    assert outcome(folder, lambda: os.truncate((folder / "upload"), 2**31), memory=2**30) in (_REFUSED, -signal.SIGXFSZ)

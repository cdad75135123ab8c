"""What is tried in the sandbox, and a program that tries it: it has one thread, so that a fork of it is whole.

`python -m tests.support.sandboxed` reads a line of JSON for each: the deed's name, the folder, the bytes of memory, the
seconds. It answers each with the exit status of a process that entered the sandbox first, or minus the signal.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyseccomp

from label_server.parsing import sandbox

DONE, REFUSED, OTHER = 0, 1, 2
_PTRACE_ATTACH = 16
_PROBES = {335, 336}  # the kernel's own, in code that root traces; it asks no filter

Deed = Callable[[Path], object]


def _traced(own: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(_PTRACE_ATTACH, os.getppid(), None, None):
        raise OSError(ctypes.get_errno(), "ptrace")


def _threaded(own: Path) -> None:
    thread = threading.Thread(target=sum, args=([1, 2],))
    thread.start()
    thread.join()


def _called(name: str, *arguments: object) -> None:
    """A system call by its name, as a program that a file has taken over may make any."""
    number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(ctypes.c_long(number), *arguments) < 0 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
        raise OSError(ctypes.get_errno(), name)


def _queue_a_signal(own: Path) -> None:
    parent = os.getppid()
    _called("rt_tgsigqueueinfo", parent, parent, signal.SIGCONT, (ctypes.c_int * 32)(signal.SIGCONT, 0, -1))


def _own_a_pipe(own: Path) -> None:
    """The kernel sends its owner a signal of one's choice, SIGKILL as well."""
    reading, _ = os.pipe()
    fcntl.fcntl(reading, fcntl.F_SETOWN, os.getppid())


def _other_calls(own: Path) -> None:
    allowed = {pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) for name in (*sandbox.ALLOWED, "clone")}
    libc = ctypes.CDLL(None, use_errno=True)
    for number in set(range(600)) - allowed - _PROBES:
        if libc.syscall(ctypes.c_long(number), *[ctypes.c_long(-1)] * 6) != -1 or ctypes.get_errno() != errno.ENOSYS:
            raise ValueError(number)


def _forever(own: Path) -> None:
    while True:
        pass


def _by_name(name: str) -> Deed:
    return lambda own: _called(name, 0, 0, 0, 0, 0, 0)


OF_NO_USE: dict[str, Deed] = {
    "a socket": lambda own: socket.socket(),
    "a pair of sockets": lambda own: socket.socketpair(),
    "another program": lambda own: subprocess.run(["true"], check=True),
    "becoming another program": lambda own: os.execv("/bin/true", ["true"]),
    "another process": lambda own: os.fork(),
    "a signal": lambda own: os.kill(os.getppid(), signal.SIGCONT),
    "a link": lambda own: (own / "link").symlink_to("/etc/passwd"),
    "a second name": lambda own: os.link(own / "upload", own / "link"),
    "tracing": _traced,
    "more memory": lambda own: bytes(2**31),
}
ELSEWHERE: dict[str, Deed] = {
    "a file of the system": lambda own: Path("/etc/passwd").read_text(),
    "a secret": lambda own: (own.parent / "secret").read_text(),
    "others' names": lambda own: list(own.parent.iterdir()),
    "the server's environment": lambda own: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "its own environment": lambda own: Path("/proc/self/environ").read_bytes(),
    "zeros without end": lambda own: Path("/dev/zero").read_bytes(),
    "a new file": lambda own: (own.parent / "new").write_text("x"),
    "removing a file": lambda own: (own.parent / "secret").unlink(),
    "writing a file": lambda own: (own.parent / "secret").write_text("x"),
}
NEEDED: dict[str, Deed] = {
    "its file": lambda own: (own / "upload").read_text(),
    "its volume": lambda own: (own / "volume").write_bytes(bytes(2**20)),
    "a folder": lambda own: (own / "unpacked").mkdir(),
    "removing its file": lambda own: (own / "upload").unlink(),
    "memory": lambda own: bytes(2**26),
    "a thread": _threaded,
    "a library": lambda own: Path(os.__file__).read_bytes(),
}
REACHING: dict[str, Deed] = {
    "limit its parent": lambda own: resource.prlimit(os.getppid(), resource.RLIMIT_CORE, (0, 0)),
    "confine its parent": lambda own: os.sched_setaffinity(os.getppid(), {0}),
    "slow its parent down": lambda own: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19),
    "queue a signal": _queue_a_signal,
    "have a signal sent": _own_a_pipe,
    "share memory, which counts as nobody's": lambda own: mmap.mmap(-1, 2**20),
    "open others' files to all": lambda own: (own.parent / "secret").chmod(0o777),
    "change others' times": lambda own: os.utime(own.parent / "secret", (0, 0)),
    "write others' attributes": lambda own: os.setxattr(own.parent / "secret", "user.x", b"x"),
    "empty others' files": lambda own: os.truncate(own.parent / "secret", 0),
    "leave a pipe": lambda own: os.mkfifo(own / "volume.nii.gz"),
    **{
        name: _by_name(name)
        for name in (
            *("process_madvise", "process_mrelease", "migrate_pages", "move_pages", "fanotify_init", "fsopen"),
            *("fsmount", "move_mount", "open_tree", "mount_setattr", "memfd_secret", "swapon", "kexec_load"),
            *("init_module", "finit_module", "quotactl", "acct", "reboot", "syslog", "io_setup", "io_uring_enter"),
            *("mq_open", "semget", "shmctl", "inotify_init1", "signalfd4", "timerfd_create", "seccomp", "ioprio_set"),
        )
    },
}
DEEDS = OF_NO_USE | ELSEWHERE | NEEDED | REACHING
DEEDS |= {
    "other calls": _other_calls,
    "compute for ever": _forever,
    "write 4 MB": lambda own: (own / "x").write_bytes(bytes(2**22)),
    "grow to 2 GB": lambda own: os.truncate(own / "upload", 2**31),
}


def _outcome(name: str, folder: str, memory: int, seconds: int) -> int:
    child = os.fork()
    if child == 0:
        try:
            sandbox.enter(Path(folder), memory, seconds)
            DEEDS[name](Path(folder))
        except (OSError, MemoryError):
            os._exit(REFUSED)
        except BaseException:
            os._exit(OTHER)
        os._exit(DONE)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    for line in sys.stdin:
        print(_outcome(*json.loads(line)), flush=True)

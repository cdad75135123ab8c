"""What a process that reads a client's file may do: read it and the installed programs, compute, write one folder.

A file may be made to take over the program that reads it, to fill the memory, or never to end. Such a process has no
network, starts no program, reaches no other process, and sees neither secrets nor other patients' images.
"""

import errno
import resource
import sys
from contextlib import suppress
from pathlib import Path

import pyseccomp

from label_server.parsing import landlock

_READABLE = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/dev/null", "/dev/urandom", sys.prefix, sys.base_prefix)
_CODE = Path(__file__).resolve().parents[2]
_CLONE_THREAD = 0x00010000
_FORBIDDEN = (
    *("socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "sendto", "sendmsg", "sendmmsg"),
    *(
        "execve",
        "execveat",
        "fork",
        "vfork",
        "kill",
        "tkill",
        "tgkill",
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
    ),
    *("pidfd_open", "pidfd_getfd", "pidfd_send_signal", "rt_sigqueueinfo", "kcmp", "setns", "unshare", "mount"),
    *("umount2", "pivot_root", "chroot", "bpf", "perf_event_open", "io_uring_setup", "userfaultfd", "keyctl"),
    *("add_key", "request_key", "name_to_handle_at", "open_by_handle_at", "memfd_create", "shmget", "shmat", "msgget"),
    *("personality", "symlink", "symlinkat", "link", "linkat", "mknod", "mknodat"),
)


def enter(folder: Path, memory: int, seconds: int) -> None:
    """Give up everything else, for good.

    Args:
        folder: the one that may be written.
        memory: bytes that may be allocated; no file may become longer.
        seconds: of computing.

    Raises:
        OSError: the kernel refuses one of it.

    """
    with suppress(OSError):  # if memory is short, this is what makes way
        Path("/proc/self/oom_score_adj").write_text("1000")
    for limit, most in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_FSIZE, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (most, most))
    if landlock.version():
        landlock.restrict([Path(each) for each in _READABLE] + [_CODE], [folder])
    _forbid()


def _forbid() -> None:
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    refused = pyseccomp.ERRNO(errno.EPERM)
    for name in _FORBIDDEN:
        with suppress(ValueError, OSError):  # not every architecture has all of them
            rules.add_rule(refused, name)
    # Threads, and no processes. clone3 cannot be looked into; without it, glibc takes clone.
    rules.add_rule(refused, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _CLONE_THREAD, 0))
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    rules.load()

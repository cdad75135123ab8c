"""What a process that reads a client's file may do: read it and the installed programs, compute, write one folder.

A file may be made to take over the program that reads it, to fill the memory, or never to end. Such a process has no
network, starts no program, reaches no other process, and sees neither secrets nor other patients' images.
"""

import errno
import fcntl
import resource
import sys
from contextlib import suppress
from pathlib import Path

import pyseccomp

from label_server.parsing import landlock

_READABLE = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/dev/null", "/dev/urandom", sys.prefix, sys.base_prefix)
_CODE = Path(__file__).resolve().parents[2]
_CLONE_THREAD = 0x00010000
_MAP_SHARED = 0x01
_PR_SET_NAME = 15
_TCGETS = 0x5401  # whether it is a terminal
_DUPLICATE_AND_FLAGS = (fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL)
# All others do not exist for it, those of kernels to come among them: a list of what is forbidden is never complete.
# Landlock looks at files that are opened, made and removed, and at no change of modes, times and attributes.
ALLOWED = (
    *("open", "openat", "close", "close_range", "read", "readv", "pread64", "write", "writev", "pwrite64", "lseek"),
    *("stat", "fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat", "faccessat2"),
    *("getcwd", "readlink", "readlinkat", "getdents64", "mkdir", "mkdirat", "unlink", "unlinkat", "ftruncate"),
    *("dup", "dup2", "dup3", "pipe2", "sendfile", "copy_file_range", "fadvise64", "poll", "ppoll", "pselect6"),
    *("brk", "munmap", "mremap", "mprotect", "madvise", "membarrier", "futex", "set_robust_list", "rseq", "getrandom"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "sched_yield", "getcpu"),
    *("clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "times", "uname"),
    *("sysinfo", "getrusage", "getrlimit", "getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid"),
    *("sched_getaffinity", "exit", "exit_group"),
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
    """Leave it these system calls; for any other it finds a kernel that has none of the name, as glibc is used to."""
    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.ENOSYS))
    for name in ALLOWED:
        with suppress(ValueError, OSError):  # not every architecture has all of them
            rules.add_rule(pyseccomp.ALLOW, name)
    # Threads, and no processes. clone3 cannot be looked into; without it, glibc takes clone.
    _allow(rules, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _CLONE_THREAD, _CLONE_THREAD))
    # Memory that is shared counts as nobody's.
    _allow(rules, "mmap", pyseccomp.Arg(3, pyseccomp.MASKED_EQ, _MAP_SHARED, 0))
    _allow(rules, "prlimit64", pyseccomp.Arg(0, pyseccomp.EQ, 0))
    _allow(rules, "prctl", pyseccomp.Arg(0, pyseccomp.EQ, _PR_SET_NAME))
    _allow(rules, "ioctl", pyseccomp.Arg(1, pyseccomp.EQ, _TCGETS))
    for command in _DUPLICATE_AND_FLAGS:  # others make the kernel send signals
        _allow(rules, "fcntl", pyseccomp.Arg(1, pyseccomp.EQ, command))
    rules.load()


def _allow(rules: pyseccomp.SyscallFilter, name: str, argument: pyseccomp.Arg) -> None:
    rules.add_rule(pyseccomp.ALLOW, name, argument)

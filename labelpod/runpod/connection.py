"""The ssh of a tunnel: it ends when this process does, however that ends, and with it the way to the studies."""

import os
import shutil
import signal
import subprocess
from collections import deque
from contextlib import suppress
from threading import Thread
from typing import IO

from labelpod.console import say_command
from labelpod.process import last_line

# Linux ends it if we are killed and can do nothing more. Elsewhere there is no setpriv, and the pod's lease ends it.
_ENDS_WITH_US = ("setpriv", "--pdeathsig", "TERM")
# On the pod, it ends the connection if it hears nothing for a minute: it may be our machine that is gone, or asleep.
_LEASE = "exec tunnel_lease"
_END_SECONDS = 5
_LAST_LINES, _LONGEST_LINE = 20, 4096


class Connection:
    """A running ssh.

    Args:
        command: that leads to the pod, the pod last.
        forwardings: its options.

    """

    def __init__(self, command: list[str], forwardings: list[str]) -> None:
        words = [*command[:-1], "-T", "-o", "ExitOnForwardFailure=yes", *forwardings, command[-1], _LEASE]
        say_command(*words)
        # A process group of its own: a Ctrl-C is ours to answer, and whatever ssh starts ends with it.
        self._process = subprocess.Popen(
            [*(_ENDS_WITH_US if shutil.which(_ENDS_WITH_US[0]) else ()), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
            process_group=0,
        )
        assert self._process.stdin and self._process.stderr  # noqa: S101, pipes
        self._beats = self._process.stdin
        os.set_blocking(self._beats.fileno(), False)
        self._said: deque[str] = deque(maxlen=_LAST_LINES)
        self._reader = Thread(target=self._read, args=(self._process.stderr,), daemon=True)
        self._reader.start()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def runs(self, seconds: float) -> bool:
        """Say to the pod that we are here, and wait; whether it still runs then."""
        with suppress(OSError):  # it has ended, or does not get through now
            self._beats.write(b"\n")
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def end(self) -> str:
        """End it.

        Returns:
            The last that it said.

        """
        if not self._beats.closed:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_END_SECONDS)
                    break
            self._beats.close()
            self._reader.join(_END_SECONDS)
        return last_line("\n".join(self._said))

    def _read(self, stderr: IO[bytes]) -> None:
        """Take in what it says, so that it never waits for that, however long it runs."""
        with stderr:
            while line := stderr.readline(_LONGEST_LINE):
                self._said.append(line.decode(errors="replace"))

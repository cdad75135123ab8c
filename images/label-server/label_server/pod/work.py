"""What is going on in a rented pod beside requests: tasks in the background, sessions over SSH, a busy GPU."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

_TASK = "monailabel.interfaces.utils.app"  # upstream's background tasks are processes of this module
# sshd tells who is logged in where its arguments were. Until then the name that is asked for stands there with
# [priv] or [net] behind it: whoever knocks is no session.
_SESSION = re.compile(r"sshd(-session)?: labelpod(@\S+)?\s*")
_SECONDS = 20


def found() -> str:
    """A task or a session; "" if there is none."""
    for words in _processes():
        if _TASK in words:
            return "a task in the background"
        if _SESSION.fullmatch(words):
            return "a session over SSH"
    return ""


def gpu_percent() -> int:
    """How busy the busiest GPU is; 0 if none can be asked."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return max((int(word) for word in said.split() if word.isdigit()), default=0)


def _processes() -> Iterator[str]:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue

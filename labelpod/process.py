"""Runs the machine's programs: bounded in time, and with the one line in which a failing one says why."""

import subprocess
import time
from collections.abc import Callable, Mapping


def run(
    *command: str, seconds: float | None = None, input: str | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program and return what it answers.

    Args:
        command: the program and its arguments.
        seconds: that it may take; None for no limit.
        input: for its standard input.
        env: its environment; None for this process's own.

    Returns:
        Its answer. A program that is missing answers 127 and one that hangs 124, as in a shell.

    """
    try:
        return subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=seconds,
            input=input,
            env=env,
        )
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error.strerror))
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer within {seconds} s")


def succeeds(*command: str, seconds: float = 30) -> bool:
    """Whether a program is there and ends well."""
    return run(*command, seconds=seconds).returncode == 0


def why(answer: subprocess.CompletedProcess[str]) -> str:
    """The line in which a program says why it failed; `kubectl exec` adds one that does not."""
    said = (line.strip() for line in answer.stderr.splitlines())
    lines = [line for line in said if line and not line.startswith("command terminated with exit code")]
    telling = [line for line in lines if line.startswith(("E: Failed", "Err"))] or lines[-1:]
    return telling[0] if telling else f"exit status {answer.returncode}"


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no error message"


def poll(done: Callable[[], bool], seconds: float, pause: float) -> bool:
    """Ask again and again until it is done or the time is over.

    Args:
        done: the question.
        seconds: how long to go on asking.
        pause: seconds between two questions.

    Returns:
        Whether it was done in time.

    """
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True

"""Waiting for something to become true."""

import time
from collections.abc import Callable
from typing import Any


def eventually(check: Callable[[], Any], seconds: float, what: str) -> Any:
    """Ask until the answer is true; fail after `seconds` with the last answer."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s, last answer {answer!r}"
        time.sleep(0.2)

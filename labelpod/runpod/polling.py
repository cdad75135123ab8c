"""Looking again and again, with an end."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from labelpod.errors import DeployError
from labelpod.runpod.client import may_pass

Found = TypeVar("Found")

_LONGEST_PAUSE = 5.0
# How much older than the last create a list or a pod's own entry may be.
LAG_SECONDS = 30.0


def rounds(seconds: float) -> Iterator[float]:
    """Yield at once and then every few seconds, the last time when the time is over.

    Args:
        seconds: how long altogether.

    Returns:
        Seconds since the first round.

    """
    start, pause = time.monotonic(), 1.0
    while True:
        passed = time.monotonic() - start
        yield passed
        if passed >= seconds:
            return
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def until(look: Callable[[], Found], seconds: float) -> Found | None:
    """Look until something is found, past answers that may be others in a while.

    Args:
        look: what it returns is found if it is true.
        seconds: how long altogether.

    Returns:
        What was found; None if nothing was.

    Raises:
        DeployError: from `look`, if waiting does not help.

    """
    for _ in rounds(seconds):
        try:
            if found := look():
                return found
        except DeployError as error:
            if not may_pass(error):
                raise
    return None

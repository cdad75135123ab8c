"""Looking again and again, with an end."""

import time
from collections.abc import Iterator

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

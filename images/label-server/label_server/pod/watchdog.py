"""Stops a rented pod that nobody uses, or that runs too long: it costs by the second.

What counts as use: requests that passed the gateway, work in the background (a training, a batch of inferences, a
scoring), a session over SSH; and a busy GPU, for a while. Run by start_pod beside the label server, as a user of its
own if root may do so. Nothing that goes wrong ends it, and the most hours hold whatever goes wrong.
"""

import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from queue import SimpleQueue

from label_server.pod import state, stopping, work
from label_server.pod.bounded import Answer, Question

logger = logging.getLogger("watchdog")

_IDLE_MINUTES, _MOST_HOURS = 60.0, 12.0  # the settings' own defaults
_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_PERIOD_SECONDS = 15
_AGAIN_SECONDS = 60
_WARN_SECONDS = 600
_ASK_SECONDS = 30
_BUSY_GPU_PERCENT = 5
# A container that ends is started over, after longer and longer pauses: that is one pod, which costs all the time.
_SAME_POD_SECONDS = 900
_FIRST = Path("/proc/1/stat")


@dataclass
class Watch:
    """When the pod is to be stopped; moments as in state.py.

    Args:
        idle_seconds: without use; 0: never for that.
        most_seconds: since the start, whatever runs; 0: never for that.
        started: when.

    """

    idle_seconds: float
    most_seconds: float
    started: float
    used: float = 0.0
    computed: float = 0.0

    def look(self, now: float, busy: str, gpu: bool = False) -> tuple[float | None, str]:
        """When to stop, None for not yet known, and why.

        Args:
            now: this moment.
            busy: what runs; "" if nothing does.
            gpu: whether the GPU is busy.

        """
        noted = state.noted(state.USED)
        self.used = max(self.used, self.started, noted if noted <= now else 0.0, now if busy else 0.0)
        if gpu:  # which nobody has asked for since may be stuck: for no longer than somebody may pause, it is work
            self.computed = min(now, self.used + self.idle_seconds)
        times = []
        if self.idle_seconds and not busy:
            end = max(self.used, self.computed) + self.idle_seconds
            times.append((end, f"nobody has used it for {self.idle_seconds / 60:g} minutes"))
        if self.most_seconds:
            times.append((self.started + self.most_seconds, f"it has run for {self.most_seconds / 3600:g} hours"))
        return min(times, default=(None, ""))


class Watchdog:
    """Looks once in a round; each part of a round may fail, and the others go on."""

    def __init__(self) -> None:
        idle = _limit("IDLE_STOP_MINUTES", _IDLE_MINUTES, "minutes") * 60
        most = _limit("MAX_HOURS", _MOST_HOURS, "hours", unset=0) * 3600
        logger.info(f"Minutes without use: {idle / 60:g}, hours at most: {most / 3600:g}; 0: no limit")
        self._watch = Watch(idle, most, started(state.now()))
        self._found, self._gpu = Question(work.found), Question(work.gpu_percent)
        self._problems: dict[str, str] = {}
        self._warned = False

    def look(self) -> float:
        """Look, and stop the pod if it is time.

        Returns:
            Seconds until the next round.

        """
        busy = self._tried("What runs", lambda: self._found.answer(_ASK_SECONDS), "")
        percent = self._tried("The GPU", lambda: self._gpu.answer(_ASK_SECONDS), 0)
        now = state.now()
        at, why = self._watch.look(now, busy, percent > _BUSY_GPU_PERCENT)
        self._tried("The start", lambda: _keep(self._watch.started, now), None)
        self._tried("The end", lambda: state.set_stop(None if at is None else time.time() + at - now), None)
        if at is not None and now >= at:
            logger.info(f"Stopping the pod: {why}")
            stopping.stop(os.environ.get("RUNPOD_POD_ID", ""))
            return _AGAIN_SECONDS
        near = at is not None and at - now < _WARN_SECONDS
        if at is not None and near and not self._warned:
            logger.warning(f"The pod will stop in {(at - now) / 60:.0f} minutes, when {why}")
        self._warned = near
        return _PERIOD_SECONDS

    def _tried(self, name: str, ask: Callable[[], Answer], otherwise: Answer) -> Answer:
        """The answer, or what is to be thought without; a problem is said once, until it is another one."""
        problem = ""
        try:
            return ask()
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            return otherwise
        finally:
            if problem and problem != self._problems.get(name):
                logger.warning(f"{name} is not known or cannot be noted: {problem}")
            self._problems[name] = problem


def started(now: float) -> float:
    """When the pod was started: before this container, if that has taken the place of one that ended just now."""
    since, seen = state.noted(state.STARTED), state.noted(state.SEEN)
    if 0 < since <= seen <= now < seen + _SAME_POD_SECONDS:
        return since
    try:
        # Behind the name, which is in brackets and may hold anything: in ticks since the machine was started.
        ticks = _FIRST.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        return min(now, int(ticks) / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return now


def _keep(started: float, now: float) -> None:
    state.note(state.STARTED, started)
    state.note(state.SEEN, now)


def _limit(name: str, default: float, unit: str, unset: float | None = None) -> float:
    """A limit of the environment; what is none is said, and is no reason to cost without an end.

    Args:
        name: of the variable.
        default: what holds instead of what is no number.
        unit: of the number.
        unset: what holds where nothing is asked for; None: the default.

    """
    text = os.environ.get(name, "").strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    if not text:
        return default if unset is None else unset
    logger.error(f"{name}={text[:60]} is not a number of {unit}: {default:g} it is")
    return default


def _ended(*_: object) -> None:
    """The container is stopped on purpose: what is started after that is another pod."""
    state.forget()
    sys.exit(0)


def watch() -> None:
    """Look every few seconds, until the pod is stopped."""
    watchdog = Watchdog()
    while True:
        try:
            pause = watchdog.look()
        except Exception as error:
            # Not in its own words: a key is near.
            logger.error(f"A look has failed, and is repeated: {type(error).__name__}")
            pause = _PERIOD_SECONDS
        time.sleep(pause)


def _log_apart() -> None:
    """Write the log in a thread of its own: a log that nobody takes holds up whoever writes it."""
    handler: logging.Handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("watchdog: %(levelname)s %(message)s"))
    records: SimpleQueue[logging.LogRecord] = SimpleQueue()
    try:
        QueueListener(records, handler).start()
        handler = QueueHandler(records)
        handler.setFormatter(logging.Formatter("%(message)s"))
    except RuntimeError:  # no thread can be started: better held up than not there
        pass
    logging.basicConfig(level=logging.INFO, handlers=[handler])


if __name__ == "__main__":
    _log_apart()
    signal.signal(signal.SIGTERM, _ended)
    watch()

"""Does what an annotator will ask for next while the present image is looked at and worked on."""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

_MOST = 100  # jobs that wait; a client's name may be any


class Prefetch:
    """Runs one background job at a time; keeps only the newest pending job of each owner."""

    def __init__(self) -> None:
        self._errands: dict[str, Callable[[], object]] = {}
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None

    def want(self, owner: str, errand: Callable[[], object]) -> None:
        """Run this soon, in place of what the owner wanted before."""
        with self._news:
            # Not at the start: trainings, which are processes of their own, need none.
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="PREFETCH", daemon=True)
                self._thread.start()
            self._errands[owner] = errand
            while len(self._errands) > _MOST:
                del self._errands[next(iter(self._errands))]
            self._news.notify()

    def _run(self) -> None:
        while True:
            with self._news:
                while not self._errands:
                    self._news.wait()
                errand = self._errands.pop(next(iter(self._errands)))
            try:
                errand()
            except Exception as problem:  # the one who asks for it is told
                logger.info(f"Nothing was done ahead: {type(problem).__name__}")

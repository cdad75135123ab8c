"""Asks in a thread of its own: a question that hangs, as one to a broken driver may for ever, holds up nobody."""

from collections.abc import Callable
from threading import Thread
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Question(Generic[Answer]):
    """One that may be asked again; while it hangs, it is not asked a second time beside the first.

    Args:
        ask: gives the answer, or raises.

    """

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self._thread: Thread | None = None
        self._outcome: Answer | Exception | None = None

    def answer(self, seconds: float) -> Answer:
        """What it answers; where no thread can be started, asked in this one, and as long as it takes.

        Raises:
            TimeoutError: nothing within these seconds.
            Exception: whatever the question raises.

        """
        if self._thread is None:
            thread = Thread(target=self._run, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # others may have used up what threads and processes there may be
                return self._ask()
            self._thread = thread
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise TimeoutError(f"no answer within {seconds:g} s")
        self._thread = None
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome  # type: ignore[return-value]  # the thread has ended, and left one of both

    def _run(self) -> None:
        try:
            self._outcome = self._ask()
        except Exception as problem:
            self._outcome = problem

"""Many things at once, with a progress bar."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from labelpod import console

T = TypeVar("T")
R = TypeVar("R")


def parallel(work: Callable[[T], R], items: Sequence[T], description: str, workers: int = 4) -> list[R]:
    """Results of `work` in the order of `items`, with a progress bar; an exception ends it all, as does Ctrl-C."""
    with console.progress(description, total=len(items)) as bar, ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in as_completed(futures):
                future.result()
                bar.advance(bar.task_ids[0])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in futures]

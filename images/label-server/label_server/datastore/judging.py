"""Looks at images that nobody has looked at yet, one by one, so that lists are right before they are asked for.

It also notices what was deleted in the DICOMweb server while nobody asks for anything.
"""

import logging
import threading
import time

from label_server.datastore.pacs_images import PacsImages

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 5
_AGAIN_SECONDS = 600


class Judging:
    """A thread of its own, while this is entered.

    Args:
        images: what it looks at.

    """

    def __init__(self, images: PacsImages) -> None:
        self._images = images
        self._again = 0.0
        self._ended = threading.Event()

    def __enter__(self) -> None:
        threading.Thread(target=self._run, name="JUDGING", daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(_EVERY_SECONDS):
            try:
                self.round()
            except Exception as problem:  # the DICOMweb server is away, or anything else that passes
                logger.info(f"Images were not looked at: {type(problem).__name__}")

    def round(self) -> None:
        """Look at the images that want it; it takes no more than half of the DICOMweb server's time."""
        again = time.monotonic() > self._again
        if again:
            self._again = time.monotonic() + _AGAIN_SECONDS
        for uid in self._images.to_look_at(left_out=again):
            started = time.monotonic()
            self._images.look_at(uid)
            if self._ended.is_set():
                return
            self._ended.wait(time.monotonic() - started)

"""Looks at images that nobody has looked at yet, one by one, so that lists are right before they are asked for.

It also notices what was deleted in the DICOMweb server while nobody asks for anything.
"""

import logging
import threading
import time

from label_server.datastore.pacs_images import PacsImages

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 5
_MOST = 100  # images in one round


class Judging:
    """A thread of its own, while this is entered.

    Args:
        images: what it looks at.

    """

    def __init__(self, images: PacsImages) -> None:
        self._images = images
        self._looked_at: set[str] = set()  # since the last time that nothing was left
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
        """Look at some of the images that want it; it takes no more than half of the DICOMweb server's time."""
        waiting = [uid for uid in self._images.not_looked_at() if uid not in self._looked_at]
        if not waiting:
            self._looked_at.clear()
        for uid in waiting[:_MOST]:
            self._looked_at.add(uid)
            started = time.monotonic()
            self._images.look_at(uid)
            self._ended.wait(time.monotonic() - started)

"""Samples on loan: what one annotator was given is not given to another for a while.

Upstream gives two annotators the same image whenever it draws so (monailabel 0.8.5, tasks/activelearning/random.py).
"""

import logging
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from label_server.dicomweb.series_metadata import SeriesMetadata
from label_server.radiology.activelearning.lease_places import Lease, LeaseFile, LeasePlace, SharedLeases

logger = logging.getLogger(__name__)

_TRIES = 2  # another label server may have written meanwhile
_TURN_SECONDS = 3
_AHEAD = 60  # seconds that another label server's clock may be


class Leases:
    """Who has which image, and until when; in Orthanc or on the volume, so that a restart forgets nothing.

    Args:
        file: on the workspace volume.
        seconds: how long an image is on loan.
        shared: of the images, where they are in a DICOMweb server: if that keeps it, there is no file.

    """

    def __init__(self, file: Path, seconds: float, shared: SeriesMetadata | None = None) -> None:
        self._own, self._shared = LeaseFile(file), SharedLeases(shared) if shared else None
        self._place: LeasePlace = self._shared or self._own
        self._seconds = seconds
        self.lock = threading.RLock()

    def hear(self) -> None:
        """Find out what other label servers have lent meanwhile.

        Raises:
            requests.RequestException: the DICOMweb server does not answer.

        """
        with self.lock:
            if self._shared:
                self._choose(self._shared if self._shared.kept() else self._own)
            self._place.hear()

    @property
    def shared(self) -> bool:
        """Whether other label servers lend the same images, as was heard last."""
        return self._place is self._shared

    def _choose(self, place: LeasePlace) -> None:
        if place is self._own and self._place is not place:
            logger.warning("The DICOMweb server keeps no leases: label servers beside this one do not heed them")
        self._place = place

    def of_others(self, owner: str) -> set[str]:
        """Images that somebody else has."""
        return {image for image, (who, _) in self.all().items() if who != owner}

    def holder(self, image: str) -> str | None:
        """Who has an image, if anybody has."""
        lease = self.all().get(image)
        return lease[0] if lease else None

    def all(self) -> dict[str, Lease]:
        """Who has which image, and until when in seconds since 1970, as heard last; what was lent first comes first.

        What ends later than any lease that begins now is none: a clock was wrong when it was written.
        """
        now = time.time()
        latest = now + self._seconds + _AHEAD
        lent = ((image, lease) for image, lease in self._place.known().items() if now < lease[1] <= latest)
        return dict(sorted(lent, key=lambda each: each[1][1]))

    def take(self, image: str, owner: str) -> bool:
        """Lend an image; what the owner had until now is given back.

        Returns:
            Whether it was lent; not where another label server was quicker.

        """
        with self.lock:
            if image in self.of_others(owner) or not self._place.replace(image, (owner, time.time() + self._seconds)):
                return False
            for other in [each for each, (who, _) in self.all().items() if who == owner and each != image]:
                self.end(other, owner)
            return True

    def share(self, owner: str, unwanted: Collection[str] = ()) -> bool:
        """Take back, for somebody who finds nothing, what was lent first to the user who has most, if that is several.

        A user may ask under any number of clients' names.

        Args:
            owner: for whom.
            unwanted: images that are of no use to them.

        Returns:
            Whether there was any.

        """
        with self.lock:
            lent, theirs = self.all(), dict[str, list[str]]()
            for image in self.of_others(owner).difference(unwanted):
                theirs.setdefault(user_of(lent[image][0]), []).append(image)
            theirs.pop(user_of(owner), None)
            most = max(theirs.values(), key=len, default=[])
            return len(most) > 1 and self._place.replace(min(most, key=lambda image: lent[image][1]), None)

    def give_back(self, image: str, user: str) -> None:
        """The user, under whatever client's name, does not work on the image any more."""
        with _else_in_time(), self._turn():
            self.hear()
            if (holder := self.holder(image)) and user_of(holder) == user:
                self.end(image, holder)

    def labelled(self, image: str) -> None:
        """The image was labelled, by whomever."""
        with _else_in_time(), self._turn():
            self.hear()
            self.end(image, None)

    def end(self, image: str, owner: str | None) -> None:
        """The owner does not have the image any more; None for whoever is known to have it.

        If another label server has lent it to somebody else meanwhile, they keep it.
        """
        with self.lock, _else_in_time():
            for _ in range(_TRIES):
                lease = self._place.known().get(image)
                if lease is None or owner not in (None, lease[0]) or self._place.replace(image, None):
                    return

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The lock, but not for ever: somebody may hold it who waits for Orthanc, and a label is stored by now.

        Raises:
            requests.Timeout: it is not had in time.

        """
        if not self.lock.acquire(timeout=_TURN_SECONDS):
            raise requests.Timeout("somebody else waits for the DICOMweb server")
        try:
            yield
        finally:
            self.lock.release()


@contextmanager
def _else_in_time() -> Iterator[None]:
    """End a lease as far as that can be done: what was done before it counts, and in time each ends by itself."""
    try:
        yield
    except requests.RequestException as problem:
        logger.warning(f"A lease did not end before its time: {type(problem).__name__}")


def user_of(owner: str) -> str:
    """The user behind an owner, who may be one of several clients."""
    return owner.partition("/")[0]

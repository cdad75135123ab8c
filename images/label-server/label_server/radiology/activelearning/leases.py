"""Samples on loan: what one annotator was given is not given to another for a while.

Upstream gives two annotators the same image whenever it draws so (monailabel 0.8.5, tasks/activelearning/random.py).
"""

import json
import threading
import time
from collections.abc import Collection
from pathlib import Path

from labelpod_common import atomic_file


class Leases:
    """Who has which image, and until when; on the volume, so that a restart forgets nothing.

    Args:
        file: on the workspace volume.
        seconds: how long an image is on loan.

    """

    def __init__(self, file: Path, seconds: float) -> None:
        self._file = file
        self._seconds = seconds
        self.lock = threading.RLock()
        try:
            self._leases: dict[str, tuple[str, float]] = {
                image: (owner, until) for image, (owner, until) in json.loads(file.read_text()).items()
            }
        except (OSError, ValueError, AttributeError, TypeError):
            self._leases = {}

    def of_others(self, owner: str) -> set[str]:
        """Images that somebody else has."""
        now = time.time()
        with self.lock:
            return {image for image, (who, until) in self._leases.items() if who != owner and until > now}

    def holder(self, image: str) -> str | None:
        """Who has an image, if anybody has."""
        owner, until = self._leases.get(image, ("", 0.0))
        return owner if until > time.time() else None

    def all(self) -> dict[str, tuple[str, float]]:
        """Who has which image, and until when in seconds since 1970."""
        now = time.time()
        with self.lock:
            return {image: lease for image, lease in self._leases.items() if lease[1] > now}

    def take(self, image: str, owner: str) -> None:
        """Lend an image; what the owner had until now is given back."""
        now = time.time()
        with self.lock:
            kept = ((each, lease) for each, lease in self._leases.items() if lease[1] > now and lease[0] != owner)
            self._leases = dict(kept)
            self._leases[image] = (owner, now + self._seconds)
            self._write()

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
            theirs: dict[str, list[str]] = {}
            for image in self.of_others(owner).difference(unwanted):
                theirs.setdefault(user_of(self._leases[image][0]), []).append(image)
            theirs.pop(user_of(owner), None)
            most = max(theirs.values(), key=len, default=[])
            if len(most) < 2:
                return False
            del self._leases[min(most, key=lambda image: self._leases[image][1])]
            self._write()
            return True

    def give_back(self, image: str, user: str) -> None:
        """The user, under whatever client's name, does not work on the image any more."""
        with self.lock:
            if user_of(self._leases.get(image, ("", 0.0))[0]) == user:
                self.end(image)

    def end(self, image: str) -> None:
        """The image was labelled."""
        with self.lock:
            if self._leases.pop(image, None):
                self._write()

    def _write(self) -> None:
        atomic_file.write(self._file, json.dumps(self._leases).encode())


def user_of(owner: str) -> str:
    """The user behind an owner, who may be one of several clients."""
    return owner.partition("/")[0]

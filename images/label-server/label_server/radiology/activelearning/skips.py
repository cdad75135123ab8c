"""Images that a user has put aside, with the reason: they are not offered to that user again."""

import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from labelpod_common import atomic_file

_MOST_OF_A_USER = 2000

_Skipped = Mapping[str, tuple[str, str]]  # reason and time, by image


class Skips:
    """Who does not want which image, since when and why; on the volume, so that a restart forgets nothing.

    Args:
        file: on the workspace volume.

    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        try:
            self._skips: dict[str, _Skipped] = {
                user: {image: (str(reason), str(at)) for image, (reason, at) in skipped.items()}
                for user, skipped in json.loads(file.read_text(encoding="utf-8")).items()
            }
        except (OSError, ValueError, AttributeError, TypeError):
            self._skips = {}

    def of(self, user: str) -> set[str]:
        """The images that a user has skipped."""
        return set(self._skips.get(user, {}))

    def of_all(self) -> set[str]:
        """The images that anybody has skipped."""
        return {image for skipped in self._skips.copy().values() for image in skipped}

    def add(self, user: str, image: str, reason: str) -> None:
        """Put an image aside; of too many of a user the first is offered again.

        Raises:
            OSError: it cannot be written down; nothing was changed.

        """
        with self._lock:
            others = {each: why for each, why in self._skips.get(user, {}).items() if each != image}
            skipped = [*others.items(), (image, (reason, datetime.now(UTC).isoformat(timespec="seconds")))]
            self._write(self._skips | {user: dict(skipped[-_MOST_OF_A_USER:])})

    def end(self, user: str, image: str) -> bool:
        """Take a user's image back, or say that there is none."""
        with self._lock:
            there = image in self._skips.get(user, {})
            if there:
                self._write(self._skips | {user: _without(self._skips[user], image)})
            return there

    def forget(self, image: str) -> None:
        """The image is gone."""
        with self._lock:
            if image in self.of_all():
                self._write({user: _without(skipped, image) for user, skipped in self._skips.items()})

    def listed(self) -> list[dict[str, str]]:
        """All of them: `{"image", "user", "reason", "at"}`, each user's in the order of time."""
        return [
            {"image": image, "user": user, "reason": reason, "at": at}
            for user, skipped in self._skips.copy().items()
            for image, (reason, at) in skipped.items()
        ]

    def _write(self, skips: dict[str, _Skipped]) -> None:
        atomic_file.write(self._file, json.dumps(skips).encode())
        self._skips = skips


def _without(skipped: _Skipped, image: str) -> _Skipped:
    return {each: why for each, why in skipped.items() if each != image}

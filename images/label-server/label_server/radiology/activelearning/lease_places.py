"""Where leases are written down: in Orthanc, so that all label servers over it heed them, or else in a file."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from label_server.dicomweb.series_metadata import SeriesMetadata
from labelpod_common import atomic_file

Lease = tuple[str, float]  # who has an image, and until when in seconds since 1970


class LeasePlace(Protocol):
    """Keeps leases."""

    def hear(self) -> None:
        """Find out what others have written."""

    def known(self) -> Mapping[str, Lease]:
        """By image, as heard last; those that have ended may be among them."""

    def replace(self, image: str, lease: Lease | None) -> bool:
        """Write a lease in the place of the one that is known, or end that; whether nobody was quicker."""


class LeaseFile:
    """Leases of one label server.

    Args:
        file: on the workspace volume, so that a restart forgets nothing.

    """

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._leases = {image: _lease(*lease) for image, lease in json.loads(file.read_text()).items()}
        except (OSError, ValueError, AttributeError, TypeError, OverflowError, RecursionError):
            self._leases = {}

    def hear(self) -> None:
        """Nobody else writes it."""

    def known(self) -> Mapping[str, Lease]:
        """By image."""
        return self._leases

    def replace(self, image: str, lease: Lease | None) -> bool:
        """Write a lease, or end it; those that have ended are forgotten."""
        now = time.time()
        kept = {each: known for each, known in self._leases.items() if known[1] > now and each != image}
        self._leases = kept if lease is None else kept | {image: lease}
        atomic_file.write(self._file, json.dumps(self._leases).encode())
        return True


class SharedLeases:
    """Leases of all label servers over one Orthanc.

    Their clocks must agree as far as it matters when a lease ends.

    Args:
        metadata: of the images.

    """

    def __init__(self, metadata: SeriesMetadata) -> None:
        self._metadata = metadata

    def kept(self) -> bool:
        """Whether Orthanc keeps any; it may begin to."""
        return self._metadata.kept()

    def hear(self) -> None:
        """Ask Orthanc, once."""
        self._metadata.hear()

    def known(self) -> Mapping[str, Lease]:
        """By image; what somebody else has written there is none."""
        read = {image: _read(text) for image, text in self._metadata.known().items()}
        return {image: lease for image, lease in read.items() if lease}

    def replace(self, image: str, lease: Lease | None) -> bool:
        """Write a lease in the place of the one that is known, or end that."""
        return self._metadata.replace(image, None if lease is None else json.dumps(lease))


def _read(text: str) -> Lease | None:
    try:
        return _lease(*json.loads(text))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def _lease(owner: object, until: object) -> Lease:
    """A lease as JSON has it.

    Raises:
        TypeError: it is none.
        OverflowError: nor is its end a time.

    """
    if not isinstance(owner, str) or isinstance(until, bool) or not isinstance(until, int | float):
        raise TypeError("no lease")
    return owner, float(until)

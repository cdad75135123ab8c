"""Reviewers' judgements in Orthanc: all label servers over it know them, and none is lost with a cache."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from label_server.datastore import reviews
from label_server.dicomweb.series_metadata import SeriesMetadata

_TRIES = 5


class Judgements:
    """What was said last of each label, and of which version of it.

    Args:
        metadata: of the labels' series.

    """

    def __init__(self, metadata: SeriesMetadata) -> None:
        self._metadata = metadata

    def hear(self) -> None:
        """Find out what reviewers have said at other label servers.

        Raises:
            requests.RequestException: the DICOMweb server does not answer.

        """
        self._metadata.hear()

    def of(self, label: str, version: Callable[[], str]) -> dict[str, Any]:
        """What a label's information says of its judgement, as heard last; nothing if another version was judged.

        Args:
            label: the UID of its series.
            version: tells its version, which may take long.

        """
        said = _read(self._metadata.known().get(label, ""))
        return reviews.judgement(said) if said and said.get("version") == version() else {}

    def write(self, label: str, version: str, info: Mapping[str, Any]) -> bool:
        """Write down a judgement in the place of an earlier one, where the DICOMweb server keeps it.

        Args:
            label: the UID of its series.
            version: of the label.
            info: of the label, with the judgement.

        Returns:
            Whether the label is there.

        Raises:
            requests.RequestException: the DICOMweb server refuses or does not answer.

        """
        if not self._metadata.kept():
            return True
        text = json.dumps({"version": version, **reviews.judgement(info)})
        return any(self._metadata.replace(label, text) for _ in range(_TRIES))  # others may write, too


def _read(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}

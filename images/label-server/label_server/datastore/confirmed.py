"""Which labels of an image are confirmed: a list beside it in Orthanc, which all label servers over it change in turn.

From what is stored nobody can tell which of two labels came first, or whether a third is about to be taken back. So a
label server answers for a label only once it has confirmed it; of two that have seen the same list only one can.
"""

import json
from collections.abc import Iterable

from label_server.dicomweb.series import LabelSeries
from label_server.dicomweb.series_metadata import SeriesMetadata

_MOST = 400  # UIDs, of 64 letters at most: Orthanc takes 32 KB
_TRIES = 2  # an image that has come back under another patient has another address


class Confirmed:
    """The lists, as they were heard last.

    Args:
        metadata: of the images. Where the DICOMweb server keeps none, every label is confirmed.

    """

    def __init__(self, metadata: SeriesMetadata) -> None:
        self._metadata = metadata

    def hear(self, image: str) -> None:
        """Find out which labels of an image are confirmed.

        Raises:
            requests.RequestException: the DICOMweb server does not answer.

        """
        self._metadata.hear_of(image)

    def labels(self, image: str) -> list[str]:
        """The UIDs of the series that are confirmed, the last one last; some may be gone."""
        return _read(self._metadata.known().get(image, ""))

    def add(self, image: str, label: str, others: Iterable[LabelSeries]) -> bool:
        """Confirm a label, if the list is what was heard last.

        Args:
            image: of the image.
            label: the UID of its series.
            others: that are there; those that are not are forgotten.

        Returns:
            Whether it was. If not, another label server has confirmed one meanwhile, and the list is heard now.

        Raises:
            requests.RequestException: the DICOMweb server refuses or does not answer.

        """
        if not self._metadata.kept():
            return True
        there, heard = {each.uid for each in others}, self._metadata.known().get(image)
        text = json.dumps([*(each for each in self.labels(image) if each in there), label][-_MOST:])
        for _ in range(_TRIES):
            if self._metadata.replace(image, text):
                return True
            if self._metadata.known().get(image) != heard:
                return False
        return True  # the image has gone, and its labels are nobody's


def _read(text: str) -> list[str]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [each for each in said if isinstance(each, str)] if isinstance(said, list) else []

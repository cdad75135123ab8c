"""Looks in the background whether the labels of other programs can be read, so that lists say so before anybody asks.

Only what the DICOMweb server says of an image's slices is fetched for that, not the image. What cannot be read is
looked at again after a while: the image may still have been arriving.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import requests
import SimpleITK as sitk

from label_server.dicomweb.series import LabelSeries
from label_server.parsing import dicom_series
from labelpod_common.dicom import header

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 600

Positions = Sequence[Sequence[float]]


class LabelCheck:
    """One thread, for as long as there is something to look at.

    Args:
        metadata: of the slices of an image, by its UID.
        check: reads a label on an image of which it gets the grid, and where its slices begin (mm).

    """

    def __init__(
        self, metadata: Callable[[str], Sequence[Any]], check: Callable[[LabelSeries, sitk.Image, Positions], None]
    ) -> None:
        self._metadata = metadata
        self._check = check
        self._looked: dict[tuple[str, int], float] = {}  # by series, and how many instances it had
        self._lock = threading.Lock()
        self._runs = False

    def want(self, good: Iterable[LabelSeries], unread: Iterable[LabelSeries]) -> None:
        """Look soon at those of the good that are new, and again at those that could not be read."""
        with self._lock:
            now = time.monotonic()
            due = [label for label in good if _key(label) not in self._looked]
            due += [label for label in unread if self._looked.get(_key(label), -math.inf) < now - _AGAIN_SECONDS]
            if due and not self._runs:
                self._runs = True
                threading.Thread(target=self._look, args=(due,), name="LABELS", daemon=True).start()

    def _look(self, due: Sequence[LabelSeries]) -> None:
        try:
            for label in due:
                self._looked[_key(label)] = time.monotonic()
                if found := grid_of(self._metadata(label.image_uid)):
                    self._check(label, *found)
        except (requests.RequestException, OSError) as error:  # they are looked at again when somebody reads them
            logger.info(f"Labels were not looked at: {type(error).__name__}")
        finally:
            self._runs = False


def _key(label: LabelSeries) -> tuple[str, int]:
    return label.uid, label.instances


def grid_of(metadata: Sequence[Any]) -> tuple[sitk.Image, Positions] | None:
    """An empty image on the grid that slices make, and where they begin; None if they are no plain stack."""
    try:
        slices = [header.of(header.from_json(each)) for each in metadata]
        if len(slices) < 2 or not all(each.position for each in slices):
            return None
        slices.sort(key=dicom_series.along_normal(slices[0]))
        image = sitk.Image(slices[0].columns, slices[0].rows, len(slices), sitk.sitkUInt8)
        dicom_series.place(image, slices)
    except Exception:  # whatever a header may hold
        return None
    return image, [each.position or () for each in slices]

"""Which SEG series this stack's label servers made.

Manufacturer, author and date are words that any program may write. A label of ours carries a seal besides, made with
the stack's key of series, image, author, date, instance and the save that made it: copied or changed, it fits no more.
It stands where lists of series show it, in the code that says why the SEG refers to its image.

Labels from before there were seals are those with our Manufacturer that are there at the first server's first look.
"""

import hmac
import json
import logging
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydicom import Dataset

from label_server.dicomweb.series import LABEL_FIELDS, MANUFACTURER, first, referenced, text
from labelpod_common import atomic_file, label_key

logger = logging.getLogger(__name__)

_SCHEME, _MEANING = "99LABELPOD", "Sealed by the label server"
_SEALED = ("SeriesInstanceUID", "ContentDate", "ContentTime", "ContentCreatorName")
_RECORD = "labels_before_seals.json"


def key(workspace: Path, environ: Mapping[str, str] = os.environ) -> str:
    """The stack's key: the file that LABEL_KEY_FILE names, or one that this workspace makes for itself."""
    file = Path(environ.get("LABEL_KEY_FILE") or workspace / "label_key")
    if not file.exists():
        atomic_file.write(file, secrets.token_urlsafe(32).encode(), 0o600)
    return file.read_text(encoding="utf-8").strip()


class OwnLabels:
    """Seals labels, and tells which are ours.

    Args:
        secret: the stack's key.
        shared: folder of all label servers, with the record of the labels from before there were seals.
        url: of the DICOMweb server that they are in.
        records: whether this one makes that record, where there is none; the others only read it.

    """

    def __init__(self, secret: str, shared: Path, url: str, records: bool = True) -> None:
        self._key = secret
        self._file = shared / _RECORD
        self._server = urlsplit(url).netloc
        before = _read(self._file).get(self._server)
        self._first_look = before is None and records
        self._before = set(before or ())

    @property
    def deletion(self) -> str:
        """What Orthanc demands for the deletion of a label."""
        return label_key.deletion(self._key)

    def seal(self, seg: Dataset, save: str = "") -> None:
        """Seal a DICOM SEG that is complete, and names its image in RelatedSeriesSequence.

        Args:
            seg: the label.
            save: tells the save that made it, in hexadecimal.

        """
        short = Dataset()
        short.update({each.tag: each for each in seg if each.keyword in LABEL_FIELDS})
        instance = str(seg.SOPInstanceUID)
        code = Dataset()
        code.LongCodeValue = f"{instance}:{self._made(short.to_json_dict(), instance, save)}:{save}".removesuffix(":")
        code.CodingSchemeDesignator, code.CodeMeaning = _SCHEME, _MEANING
        seg.RelatedSeriesSequence[0].PurposeOfReferenceCodeSequence = [code]

    def sealed(self, listed: Mapping[str, Any]) -> str:
        """The SOPInstanceUID of our label in a SEG series, "" if its seal does not fit.

        Args:
            listed: the series, as lists or the metadata of an instance give it.

        """
        instance, seal, save = _code(listed)
        fits = seal and hmac.compare_digest(seal.encode(), self._made(listed, instance, save).encode())
        return instance if fits else ""

    def save_of(self, listed: Mapping[str, Any]) -> str:
        """Which save made our label in a SEG series, "" if its seal does not say so, or does not fit."""
        return _code(listed)[2] if self.sealed(listed) else ""

    def from_before(self, listed: Mapping[str, Any]) -> bool:
        """Whether a SEG series without a seal is ours all the same."""
        uid = text(listed, "SeriesInstanceUID")
        if self._first_look and text(listed, "Manufacturer") == MANUFACTURER:
            self._before.add(uid)
        return uid in self._before

    def have_been_listed(self) -> None:
        """All labels have been looked at: from now on only a seal makes one ours."""
        if self._first_look:
            self._first_look = False
            content = _read(self._file) | {self._server: sorted(self._before)}
            try:
                atomic_file.write(self._file, json.dumps(content, indent=2).encode(), 0o600)
            except OSError as error:
                logger.warning(f"{_RECORD} cannot be written: {error.strerror}")

    def _made(self, listed: Mapping[str, Any], instance: str, save: str) -> str:
        said = [text(listed, each) for each in _SEALED]
        image = referenced(listed, "RelatedSeriesSequence")
        # Earlier labels do not say which save made them.
        return label_key.made(self._key, *said, image, instance, *filter(None, [save]))


def _code(listed: Mapping[str, Any]) -> tuple[str, str, str]:
    """The instance, the seal and the save that the code of a SEG series names, each "" if it does not."""
    codes = first(first(listed, "RelatedSeriesSequence"), "PurposeOfReferenceCodeSequence")
    instance, seal, save = (*text(codes, "LongCodeValue").split(":", 2), "", "")[:3]
    return instance, seal, save


def _read(file: Path) -> dict[str, list[str]]:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        return {str(server): [str(uid) for uid in uids] for server, uids in read.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        logger.warning(f"{_RECORD} cannot be read: {type(error).__name__}")
        return {}

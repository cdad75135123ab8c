"""What a label takes over from the slices that it belongs to, made what DICOM wants: no odd header stops a label.

| in the slices | in the label |
|---|---|
| a date as 2026-01-01 or 2026.01.01 | as 20260101 |
| a time as 10:10:10 | as 101010 |
| another date or time, a sex other than M, F or O | empty |
| no slice thickness, or none above 0 | the slices' distance |
| compressed with loss, without ratio or method | not said |
| NumberOfFrames of 1, as some export single slices | left out |
| no frame of reference, or several | one |
| no SOP class | as the file says, else CT |
| text in any character set | the same text in UTF-8 (ISO_IR 192) |
| a patient's ID that cannot be read in the character set | the label is refused: it could go to another patient |
"""

import datetime
import re
from collections.abc import Sequence
from contextlib import suppress

from pydicom import Dataset
from pydicom.uid import CTImageStorage, generate_uid

CHARACTER_SET = "ISO_IR 192"
# DICOM's type 2: the attribute must be there, its value need not.
_MAY_BE_EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_UNREADABLE = "\ufffd"  # what pydicom puts in the place of bytes that its character set has not


class UnreadablePatient(ValueError):
    """The patient's ID cannot be read."""


def prepare(headers: Sequence[Dataset], distance: float) -> None:
    """Make the headers of a series what a writer of DICOM accepts, see the table above.

    Args:
        headers: without pixels; changed where they are.
        distance: of the slices, in mm.

    Raises:
        UnreadablePatient: see the table.

    """
    frame = next((str(each.FrameOfReferenceUID) for each in headers if each.get("FrameOfReferenceUID")), "")
    frame = frame or generate_uid(entropy_srcs=[str(headers[0].SeriesInstanceUID)])
    for header in headers:
        _decode(header)
        _patient_and_study(header)
        _slice(header, distance)
        header.FrameOfReferenceUID = frame


def _decode(header: Dataset) -> None:
    header.decode()
    if _UNREADABLE in str(header.get("PatientID", "")):
        raise UnreadablePatient
    header.SpecificCharacterSet = CHARACTER_SET


def _patient_and_study(header: Dataset) -> None:
    for keyword in _MAY_BE_EMPTY:
        value = header.get(keyword)
        setattr(header, keyword, str(value) if value else None)
    for keyword in ("PatientBirthDate", "StudyDate"):
        setattr(header, keyword, _date(header.get(keyword) or ""))
    header.StudyTime = _time(header.get("StudyTime") or "")
    if header.PatientSex not in ("M", "F", "O"):
        header.PatientSex = None


def _slice(header: Dataset, distance: float) -> None:
    try:
        thick = float(header.get("SliceThickness") or 0) > 0
    except (TypeError, ValueError):
        thick = False
    if not thick:
        header.SliceThickness = f"{distance:.6g}"
    if any(not header.get(keyword) for keyword in _LOSSY):
        for keyword in _LOSSY:
            header.pop(keyword, None)
    header.pop("NumberOfFrames", None)
    if not header.get("SOPClassUID"):
        header.SOPClassUID = header.file_meta.get("MediaStorageSOPClassUID") or CTImageStorage


def _date(text: str) -> str | None:
    found = re.fullmatch(r"([0-9]{4})[-./]?([0-9]{2})[-./]?([0-9]{2})", text.strip())
    with suppress(ValueError):
        if found:
            return datetime.date(*map(int, found.groups())).strftime("%Y%m%d")
    return None


def _time(text: str) -> str | None:
    found = re.fullmatch(r"([01][0-9]|2[0-3])(?::?([0-5][0-9])(?::?([0-5][0-9])(\.[0-9]{1,6})?)?)?", text.strip())
    return "".join(part or "" for part in found.groups()) if found else None

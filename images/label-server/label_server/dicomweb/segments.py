"""The segments that a DICOM SEG describes, and which labels of the list they are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.sr.coding import Code

from labelpod_common import label_codes
from labelpod_common.labels import Label

_BACKGROUND = Code("125040", "DCM", "Background")


@dataclass(frozen=True)
class Segment:
    """A segment: what it is called, what it is by its code, and the object that it is, "" if the SEG does not say."""

    number: int
    name: str
    kind: Code | None = None
    tracking: str = ""

    @property
    def background(self) -> bool:
        """Whether it is what is left of the patient, which a LABELMAP may describe as well."""
        return self.number == 0 or (self.kind is not None and self.kind == _BACKGROUND)


def of(seg: Dataset) -> list[Segment]:
    """The segments of a SEG, by their numbers; raises whatever pydicom does of odd ones."""
    found = [_segment(item) for item in seg.SegmentSequence]
    return sorted((each for each in found if not each.background), key=lambda each: each.number)


def _segment(item: Dataset) -> Segment:
    number = int(item.SegmentNumber)
    name = str(item.get("SegmentLabel") or "").strip() or f"segment {number}"
    return Segment(number, name, _code(item), str(item.get("TrackingID") or ""))


def _code(item: Dataset) -> Code | None:
    for code in item.get("SegmentedPropertyTypeCodeSequence") or ():
        value = code.get("CodeValue") or code.get("LongCodeValue") or code.get("URNCodeValue")
        if value:
            return Code(str(value), str(code.get("CodingSchemeDesignator") or ""), str(code.get("CodeMeaning") or ""))
    return None


def named(segment: Segment, labels: Sequence[Label]) -> str:
    """The label of the list that has the segment's name, "" if none does."""
    return next((label.name for label in labels if label.name.lower() == segment.name.lower()), "")


def coded(segment: Segment, labels: Sequence[Label]) -> list[str]:
    """The labels of the list that are what the segment's code says; an older SNOMED code is its newer one.

    That something is tissue says nothing: it is what a label is called that no code is known for.
    """
    found: list[str] = []
    for label in labels if segment.kind else ():
        kind = label_codes.of(label, labels)[1]
        if kind != label_codes.TISSUE and segment.kind == Code(kind.value, kind.scheme, kind.meaning):
            found.append(label.name)
    return found


def listed(segment: Segment, labels: Sequence[Label]) -> bool:
    """Whether a segment of another program is one of the list's labels, by its name or its code."""
    return bool(named(segment, labels) or coded(segment, labels))


def assign(segments: Sequence[Segment], labels: Sequence[Label]) -> list[str]:
    """What segments of other programs are called here: no two of them the same, unless the list has their name.

    The label of the list that has the name; else the first that no other has of those that the code means; else the
    segment's own name, with a number if another has that.
    """
    names = [named(each, labels) for each in segments]
    taken = set(names)
    for place, segment in enumerate(segments):
        if not names[place]:
            own = (segment.name, *(f"{segment.name} {number}" for number in range(2, len(segments) + 2)))
            names[place] = _free((*coded(segment, labels), *own), taken)
            taken.add(names[place])
    return names


def _free(names: Iterable[str], taken: set[str]) -> str:
    return next(name for name in names if name not in taken)

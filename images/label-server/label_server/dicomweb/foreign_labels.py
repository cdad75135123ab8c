"""What the metadata of another program's DICOM SEG says: which image it is of, and whether it is one of our labels.

Nothing of its voxels is fetched for that. What a server's metadata may be is anybody's guess, so that whatever pydicom
makes nothing of is the reason why the SEG does not count.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from label_server.dicomweb import segments
from label_server.dicomweb.segments import Segment
from label_server.dicomweb.series import text
from labelpod_common.labels import Label

_WANTED = {
    f"{tag_for_keyword(keyword):08X}"
    for keyword in (
        *("SOPInstanceUID", "SegmentSequence", "ReferencedSeriesSequence", "SourceImageSequence"),
        *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "FrameOfReferenceUID"),
    )
}
_NAMES = 3  # of segments that a reason holds

_Listed = Mapping[str, Any]


@dataclass(frozen=True)
class LabelRules:
    """Which segments of other programs are labels: those that the list has by name or code, or any.

    Args:
        labels: the list; none of it for any.

    """

    labels: Sequence[Label] = ()

    def unlisted(self, found: Sequence[Segment]) -> str:
        """Why none of these segments is a label, "" if one is."""
        if not self.labels or any(segments.listed(each, self.labels) for each in found):
            return ""
        names = [each.name for each in found[:_NAMES]] + ["..."] * (len(found) > _NAMES)
        return f"the label list has none of its segments: {', '.join(names)}"


@dataclass(frozen=True)
class Reading:
    """What the instances of a series say: the segments, or why they cannot be read, and what they refer to."""

    segments: Sequence[Segment]
    unread: str
    series: Sequence[str]
    instances: Sequence[str]
    frame_of_reference: str


def read(metadata: Sequence[_Listed]) -> Reading:
    """Read the metadata of a SEG series, instance by instance."""
    found: list[Segment] = []
    series: dict[str, None] = {}
    instances: dict[str, None] = {}
    frame = ""
    try:
        for listed in metadata:
            seg = Dataset.from_json({tag: value for tag, value in listed.items() if tag in _WANTED})
            series |= dict.fromkeys(_series(seg))
            instances |= dict.fromkeys(_sources(seg))
            frame = frame or str(seg.get("FrameOfReferenceUID") or "")
            found += segments.of(seg)
    except Exception as problem:  # what anybody has written there
        unread = f"its DICOM SEG cannot be read: {type(problem).__name__}"
        return Reading(found, unread, tuple(series), tuple(instances), frame)
    unread = "" if found else "its DICOM SEG describes no segment"
    return Reading(found, unread, tuple(series), tuple(instances), frame)


def _series(seg: Dataset) -> Iterator[str]:
    for item in seg.get("ReferencedSeriesSequence") or ():
        if uid := item.get("SeriesInstanceUID"):
            yield str(uid)


def _sources(seg: Dataset) -> Iterator[str]:
    """The images that a SEG, or any of its frames, says it was made of."""
    groups = (
        *(seg.get("SharedFunctionalGroupsSequence") or ()),
        *(seg.get("PerFrameFunctionalGroupsSequence") or ()),
    )
    derived = (each for group in groups for each in group.get("DerivationImageSequence") or ())
    for holder in (seg, *groups, *derived):
        for source in holder.get("SourceImageSequence") or ():
            if uid := source.get("ReferencedSOPInstanceUID"):
                yield str(uid)


def image_of(
    reading: Reading,
    images: Container[str],
    of_study: Sequence[str],
    search: Callable[[str, Mapping[str, str]], Sequence[_Listed]],
) -> str:
    """The image series that a SEG is of; "" if that cannot be told, or is not here.

    The series that it names, else that of the instances that it was made of, else, if it names neither, the only
    image of its study in the same frame of reference.

    Args:
        reading: of its metadata.
        images: the image series that are here.
        of_study: those of its study.
        search: asks the server for instances: of one series, or of all (""), that match.

    """
    for uid in reading.series:
        if uid in images:
            return uid
    for instance in dict.fromkeys((*reading.instances[:1], *reading.instances[-1:])):
        for listed in search("", {"SOPInstanceUID": instance}):
            if (uid := text(listed, "SeriesInstanceUID")) in images:
                return uid
    if reading.series or reading.instances or not reading.frame_of_reference:
        return ""
    same = [uid for uid in of_study if _frame_of(search(uid, {})) == reading.frame_of_reference]
    return same[0] if len(same) == 1 else ""


def _frame_of(listed: Sequence[_Listed]) -> str:
    return text(listed[0], "FrameOfReferenceUID") if listed else ""

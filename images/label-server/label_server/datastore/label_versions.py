"""The version of a label, and what a save demands of the one that it is to follow: nobody's work is replaced unseen."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from numpy.typing import NDArray

from label_server.dicomweb.series import LabelSeries
from label_server.errors import Overtaken

_TIME = "%Y%m%d%H%M%S"


def version(together: Sequence[LabelSeries]) -> str:
    """What stays the same for as long as a label does; "" if there is none.

    Args:
        together: the SEG series that it is made of; each save makes another one.

    """
    return _digest([f"{each.uid} {each.instances}" for each in together]) if together else ""


def of_own(uid: str) -> str:
    """The version of a label of ours, by the UID of its series: it is one SEG."""
    return _digest([f"{uid} 1"])


def save_id(follows: str, voxels: NDArray[Any], names: Mapping[int, str]) -> str:
    """What tells a save from every other of its author and image, and stays the same if it is sent again.

    Args:
        follows: the version that it follows, "" for none.
        voxels: of the label.
        names: what its values mean.

    """
    voxels_said = hashlib.sha256(voxels.tobytes()).hexdigest()
    return _digest([follows, voxels_said, *(f"{value} {name}" for value, name in sorted(names.items()))])


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def created(label: LabelSeries) -> str:
    """When a label was made, in ISO 8601, "" if it does not say so: other programs write anything.

    DICOM's time has no zone: it is taken for one of this machine's.
    """
    try:
        return datetime.strptime(label.created[:14], _TIME).astimezone().isoformat()
    except (ValueError, OverflowError, OSError):
        return ""


def overtaken(label: LabelSeries | None, now: str) -> Overtaken:
    """Why a label is not stored, by the one that counts now and its version; None if there is none any more."""
    if label is None:
        return Overtaken("the label that you had was deleted meanwhile", "", "")
    at = created(label)
    # What another program says of its user may be anybody's name, and errors are logged.
    who = label.creator if label.own else "another program"
    told = f"{who} has stored a label of this image meanwhile" + (f", at {at}" if at else "")
    return Overtaken(told, label.creator or who, at, now)

"""What reviewers have said of labels, as 3D Slicer's MONAI Label Reviewer writes it into a label's information."""

from collections.abc import Mapping
from typing import Any

from label_server.datastore import label_versions
from label_server.dicomweb.series import LabelSeries

_JUDGEMENT = "segmentationMeta"
_STATES = ("approved", "flagged")


def is_judged(info: Mapping[str, Any]) -> bool:
    """Whether a label's information holds a judgement."""
    return _JUDGEMENT in info


def entry(label: LabelSeries, study: str, info: Mapping[str, Any]) -> dict[str, str]:
    """The judgement of a label; "" for what nobody has said.

    Args:
        label: that counts.
        study: of its image.
        info: of this version of it.

    """
    found = info.get(_JUDGEMENT)
    said = found if isinstance(found, dict) else {}
    state = _text(said, "status")
    return {
        "image": label.image_uid,
        "study": study,
        "state": state if state in _STATES else "",
        "difficulty": _text(said, "level"),
        "comment": _text(said, "comment"),
    } | (_judge(label, info) if said else {"by": "", "at": ""})


def _judge(label: LabelSeries, info: Mapping[str, Any]) -> dict[str, str]:
    """Who judged it and when; a reviewer's own label may bring its judgement with it."""
    if "reviewer" in info:
        return {"by": _text(info, "reviewer"), "at": _text(info, "reviewed")}
    return {"by": _text(info, "client_id"), "at": label_versions.created(label)}


def _text(said: Mapping[str, Any], key: str) -> str:
    value = said.get(key)
    return value if isinstance(value, str) else ""

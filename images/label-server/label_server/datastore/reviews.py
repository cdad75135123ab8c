"""What reviewers have said of labels, as 3D Slicer's MONAI Label Reviewer writes it into a label's information."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from label_server import users
from label_server.datastore import label_versions
from label_server.dicomweb.series import LabelSeries
from label_server.errors import Refused

_JUDGEMENT = "segmentationMeta"
_STATES = ("approved", "flagged")
_MOST_BYTES = 16 * 1024  # all judgements are read at once


def is_judged(info: Mapping[str, Any]) -> bool:
    """Whether a label's information holds a judgement."""
    return _JUDGEMENT in info


def signed(info: Mapping[str, Any]) -> dict[str, Any]:
    """What is added to what is known of a label, with who adds it and when; who painted the label stays.

    Raises:
        Refused: the judgement is too long.

    """
    check_length(info)
    by = {"reviewer": users.current.get().name, "reviewed": datetime.now(UTC).isoformat(timespec="seconds")}
    return {key: value for key, value in info.items() if key not in ("user", "client_id")} | by


def check_length(info: Mapping[str, Any]) -> None:
    """Refuse a judgement that is longer than a reviewer's words are.

    Raises:
        Refused: it is.

    """
    if len(json.dumps(info.get(_JUDGEMENT))) > _MOST_BYTES:
        raise Refused(f"a judgement of more than {_MOST_BYTES // 1024} KB")


def judgement(info: Mapping[str, Any]) -> dict[str, Any]:
    """The judgement alone of what is known of a label, and whose it is."""
    return {key: info[key] for key in (_JUDGEMENT, "reviewer", "reviewed") if key in info}


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

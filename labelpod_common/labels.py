"""The label list: what can be painted, in which order, and what it is.

`LABELS` is a comma-separated list of `name:class:code`, `name:class`, or only of names (class = position). A name is
one segment of its own; its value in a label map is its position, 1..n, so that two nodules never melt into one object.
Names of the same class are the same kind of thing; label_codes.py tells which DICOM code that has.

The driver and the label server share this file, so that both refuse the same lists; standard library only.
"""

import re
from dataclasses import dataclass

DEFAULT = "nodule1:1,nodule2:1,nodule3:1"
# 16-bit label maps could hold more; Slicer's segment list cannot be used with more.
MAX_LABELS = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+()-]{0,63}")
_CODE = re.compile(r"[A-Z0-9]{1,16}-[A-Za-z0-9._]{1,16}|[A-Za-z][A-Za-z ]{0,31}")
_RESERVED = {"background", "scribbles", "foreground_scribbles", "background_scribbles"}


@dataclass(frozen=True)
class Label:
    """One entry of the list: `value` is what a label map holds, `class_id` what models learn.

    `code` is a DICOM code as `SCT-27925004`, or a word that label_codes.py knows; "" if the name says enough.
    """

    name: str
    value: int
    class_id: int
    code: str = ""


def parse(text: str) -> tuple[Label, ...]:
    """Read a label list.

    Args:
        text: `name:class,name:class:code` or `name,name`, as in the LABELS setting.

    Returns:
        The labels in list order, values 1..n.

    Raises:
        ValueError: one line with the reason, naming the entry that is wrong.

    """
    entries = [entry.strip() for entry in text.split(",")]
    if not any(entries):
        raise ValueError("the label list is empty")
    if len(entries) > MAX_LABELS:
        raise ValueError(f"{len(entries)} labels are more than {MAX_LABELS}")
    labels = tuple(_entry(entry, value) for value, entry in enumerate(entries, start=1))
    seen: set[str] = set()
    for label in labels:
        if label.name.lower() in seen:
            raise ValueError(f"the name {label.name!r} stands there twice")
        seen.add(label.name.lower())
    return labels


def _entry(entry: str, position: int) -> Label:
    name, *more = (part.strip() for part in entry.split(":", 2))
    class_text, code = (*more, "", "")[:2]
    if not name:
        raise ValueError(f"entry {position} has no name")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"the name {name!r} must start with a letter or digit and hold only letters, digits, "
            "blanks and ._+()-, 64 at most"
        )
    if name.lower() in _RESERVED:
        raise ValueError(f"the name {name!r} is reserved by MONAI Label")
    if not more:
        return Label(name, position, position)
    if not class_text.isascii() or not class_text.isdigit() or int(class_text) < 1:
        raise ValueError(f"the class of {name!r} must be a whole number from 1, not {class_text!r}")
    if len(more) > 1 and not _CODE.fullmatch(code):
        raise ValueError(f"the code of {name!r} must be like SCT-27925004, or a word like nodule, not {code!r}")
    return Label(name, position, int(class_text), code)

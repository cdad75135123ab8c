"""What a label is, as a DICOM code: its segment's type, and the category of that.

The codes are SNOMED CT's of DICOM's context groups (PS3.16, CID 7150 to 7191), as pydicom's dictionary has them; a test
compares. Standard library only.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from labelpod_common.labels import Label


@dataclass(frozen=True)
class Code:
    """A coded concept of DICOM: scheme, value in it, and meaning in words."""

    scheme: str
    value: str
    meaning: str


TISSUE = Code("SCT", "85756007", "Tissue")
ABNORMAL = Code("SCT", "49755003", "Morphologically Abnormal Structure")
ANATOMICAL = Code("SCT", "91723000", "Anatomical Structure")


def _codes(category: Code, **values: str) -> dict[str, tuple[Code, Code]]:
    return {
        name.lower().replace("_", " "): (category, Code("SCT", of, name.replace("_", " ")))
        for name, of in values.items()
    }


# By the word that names it, in the singular: its category and its type.
KNOWN = _codes(
    ABNORMAL,
    Nodule="27925004",
    Mass="4147007",
    Lesion="52988006",
    Neoplasm="108369006",
    Cyst="367643001",
    Hematoma="35566002",
    Edema="79654002",
    Fibrosis="112674009",
    Necrosis="6574001",
) | _codes(
    ANATOMICAL,
    Lung="39607008",
    Pleura="3120008",
    Trachea="44567001",
    Bronchus="955009",
    Lymph_Node="59441001",
    Heart="80891009",
    Aorta="15825003",
    Artery="51114001",
    Vein="29092000",
    Blood_Vessel="59820001",
    Esophagus="32849002",
    Thyroid="69748006",
    Breast="76752008",
    Rib="113197003",
    Vertebra="51282000",
    Bone="272673000",
    Spleen="78961009",
    Liver="10200004",
    Kidney="64033007",
    Pancreas="15776009",
    Stomach="69695003",
    Gallbladder="28231008",
    Bladder="89837001",
    Prostate="41216001",
    Brain="12738006",
    Muscle="71616004",
    Skin="39937001",
)
_SAME = {
    "tumor": "neoplasm",
    "tumour": "neoplasm",
    "vessel": "blood vessel",
    "lymphnode": "lymph node",
    "oesophagus": "esophagus",
    "haematoma": "hematoma",
    "oedema": "edema",
}


def of(label: Label, labels: Sequence[Label] = ()) -> tuple[Code, Code]:
    """The category and the type of a label: its own code, a word of its name, or what its class is.

    Args:
        label: of the list, or one that a client has made up.
        labels: the list.

    Returns:
        Tissue, if nothing says what it is.

    """
    for each in (label, *(other for other in labels if other.class_id == label.class_id)):
        if found := _own(each) or _by_words(each.name):
            return found
    return TISSUE, TISSUE


def _own(label: Label) -> tuple[Code, Code] | None:
    scheme, _, value = label.code.partition("-")
    if not value:
        return KNOWN.get(_SAME.get(label.code.lower(), label.code.lower()))
    known = (found for found in KNOWN.values() if (found[1].scheme, found[1].value) == (scheme, value))
    return next(known, (TISSUE, Code(scheme, value, label.name)))


def _by_words(name: str) -> tuple[Code, Code] | None:
    """By the words of a name that are known: a finding before its place, the last before the others.

    `nodule1` and `lung nodule` are nodules, `Left lungs` a lung, `lymph nodes (hilar)` a lymph node.
    """
    words = [_SAME.get(word, word) for word in re.sub(r"[^a-z]+", " ", name.lower()).split()]
    singular = [word if word in KNOWN else _SAME.get(word.removesuffix("s"), word.removesuffix("s")) for word in words]
    pairs = [" ".join(pair) for pair in pairwise(singular)]
    found = [KNOWN[each] for each in (*singular, *pairs) if each in KNOWN]
    return next((each for each in reversed(found) if each[0] == ABNORMAL), found[-1] if found else None)

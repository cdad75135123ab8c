"""Which DICOM code a label has: its own, that of its name's words, or that of its class."""

import pytest
from pydicom.sr.codedict import codes

from labelpod_common import label_codes, labels
from labelpod_common.label_codes import ABNORMAL, ANATOMICAL, TISSUE, Code


def kinds(text: str) -> list[str]:
    listed = labels.parse(text)
    return [label_codes.of(label, listed)[1].meaning for label in listed]


@pytest.mark.parametrize("code", [TISSUE, ABNORMAL, ANATOMICAL, *(kind for _, kind in label_codes.KNOWN.values())])
def test_a_code_is_that_of_dicoms_dictionary(code: Code):
    found = getattr(codes.SCT, code.meaning.replace(" ", ""))
    assert (found.value, found.scheme_designator, found.meaning) == (code.value, code.scheme, code.meaning)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (labels.DEFAULT, ["Nodule"] * 3),
        ("spleen:1,liver:2", ["Spleen", "Liver"]),
        ("left lung:1,Right Lungs:1,lymph nodes (hilar):2", ["Lung", "Lung", "Lymph Node"]),
        ("tumor:1,Tumour 2:1,vessels:2,mass:3", ["Neoplasm", "Neoplasm", "Blood Vessel", "Mass"]),
        ("zebra7:2,quagga:1", ["Tissue", "Tissue"]),
        ("a:1,nodule:1,b:2", ["Nodule", "Nodule", "Tissue"]),
        ("a:1:nodule,b:1,c:2:SCT-39607008,d:3:DCM-123", ["Nodule", "Nodule", "Lung", "d"]),
        ("lung nodule:1,nodules of the left lung:2,liver lesion:3", ["Nodule", "Nodule", "Lesion"]),
        ("x:1:unheard of", ["Tissue"]),
    ],
)
def test_the_list_says_what_its_labels_are(text: str, expected: list[str]):
    assert kinds(text) == expected


def test_a_code_of_ones_own_keeps_its_scheme():
    (label,) = labels.parse("part-solid:1:99HOME-7.1")
    assert label_codes.of(label)[1] == Code("99HOME", "7.1", "part-solid")


def test_categories_tell_organs_from_findings():
    nodule, spleen = labels.parse("nodule:1,spleen:2")
    assert (label_codes.of(nodule)[0], label_codes.of(spleen)[0]) == (ABNORMAL, ANATOMICAL)


@pytest.mark.parametrize("text", ["a:1:", "a:1:SCT-", "a:1:-7", "a:1:x/y", "a:1:SCT-7:8", "a:1:sct 7", "a::nodule"])
def test_a_code_that_is_none_is_refused(text: str):
    with pytest.raises(ValueError):
        labels.parse(text)

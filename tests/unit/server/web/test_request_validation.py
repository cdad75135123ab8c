"""What a request may say: each kind of value, good ones and bad ones."""

import json
from io import BytesIO
from typing import Any

import pytest
from fastapi import UploadFile
from pydantic import BaseModel
from starlette.background import BackgroundTasks

from label_server.errors import Refused
from label_server.web import request_validation as validation

NESTED = json.loads("[" * 20 + "1" + "]" * 20)


def upload(name: str) -> UploadFile:
    return UploadFile(BytesIO(b"x"), filename=name)


@pytest.mark.parametrize("raw", ["/", "/info/", "/proxy/dicom/wado/studies/1.2", "/a%20b", "/a..b/.c", "/ohif/x.js"])
def test_a_plain_path_passes(raw: str):
    validation.path(raw)


@pytest.mark.parametrize(
    "raw",
    [
        *("/..%2fx", "/a%2Fb", "/a%5cb", "/a%5Cb", "/a%00", "/a%252fb/../c", "/../x", "/a/./b", "/a/..", "/a/."),
        *("//x", "/a//b", "/%2e%2e/x", "/a\\b", "/a\tb", "/a%0d%0ab", "/a%255cb", "/%252e%252e/x", "/a%7f"),
    ],
)
def test_a_path_that_could_mean_another_is_refused(raw: str):
    with pytest.raises(Refused):
        validation.path(raw)


def test_a_value_that_is_encoded_without_end_is_refused():
    value = "/"
    for _ in range(20):
        value = value.replace("%", "%25").replace("/", "%2f")
    with pytest.raises(Refused, match="encoded too often"):
        validation.name(value, "x")


@pytest.mark.parametrize("raw", ["", "image=1.2.3&tag=final", "label=a%20b&x=", "params", "check_sum=SHA256%3Aab"])
def test_a_plain_query_passes(raw: str):
    validation.query(raw)


@pytest.mark.parametrize(
    "raw", ["image=..", "image=a%2fb", "tag=..%252f..", "x=~root", "x=%24HOME", "a%2fb=1", "..=1", "x=a%00", "x=a%5cb"]
)
def test_a_query_that_is_no_plain_name_is_refused(raw: str):
    with pytest.raises(Refused):
        validation.query(raw)


def test_a_query_that_is_refused_is_named_if_it_can_be():
    with pytest.raises(Refused, match=r"^image in the query is not a plain name$"):
        validation.query("image=a/b")
    with pytest.raises(Refused, match=r"^the query is not a plain name$"):
        validation.query("a-b=a/b")


@pytest.mark.parametrize("value", ["1.2.840", "final", "a b", "nodule-1", "...", "a~b", "x" * 255, "Lésion"])
def test_a_plain_name_passes(value: str):
    validation.name(value, "x")


@pytest.mark.parametrize(
    "value", [".", "..", "a/b", "a\\b", "~", "$x", "a\x00", "a\nb", "x" * 256, "%2e%2e", "a%252fb"]
)
def test_a_name_that_could_be_a_place_is_refused(value: str):
    with pytest.raises(Refused, match=r"^tag is not a plain name$"):
        validation.name(value, "tag")


# --- parameters ---


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"foreground": [[1, 2, 3]], "background": [], "label": "nodule1", "result_extension": ".nii.gz"},
        {"label_info": [{"name": "nodule1", "idx": 1}], "client_id": "anna's, 100 %"},
        {"image": "", "session": None, "path": False},
        {"a": {"b": [1, 2.5, None, True, "plain"]}},
        {"comment": "see 3.5 and a/b, or a: b"},
    ],
)
def test_plain_parameters_pass(value: dict[str, Any]):
    validation.parameters(value)


@pytest.mark.parametrize(
    "value",
    [
        *(
            {key: "x"}
            for key in ("image", "image_path", "session", "file", "path", "bundle_path", "train_ds", "datalist")
        ),
        {"session": {"path": "/etc"}},
        *({"x": text} for text in ("/etc/passwd", "~/x", "C:\\x", "c:/x", "http://x", "a://b", "\\\\host\\x", " /etc")),
        *(
            {"x": text}
            for text in ("$import os", "@network", "%config", "../x", "a/../b", "a\\..\\b", "%2fetc", "a\x00b")
        ),
        {"x": ["ok", {"y": "$1"}]},
        {"_target_": "os.getcwd"},
        {"x": {"_target_": "os.getcwd"}},
        {"a/b": 1},
        {"a#b": 1},
        {"$a": 1},
        {"x" * 129: 1},
        {"": 1},
        {"x": NESTED},
        {"label": "../x"},
        {"label_tag": "../../evil"},
        {"model_filename": "../x.pt"},
        *({"result_extension": each} for each in (".py/../x", "nii", ".nii.gz.a.b", 7, "../x", "")),
    ],
)
def test_parameters_that_name_places_or_code_are_refused(value: dict[str, Any]):
    with pytest.raises(Refused) as refused:
        validation.parameters(value)
    assert "passwd" not in str(refused.value) and "evil" not in str(refused.value), "what is refused is not said again"


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', "7", "nan", "[" * 100_000])
@pytest.mark.parametrize("key", ["params", "info", "wsi"])
def test_text_that_should_be_an_object_is_one(key: str, text: str):
    with pytest.raises(Refused, match=rf"^{key} is not JSON|^{key} is not a JSON object"):
        validation.arguments({key: text})


def test_a_comment_of_a_review_may_say_anything():
    validation.arguments({"info": json.dumps({"comment": "see /etc/passwd at http://x, $5"})})
    with pytest.raises(Refused):
        validation.arguments({"info": json.dumps({"_target_": "x"})})


@pytest.mark.parametrize(
    "given",
    [
        {"image": "../x"},
        {"params": '{"path": "x"}'},
        {"params": {"path": "x"}},
        {"limit_cases": -1},
        {"file": upload("../x.nii")},
        {"files": [upload("ok.dcm"), upload("../x.dcm")]},
    ],
)
def test_every_kind_of_argument_is_looked_at(given: dict[str, Any]):
    with pytest.raises(Refused):
        validation.arguments(given)


def test_other_arguments_are_left_alone():
    validation.arguments({"params": "", "expiry": 0, "uncompress": True, "output": None, "x": BackgroundTasks()})


class _Model(BaseModel):
    label_tag: str


def test_an_argument_of_several_values_is_looked_into():
    """Upstream's inference on whole slides has such a one, and with it came any path."""
    validation.arguments({"wsi": _Model(label_tag="final")})
    with pytest.raises(Refused, match="label_tag is not a plain name"):
        validation.arguments({"wsi": _Model(label_tag="../../x")})


@pytest.mark.parametrize("value", [object(), b"x", 1.5, ["x"], {"x"}, ("x",)])
def test_an_argument_that_nobody_looks_at_is_refused(value: object):
    with pytest.raises(Refused, match="that nobody looks at"):
        validation.arguments({"x": value})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"x": "x" * 5000}, "too long"),
        ({"x": [0] * 200_000}, "too many"),
        ({"x": [[0] * 400] * 400}, "too many"),
    ],
)
def test_parameters_are_bounded(value: dict[str, Any], reason: str):
    for check in (validation.parameters, validation.states):
        with pytest.raises(Refused, match=reason):
            check(value)


@pytest.mark.parametrize("key", ["strategy", "ts", "label_info", "SeriesInstanceUID"])
def test_what_the_server_keeps_of_an_image_is_not_for_clients_to_say(key: str):
    with pytest.raises(Refused, match="not for clients"):
        validation.arguments({"info": json.dumps({key: "x"})})


# --- uploads ---


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("label.nii.gz", "label.nii.gz"),
        ("/tmp/Slicer-root/label.nii.gz", "label.nii.gz"),
        ("C:\\Users\\anna\\label.nii.gz", "label.nii.gz"),
        ("a%2fb.dcm", "b.dcm"),
        ("CT 1 (2), +=@-.dcm", "CT 1 (2), +=@-.dcm"),
    ],
)
def test_of_an_uploads_name_the_last_part_is_kept(given: str, kept: str):
    file = upload(given)
    validation.upload(file)
    assert file.filename == kept


@pytest.mark.parametrize(
    "name",
    [
        "../x.nii",
        "a/../x",
        "..",
        ".hidden",
        "x.n;i",
        "x.nii\n",
        "a\x00.nii",
        "x" * 256,
        "x/" * 600,
        "x.<b>",
        "%2e%2e%2fx",
    ],
)
def test_an_uploads_name_that_is_no_file_name_is_refused(name: str):
    with pytest.raises(Refused):
        validation.upload(upload(name))


@pytest.mark.parametrize("key", ["params", "info"])
@pytest.mark.parametrize("text", ['"x": NaN', '"x": [-Infinity]', '"x": 1e999', '"x": "a\\ud800"', '"\\udfff": 1'])
def test_what_json_cannot_say_again_is_refused(key: str, text: str):
    """Kept with an image, it made every list of images an error."""
    with pytest.raises(Refused, match=r"a number is none|half a character"):
        validation.arguments({key: f"{{{text}}}"})

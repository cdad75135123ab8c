"""Hostile files and values, and where each operation of the server takes one; with an engine and without."""

import io
import json
import os
import pickle
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
import requests
import SimpleITK as sitk
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian


def image(shape: tuple[int, int, int] = (4, 8, 8)) -> bytes:
    """A NIfTI file."""
    with tempfile.NamedTemporaryFile(suffix=".nii.gz") as file:
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros(shape, np.uint8)), file.name)
        return file.read()


def code() -> bytes:
    """A checkpoint that runs a command when it is unpickled without care."""

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, ("touch /tmp/pwned",)

    return pickle.dumps(Payload())


def slipping_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../../../workspace/slipped.txt", "x")
    return buffer.getvalue()


def deep_zip() -> bytes:
    """A file in more folders than Python can go into, to list or to remove them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for depth in (500, 1000, 1500):
            archive.writestr("a/" * depth + "x", "x")
    return buffer.getvalue()


def linking_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/workspace"
        archive.addfile(link)
    return buffer.getvalue()


def bomb(megabytes: int = 300) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.bin", bytes(megabytes * 2**20))
    return buffer.getvalue()


def deflated(slice_: bytes, megabytes: int) -> bytes:
    """A DICOM file like the given one, deflated, with a private element of zeros."""
    dataset = pydicom.dcmread(io.BytesIO(slice_))
    dataset.add_new((0x0009, 0x0010), "LO", "SOMEBODY")
    dataset.add_new((0x0009, 0x1001), "OB", bytes(megabytes * 2**20))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    made = io.BytesIO()
    dataset.save_as(made)
    return made.getvalue()


def hiding(deflated_: bytes) -> Iterator[bytes]:
    """The same deflated file, its head longer than it says, without its length, and with much before the syntax."""
    head, length = deflated_[:132], int.from_bytes(deflated_[140:144], "little")
    meta, rest = deflated_[144 : 144 + length], deflated_[144 + length :]
    version = b"\2\0\1\0OB\0\0" + (6000).to_bytes(4, "little") + bytes(6000)
    yield deflated_[:140] + (length + 2).to_bytes(4, "little") + meta + rest
    yield head + meta + rest
    yield head + version + meta[meta.index(b"\2\0\2\0") :] + rest


HOSTILE = [
    "../../../../etc/passwd",
    "..",
    "../",
    "..%2f..%2fetc%2fpasswd",
    "..%252f..%252fetc%252fpasswd",
    "%2e%2e%2f%2e%2e%2f",
    "..%5c..%5cwindows",
    "..\\..\\workspace",
    "/etc/passwd",
    "/workspace/radiology/main.py",
    "//evil.example/x",
    "file:///etc/passwd",
    "http://evil.example/",
    "~/x",
    "x%00.nii.gz",
    "x%0d%0aSet-Cookie:%20a=b",
    "$__import__('os').system('touch /tmp/pwned')",
    "`touch /tmp/pwned`",
    "$(touch /tmp/pwned)",
    "{{7*7}}",
    "' OR 1=1 --",
    "<script>alert(1)</script>",
    "A" * 5000,
    "-1",
    "NaN",
    "\u202e\u0000\ufffd",
]
# Made up by hypothesis: text, often with a hostile start, and what JSON can nest of it.
TEXT = st.text(max_size=60) | st.sampled_from(HOSTILE).flatmap(lambda one: st.text(max_size=8).map(one.__add__))
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@dataclass
class Operation:
    """One operation of the server's own description, with the places where a value can be put."""

    method: str
    path: str
    queries: list[str]
    form: list[str]
    json: bool


def operations(document: dict[str, Any]) -> list[Operation]:
    found = []
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            queries = [each["name"] for each in described.get("parameters", []) if each["in"] == "query"]
            content = described.get("requestBody", {}).get("content", {})
            form: list[str] = []
            for kind, body in content.items():
                if "form" in kind:
                    reference = body["schema"].get("$ref", "").rpartition("/")[2]
                    form = list(document["components"]["schemas"].get(reference, {}).get("properties", {}))
            found.append(Operation(method.upper(), path, queries, form, "application/json" in content))
    return found


def hostile_requests(
    operation: Operation, value: str, model: str = "deepgrow_2d"
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The operation with the value in each of its places in turn."""
    quoted = requests.utils.quote(value, safe="%/\\")
    if "{" in operation.path:
        yield operation.path.partition("{")[0] + quoted, {}
    fixed = operation.path.replace("{model}", model).replace("{strategy}", "random")
    fixed = fixed.replace("{session_id}", "none").replace("{method}", "dice")
    for name in operation.queries:
        others = "".join(f"&{each}=1" for each in operation.queries if each != name)
        yield f"{fixed}?{name}={quoted}{others}", {}
    for name in operation.form:
        query = "?" + "&".join(f"{each}=1" for each in operation.queries)
        parameters = {"params": json.dumps({"image": value, "x": [value], value: 1})}
        yield fixed + query, {"data": parameters, "files": {name: (value[:200], b"x")}}
    if operation.json:
        yield fixed, {"json": {"name": value, "train_ds": value, value: value}}

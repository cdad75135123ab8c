"""What a request may say: names, parameters and uploads that cannot reach beyond what they are meant for.

Upstream puts names into paths, lets parameters replace the image by any file of the server, and hands
parameters to MONAI's configuration parser, which evaluates them (monailabel 0.8.5, datastore/local.py:434,
endpoints/infer.py:160, tasks/infer/bundle.py:188). Values are looked at as they are and as decoded again and
again, from any sender.
"""

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from pydantic import BaseModel
from starlette.background import BackgroundTasks
from starlette.datastructures import UploadFile  # FastAPI passes these on, not its own

from label_server.errors import Refused

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HALF = re.compile(r"[\ud800-\udfff]")
_PARENT = re.compile(r"(?:^|[/\\])\.\.(?:[/\\]|$)")
# Absolute paths of any system, home folders, URLs, and what MONAI's configuration parser evaluates.
_PLACE = re.compile(r"^\s*(?:[/\\~]|[A-Za-z]:[/\\]|[$@%])|://")
_KEY = re.compile(r"(?!_)[^\x00-\x1f\x7f/\\$@%#]{1,128}")
_EXTENSION = re.compile(r"(?:\.[A-Za-z0-9]{1,8}){1,3}")
# What the server itself decides; a client that names it means a file of the server.
_SERVERS_OWN = frozenset(
    {"image", "image_path", "images", "session", "file", "path", "bundle_path", "label_path", "result_path"}
    | {"output_path", "train_ds", "val_ds", "tracking_uri", "datalist", "image_cached", "distributed_url"}
)
# Of an image or label, written by the server: whose it is, what it is, when it was offered.
_SERVERS_STATES = frozenset(
    {
        "strategy",
        "ts",
        "name",
        "checksum",
        "label_info",
        "assisted",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "Modality",
    }
)
_DEPTH = 16
_MOST_VALUES = 100_000  # of clicks, above all
_MOST_TEXT = 4096
_MOST_SENTENCE = 200


def path(raw: str) -> None:
    """Refuse a request path that could mean another one than it says.

    Args:
        raw: as it came, still encoded.

    """
    if re.search(r"%(?:2f|5c|00)", raw, re.IGNORECASE):
        raise Refused("the path holds an encoded slash")
    for form in _decoded(raw):
        if _CONTROL.search(form) or "\\" in form or "//" in form or re.search(r"/\.{1,2}(?:/|$)", form):
            raise Refused("the path is not in its simplest form")


def query(raw: str) -> None:
    """Refuse a query with a key or value that is no plain name."""
    for key, value in parse_qsl(raw, keep_blank_values=True):
        name(key, "a key of the query")
        name(value, f"{key} in the query" if key.isidentifier() else "the query")


def name(value: str, what: str) -> None:
    """Refuse what is not the plain name of an image, tag, model, session or label."""
    for form in _decoded(value):
        if len(form) > 255 or _CONTROL.search(form) or "/" in form or "\\" in form:
            raise Refused(f"{what} is not a plain name")
        if form in (".", "..") or form.startswith(("~", "$")):
            raise Refused(f"{what} is not a plain name")


def sentence(value: str, what: str) -> None:
    """Refuse what is no short line of text; it may say anything."""
    if not 1 <= len(value.strip()) <= _MOST_SENTENCE:
        raise Refused(f"{what} has no or more than {_MOST_SENTENCE} characters")
    if any(unicodedata.category(each)[0] == "C" or each in "\u2028\u2029" for each in value):
        raise Refused(f"{what} holds a character that is not to be seen")


def arguments(given: Mapping[str, Any]) -> None:
    """Look at every text, parameter and upload among the arguments of an endpoint."""
    for key, value in given.items():
        if isinstance(value, str) and key in ("params", "wsi"):
            parameters(_json(value, key))
        elif isinstance(value, str) and key == "info":
            states(_json(value, key))
        elif isinstance(value, str) and key == "reason":
            sentence(value, key)
        elif isinstance(value, str):
            name(value, key)
        elif isinstance(value, dict | BaseModel):
            parameters(value if isinstance(value, dict) else value.model_dump())
        elif isinstance(value, int) and value < 0:
            raise Refused(f"{key} is negative")
        elif not isinstance(value, int | UploadFile | BackgroundTasks | None) and not _are_uploads(value):
            raise Refused(f"{key} is of a kind that nobody looks at")
    for file in uploads(given):
        upload(file)


def _are_uploads(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, UploadFile) for each in value)


def uploads(given: Mapping[str, Any]) -> Iterator[UploadFile]:
    """Every uploaded file among the arguments of an endpoint."""
    for value in given.values():
        yield from (each for each in (value if isinstance(value, list) else [value]) if isinstance(each, UploadFile))


def parameters(value: Mapping[str, Any]) -> None:
    """Refuse parameters of inferences and other tasks that name places or hold expressions."""
    _bounded(value)
    for key in value:
        if key in _SERVERS_OWN and value[key] not in (None, "", False):
            raise Refused(f"{key} is not for clients to choose")
    for key in ("label", "label_tag", "model_filename"):
        if isinstance(value.get(key), str):
            name(value[key], key)
    extension = value.get("result_extension")
    if extension is not None and not (isinstance(extension, str) and _EXTENSION.fullmatch(extension)):
        raise Refused("result_extension is not an extension")
    for what, text in _texts(value):
        for form in _decoded(text):
            if _PARENT.search(form) or _PLACE.search(form) or "\x00" in form:
                raise Refused(f"{what} names a place or holds an expression")


def states(value: Mapping[str, Any]) -> None:
    """Refuse states that are no plain data, and those that the server keeps itself; comments may say anything."""
    if _SERVERS_STATES & set(value):
        raise Refused("that is not for clients to say")
    _bounded(value)
    for _ in _texts(value):
        pass


def upload(file: UploadFile) -> None:
    """Keep only the last part of an upload's name: Slicer sends the whole path on its own machine.

    Without a name, upstream would keep a session's file in the temporary folder itself, beside everybody else's
    (monailabel 0.8.5, endpoints/session.py:77), and what then removes the upload's folder would remove that.
    """
    given = file.filename or ""
    for form in _decoded(given):
        if _PARENT.search(form) or _CONTROL.search(form) or len(form) > 1024:
            raise Refused("the name of an upload is not the name of a file")
    file.filename = re.split(r"[/\\]", list(_decoded(given))[-1])[-1]
    extension = "".join(re.findall(r"\.[^.]*", file.filename))
    if not file.filename or len(file.filename) > 255 or file.filename.startswith("."):
        raise Refused("the name of an upload is not the name of a file")
    if re.search(r"[^\w. ()+,=@-]", extension):
        raise Refused("the extension of an upload is not one")


def _bounded(value: Any) -> None:
    """Refuse nested data of too many values, too deep, or with what cannot be written down and sent again.

    JSON as Python reads it has numbers that are none, and halves of characters: kept once, they would make every list
    that holds them an error.
    """
    seen, todo = 0, [(value, 0)]
    while todo:
        each, depth = todo.pop()
        seen += 1
        if seen > _MOST_VALUES:
            raise Refused("there are too many parameters")
        if depth > _DEPTH:
            raise Refused("the parameters are nested too deeply")
        if isinstance(each, str) and len(each) > _MOST_TEXT:
            raise Refused("a value is too long")
        if isinstance(each, str) and _HALF.search(each):
            raise Refused("a value holds half a character")
        if isinstance(each, float) and not math.isfinite(each):
            raise Refused("a number is none")
        if isinstance(each, Mapping):
            todo.extend((key, depth + 1) for key in each)
        inner = each.values() if isinstance(each, Mapping) else each if isinstance(each, list | tuple) else ()
        todo.extend((one, depth + 1) for one in inner)


def _json(text: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        raise Refused(f"{what} is not JSON") from None
    if not isinstance(value, dict):
        raise Refused(f"{what} is not a JSON object")
    return value


def _texts(value: Any, what: str = "the parameters") -> Iterator[tuple[str, str]]:
    """Every text in data of bounded depth, with the key that it stands under; keys are checked on the way."""
    if isinstance(value, str):
        yield what, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if not (isinstance(key, str) and _KEY.fullmatch(key)):
                raise Refused("a key of the parameters is not a plain name")
            yield from _texts(each, key)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each, what)


def _decoded(value: str) -> Iterator[str]:
    """The value as it is, and as each further decoding makes it."""
    for _ in range(_DEPTH):
        yield value
        again = unquote(value)
        if again == value:
            return
        value = again
    raise Refused("a value is encoded too often")

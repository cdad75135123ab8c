"""Labels with their version as ETag, so that a save can say which one it is to follow (RFC 9110, 13.1)."""

import json
import re
import shutil
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated

from fastapi import File, Form, Header, UploadFile
from monailabel.endpoints import datastore as upstream
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.utils.app import app_instance
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from label_server.datastore import label_versions
from label_server.datastore.datastore import RepairedDicomWebDatastore
from label_server.errors import Refused

_FINAL = DefaultLabelTag.FINAL.value
_VERSION = re.compile(r'"([0-9a-f]{32})"')


def download(label: str, tag: str) -> Response:
    """The file of a label."""
    version = etag(label, tag)  # before the file: a newer file than its version makes a save too careful at most
    answer: Response = upstream.download_label(label, tag)
    answer.headers.update(version)
    return answer


def check(tag: str, image: str = "", label: str = "") -> Response:
    """Whether there is a label; upstream calls the image `image` here and `label` everywhere else."""
    if not (asked := label or image):
        raise HTTPException(422, "no image is named")
    version = etag(asked, tag)
    return JSONResponse(upstream.download_label(asked, tag, check_only=True), headers=version)


def info(label: str, tag: str) -> Response:
    """What is known of a label."""
    version = etag(label, tag)
    return JSONResponse(upstream.get_label_info(label, tag), headers=version)


def save(
    image: str,
    params: Annotated[str, Form()] = "{}",
    tag: str = _FINAL,
    label: UploadFile = File(...),  # noqa: B008, FastAPI's way
    painted_on: str | None = None,
    if_match: Annotated[str | None, Header()] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Upstream's arguments and answer; which version is to be replaced, and which content of the image was painted on.

    Raises:
        Overtaken: the DICOMweb server has another label now; this one is kept for its author.
        Changed: it has another content; likewise.

    """
    app, info, tag = app_instance(), json.loads(params or "{}"), tag or _FINAL
    store, version = app.datastore(), follows(tag, if_match, if_none_match)
    if painted_on is not None and not isinstance(store, RepairedDicomWebDatastore):
        raise Refused("only images in a DICOMweb server have versions")
    with NamedTemporaryFile(suffix="".join(Path(str(label.filename)).suffixes)) as file:
        shutil.copyfileobj(label.file, file)
        file.flush()
        said = {"follows": version, "painted_on": painted_on}
        more = {key: value for key, value in said.items() if value is not None}
        label_id = store.save_label(image, file.name, tag, info, **more)
    told = (app.on_save_label(image, label_id) or {}) | {"image": image, "label": label_id}
    stored = info.get("SeriesInstanceUID") if tag == _FINAL else None
    return JSONResponse(told, headers=_quoted(label_versions.of_own(stored)) if stored else {})


def follows(tag: str, if_match: str | None, if_none_match: str | None = None) -> str | None:
    """The version that a request is about, "" for none, None if it does not say so.

    Raises:
        Refused: it is no version, or of a label that has none.

    """
    version = _version(if_match, if_none_match)
    of_pacs = isinstance(app_instance().datastore(), RepairedDicomWebDatastore)
    if version is not None and (tag != _FINAL or not of_pacs):
        raise Refused("only final labels in a DICOMweb server have versions")
    return version


def _version(if_match: str | None, if_none_match: str | None) -> str | None:
    if if_none_match is not None:
        if if_match is not None or if_none_match != "*":
            raise Refused('If-None-Match is "*" only, and not beside If-Match')
        return ""
    if if_match is None:
        return None
    if found := _VERSION.fullmatch(if_match):
        return found[1]
    raise Refused("If-Match is no version of a label")


def etag(image: str, tag: str) -> dict[str, str]:
    """The header that tells a label's version; none if there is no label, or none with versions."""
    store = app_instance().datastore()
    if tag != _FINAL or not isinstance(store, RepairedDicomWebDatastore):
        return {}
    return _quoted(store.label_version(image))


def _quoted(version: str) -> dict[str, str]:
    # Who compresses an answer has to make its version a weak one, which no save may follow.
    return {"ETag": f'"{version}"', "Cache-Control": "no-store, no-transform"} if version else {}

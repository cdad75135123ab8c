"""An inference, run by upstream's endpoint; a DICOM SEG of its mask is made as one of a label is.

Upstream's own names segments by rank and codes them all as spleens (monailabel 0.8.5, datastore/utils/convert.py:94).
"""

import json
from pathlib import Path
from typing import Annotated, Any

from fastapi import BackgroundTasks, File, Form, UploadFile
from monailabel.endpoints.infer import ResultType, run_inference
from monailabel.interfaces.utils.app import app_instance
from starlette.responses import Response

from label_server.datastore.datastore import RepairedDicomWebDatastore
from label_server.errors import Refused
from label_server.web import metrics


def run(
    background_tasks: BackgroundTasks,
    model: str,
    image: str = "",
    session_id: str = "",
    params: Annotated[str, Form()] = "{}",
    file: Annotated[UploadFile | None, File()] = None,
    label: Annotated[UploadFile | None, File()] = None,
    output: ResultType | None = None,
) -> Any:
    """Upstream's arguments and answer."""
    with metrics.inference(model):
        return _run(background_tasks, model, image, session_id, params, file, label, output)


def _run(
    background_tasks: BackgroundTasks,
    model: str,
    image: str,
    session_id: str,
    params: str,
    file: UploadFile | None,
    label: UploadFile | None,
    output: ResultType | None,
) -> Any:
    if output != ResultType.dicom_seg:
        return run_inference(background_tasks, model, image, session_id, params, file, label, output)
    app = app_instance()
    store = app.datastore()
    if not image or session_id or file or not isinstance(store, RepairedDicomWebDatastore):
        raise Refused("a DICOM SEG can only be made for an image of the DICOMweb server")
    answer = run_inference(background_tasks, model, image, "", params, file, label, ResultType.image)
    said = json.loads(params)
    info = app.described(model, said, Path(answer.path))
    if said.get("label_info"):
        info["label_info"] = said["label_info"]
    content = store.as_seg(image, answer.path, info)
    name = {"Content-Disposition": f'attachment; filename="{Path(image).name}.dcm"'}
    return Response(content, media_type="application/dicom", headers=name)

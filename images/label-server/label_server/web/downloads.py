"""What is sent as it is: images, made ready for the first click while they are looked at, the data set, the GPU."""

import json
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

from monailabel.endpoints.datastore import download_dataset, download_image
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.generic import file_checksum
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from label_server.datastore.datastore import RepairedDicomWebDatastore
from label_server.errors import Refused

_ALGORITHMS = ("SHA256", "SHA512", "MD5")


def image(image: str) -> Response:
    """The file of an image; what is to be done ahead begins when it is sent, and keeps nobody waiting."""
    answer: Response = download_image(image)
    answer.background = BackgroundTask(app_instance().prepare, image)
    return answer


def check(image: str, check_sum: str | None = None) -> dict[str, Any]:
    """Say whether an image is there, and is the one of this checksum, `SHA256:` or another algorithm's name before it.

    Upstream compares it without the name to one with it, so that none ever fits, and fails at a name that it does not
    know (monailabel 0.8.5, endpoints/datastore.py:140-146).
    """
    answer: dict[str, Any] = download_image(image, check_only=True)
    if check_sum:
        algorithm, _, digest = check_sum.rpartition(":")
        algorithm = algorithm or _ALGORITHMS[0]
        if algorithm not in _ALGORITHMS:
            raise Refused(f"check_sum is none of {', '.join(_ALGORITHMS)}")
        if file_checksum(app_instance().datastore().get_image_uri(image), algorithm) != f"{algorithm}:{digest}":
            raise HTTPException(404, "The image is another one")
    return answer


def dataset(limit_cases: int | None = None) -> Response:
    """All labelled images and their labels as a ZIP file, which is removed when it has been sent.

    `left_out.json` in it names the images that are not there because they or their labels cannot be read, if there are.

    Upstream leaves each in the temporary folder, which is memory, and fails if there is no label
    (monailabel 0.8.5, datastore/local.py:386-407).
    """
    store = app_instance().datastore()
    if not store.get_labeled_images():
        raise HTTPException(404, "No image has a label")
    left_out: list[dict[str, str]] = []
    if isinstance(store, RepairedDicomWebDatastore):
        entries, left_out = store.trainable()
        if not entries:
            raise HTTPException(404, "No image has a label that can be read")
    answer = download_dataset(limit_cases)
    if left_out:
        with zipfile.ZipFile(answer.path, "a") as archive:
            archive.writestr("left_out.json", json.dumps(left_out, indent=2))
    answer.background = BackgroundTask(Path(answer.path).unlink)
    return answer


def gpu() -> Response:
    """What nvidia-smi says; upstream fails if there is none (monailabel 0.8.5, endpoints/logs.py:104)."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise HTTPException(404, "This machine has no NVIDIA GPU")
    said = subprocess.run([program], capture_output=True, text=True, check=False)
    return PlainTextResponse(said.stdout)

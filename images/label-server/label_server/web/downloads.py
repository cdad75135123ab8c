"""What is sent as it is: images, made ready for the first click while they are looked at, the data set, the GPU."""

import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monailabel.endpoints.datastore import download_image
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.generic import file_checksum
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from label_server import users
from label_server.datastore.datastore import RepairedDicomWebDatastore
from label_server.datastore.pacs_images import PacsImages
from label_server.errors import Refused

_PIECE = 2**20
_ALGORITHMS = ("SHA256", "SHA512", "MD5")


def image(image: str) -> Response:
    """The file of an image; what is to be done ahead begins when it is sent, and keeps nobody waiting."""
    answer: Response = download_image(image)
    store = app_instance().datastore()
    if isinstance(store, PacsImages):
        store.was_given(image, users.current.get().name)
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
    """All labelled images and their labels as a ZIP file, made as it is sent.

    `left_out.json` in it names the images that are not there because they or their labels cannot be read, if there are.

    Upstream writes each into the temporary folder, which is memory, leaves it there, and fails if there is no label
    (monailabel 0.8.5, datastore/local.py:386-407).
    """
    store = app_instance().datastore()
    if not store.get_labeled_images():
        raise HTTPException(404, "No image has a label")
    left_out: list[dict[str, str]] = []
    if isinstance(store, RepairedDicomWebDatastore):
        cases, left_out = store.trainable()
    else:
        cases = store.datalist()
    cases = cases[: limit_cases or None]
    if not cases:
        raise HTTPException(404, "No image has a label that can be read")
    files = [(Path(path), f"{kind}/{Path(path).name}") for case in cases for kind, path in case.items()]
    name = {"Content-Disposition": 'attachment; filename="dataset.zip"'}
    said = {"metadata.json": json.dumps(store.json(), default=str)}
    if left_out:
        said["left_out.json"] = json.dumps(left_out, indent=2)
    return StreamingResponse(_zipped(files, said), 200, name, "application/zip")


class _Pieces(io.RawIOBase):
    """What has been written since it was last asked."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._written += piece
        return len(piece)

    def taken(self) -> bytes:
        taken, self._written = bytes(self._written), bytearray()
        return taken


def _zipped(files: Sequence[tuple[Path, str]], said: Mapping[str, str]) -> Iterator[bytes]:
    """A ZIP file of these files under these names, which are packed already, and of what is said of them."""
    pieces = _Pieces()
    with zipfile.ZipFile(pieces, "w") as archive:
        for path, name in files:
            with path.open("rb") as file, archive.open(name, "w", force_zip64=True) as member:
                while piece := file.read(_PIECE):
                    member.write(piece)
                    yield pieces.taken()
        for name, text in said.items():
            archive.writestr(name, text)
    yield pieces.taken()


def gpu() -> Response:
    """What nvidia-smi says; upstream fails if there is none (monailabel 0.8.5, endpoints/logs.py:104)."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise HTTPException(404, "This machine has no NVIDIA GPU")
    said = subprocess.run([program], capture_output=True, text=True, check=False)
    if said.returncode:
        raise HTTPException(404, "This machine has no NVIDIA GPU that answers")
    return PlainTextResponse(said.stdout)

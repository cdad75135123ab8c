"""OHIF, the viewer in the browser, from the files that come with MONAI Label, and scripts of ours beside them."""

import os
from pathlib import Path

import monailabel
from fastapi.staticfiles import StaticFiles
from starlette.responses import HTMLResponse, Response
from starlette.types import Scope

from label_server.users import Role

FOLDER = Path(monailabel.__file__).parent / "endpoints" / "static" / "ohif"
INDEX = (FOLDER / "index.html").resolve()
CONFIG = (FOLDER / "app-config.js").resolve()
OWN = Path(__file__).resolve().parent
_SCRIPT = '<script type="module" src="/ohif/labelpod/panel.js"></script>'
_UPLOAD = "dicomUploadEnabled: true"
# Their names stay when they change, unlike those of the viewer's own files.
_ASK_AGAIN = {"Cache-Control": "no-cache"}


class OhifFiles(StaticFiles):
    """OHIF: its files with their types (upstream sends index.html for those in sub-folders), pages else."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)
        self._own = {f"labelpod/{file.name}": file for file in OWN.glob("*.js")}
        self._page = _with_script(INDEX.read_text())
        self._config = CONFIG.read_text()
        if _UPLOAD not in self._config:
            raise ValueError(f"{CONFIG} does not say whether the viewer uploads")

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """A file if there is one; any other path is a page of the viewer's own."""
        if own := self._own.get(path):
            return str(own), own.stat()
        full_path, stat = super().lookup_path(path)
        if stat is None or path in ("", "."):
            return super().lookup_path("index.html")
        return full_path, stat

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """The file; the page with our script in it; the configuration with a button to upload for who may."""
        path = Path(full_path)
        if path == CONFIG:
            may = scope["user"].role >= Role.ADMIN
            config = self._config if may else self._config.replace(_UPLOAD, "dicomUploadEnabled: false")
            return Response(config, status_code, _ASK_AGAIN, "text/javascript")
        if path == INDEX:
            return HTMLResponse(self._page, status_code, _ASK_AGAIN)
        answer = super().file_response(full_path, stat_result, scope, status_code)
        if path.parent == OWN:
            answer.headers.update(_ASK_AGAIN)
        return answer


def _with_script(page: str) -> str:
    head, end, body = page.partition("</head>")
    if not end:
        raise ValueError(f"{INDEX} has no head for our script")
    return f"{head}{_SCRIPT}{end}{body}"

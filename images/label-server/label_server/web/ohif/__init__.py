"""OHIF, the viewer in the browser, from the files that come with MONAI Label, and scripts of ours beside them."""

import base64
import hashlib
import os
import re
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
_INLINE = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
_ASK_AGAIN = {"Cache-Control": "no-cache"}
_KEEP = {"Cache-Control": "private, max-age=3600"}  # no patient's data is in them
# It needs nothing of other servers. It sets styles in its scripts, and decodes images with WebAssembly in workers; the
# codec of JPEG-LS makes functions of text there, and a worker has the policy of its own file, not of the page.
_POLICY = (
    "default-src 'self'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' blob: data:; font-src 'self' data:; connect-src 'self' blob: data:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_WORKERS_POLICY = _POLICY.format(scripts="'unsafe-eval' blob:")


class OhifFiles(StaticFiles):
    """OHIF: its files with their types (upstream sends index.html for those in sub-folders), pages else."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)
        self._own = {f"labelpod/{file.name}": file for file in OWN.glob("*.js")}
        self._page = _with_script(INDEX.read_text())
        self._policy = _POLICY.format(scripts=f"'wasm-unsafe-eval' {_digests(self._page)}")
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
        if path == INDEX:
            answer: Response = HTMLResponse(self._page, status_code)
        elif path == CONFIG:
            may = scope["user"].role >= Role.ADMIN
            config = self._config if may else self._config.replace(_UPLOAD, "dicomUploadEnabled: false")
            answer = Response(config, status_code, media_type="text/javascript")
        else:
            answer = super().file_response(full_path, stat_result, scope, status_code)
        # The names of ours stay when they change.
        answer.headers.update(_ASK_AGAIN if path in (INDEX, CONFIG) or path.parent == OWN else _KEEP)
        answer.headers["Content-Security-Policy"] = self._policy if path == INDEX else _WORKERS_POLICY
        return answer


def _digests(page: str) -> str:
    """The page's own scripts, as a policy names them."""
    scripts = (base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in _INLINE.findall(page))
    return " ".join(f"'sha256-{each}'" for each in scripts)


def _with_script(page: str) -> str:
    head, end, body = page.partition("</head>")
    if not end:
        raise ValueError(f"{INDEX} has no head for our script")
    return f"{head}{_SCRIPT}{end}{body}"

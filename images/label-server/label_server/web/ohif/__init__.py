"""OHIF, the viewer in the browser: the files of its package as the image has them, and a mode of ours beside them."""

import base64
import hashlib
import os
import re
from pathlib import Path
from stat import S_ISREG

from starlette.datastructures import Headers
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from label_server.users import Role
from label_server.web.compression import takes_gzip

OWN = Path(__file__).resolve().parent / "scripts"
CONFIG = OWN / "config.js"
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
    """OHIF: its files and ours with their types, packed if the browser can unpack them; its page for any other path.

    Args:
        folder: as images/label-server/viewer/prepare.py makes it.

    """

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, check_dir=False)  # a checkout has none
        self._index = (folder / "index.html").resolve()
        self._own = {f"labelpod/{file.name}": file for file in OWN.iterdir() if file.suffix in (".js", ".css")}

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """A file if there is one; any other path is a page of the viewer's own."""
        own = CONFIG if path == "app-config.js" else self._own.get(path)
        if own:
            return str(own), own.stat()
        full_path, stat = super().lookup_path(path)
        if stat is None or not S_ISREG(stat.st_mode):
            return super().lookup_path("index.html")
        return full_path, stat

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """The file, packed if it is there packed; the page; the configuration with a button to upload for who may."""
        path = Path(full_path)
        if path == self._index:
            page = path.read_text()
            answer: Response = HTMLResponse(page, status_code)
            answer.headers["Content-Security-Policy"] = _POLICY.format(scripts=f"'wasm-unsafe-eval' {_digests(page)}")
            answer.headers.update(_ASK_AGAIN)
            return answer
        if path == CONFIG:
            may = scope["user"].role >= Role.ADMIN
            config = path.read_text() if may else path.read_text().replace(_UPLOAD, "dicomUploadEnabled: false")
            answer = Response(config, status_code, media_type="text/javascript")
        else:
            answer = self._file(path, stat_result, scope, status_code)
        # The names of ours stay when they change.
        answer.headers.update(_ASK_AGAIN if path.parent == OWN else _KEEP)
        answer.headers["Content-Security-Policy"] = _WORKERS_POLICY
        return answer

    def _file(self, path: Path, stat_result: os.stat_result, scope: Scope, status_code: int) -> Response:
        packed = path.with_name(f"{path.name}.gz")
        if not packed.exists():
            return super().file_response(path, stat_result, scope, status_code)
        if not takes_gzip(Headers(scope=scope).get("accept-encoding", "")):
            answer = super().file_response(path, stat_result, scope, status_code)
        else:
            answer = super().file_response(packed, packed.stat(), scope, status_code)
            answer.headers["Content-Type"] = FileResponse(path).headers["Content-Type"]
            answer.headers["Content-Encoding"] = "gzip"
        answer.headers["Vary"] = "Accept-Encoding"
        return answer


def _digests(page: str) -> str:
    """The page's own scripts, as a policy names them."""
    scripts = (base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in _INLINE.findall(page))
    return " ".join(f"'sha256-{each}'" for each in scripts)

"""OHIF, the viewer in the browser, from the files that come with MONAI Label."""

from pathlib import Path

import monailabel
from fastapi.staticfiles import StaticFiles

FOLDER = Path(monailabel.__file__).parent / "endpoints" / "static" / "ohif"


class OhifFiles(StaticFiles):
    """OHIF: its files with their types (upstream sends index.html for those in sub-folders), pages else."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    def lookup_path(self, path: str) -> tuple[str, object]:
        """A file where there is one; any other path is a page of the viewer's own."""
        full_path, stat = super().lookup_path(path)
        if stat is None or path in ("", "."):
            return super().lookup_path("index.html")
        return full_path, stat

"""The label server's own app on a sample app that needs no torch, loaded as MONAI Label loads it."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from monailabel.config import settings
from monailabel.interfaces.utils import app as upstream

from label_server import paths, startup
from label_server.datastore.datastore import RepairedDicomWebDatastore
from label_server.dicomweb.client import DicomWebClient
from label_server.dicomweb.own_labels import OwnLabels
from labelpod_common.labels import parse

SAMPLE_APPS = Path(__file__).with_name("sample_apps")
LABELS = "nodule1:1,nodule2:1,nodule3:1"


def load(folder: Path, studies: str, patch: pytest.MonkeyPatch, **conf: str) -> Any:
    """Load the app as if this process were a server with a workspace of its own.

    Args:
        folder: of the workspace.
        studies: URL of the DICOMweb server.
        patch: undoes it all after the test.
        conf: `--conf` pairs besides those that start_server always gives.

    """
    for name, value in {"APP": "radiology", "LABELS": LABELS, "WORKSPACE": str(folder)}.items():
        patch.setenv(name, value)
    patch.setattr(paths, "SAMPLE_APPS", SAMPLE_APPS)
    patch.setattr(sys, "path", list(sys.path))  # a sample app adds its own folder
    # What uploads leave must not mix with that of others; and a fault that removes too much must not reach them.
    (folder / "tmp").mkdir(exist_ok=True)
    patch.setattr(tempfile, "tempdir", str(folder / "tmp"))
    app_dir = startup.lay_out(folder, "radiology")
    (app_dir / "logs").mkdir(exist_ok=True)
    for name, value in {
        "MONAI_LABEL_APP_DIR": str(app_dir),
        "MONAI_LABEL_STUDIES": studies,
        "MONAI_LABEL_APP_CONF": {"models": "threshold", "bundles": ""} | conf,
        "MONAI_LABEL_DICOMWEB_CACHE_PATH": str(folder / "cache"),
        "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY": 0,
        "MONAI_LABEL_DICOMWEB_SEARCH_FILTER": {"Modality": "CT"},
        "MONAI_LABEL_SESSION_PATH": str(folder / "sessions"),
        "MONAI_LABEL_AUTO_UPDATE_SCORING": False,
    }.items():
        patch.setattr(settings, name, value)
    patch.setattr(upstream, "apps", {})
    return upstream.app_instance()


def beside(first: Any, folder: Path, patch: pytest.MonkeyPatch) -> Any:
    """Load the app of a second label server over the same archive, with the same key and a workspace of its own.

    Args:
        first: the first one's, which is asked as before.
        folder: of the second one's workspace.
        patch: undoes it all after the test.

    """
    apps, asked = upstream.apps, settings.MONAI_LABEL_APP_DIR
    folder.mkdir()
    shutil.copy2(Path(first.app_dir).parent / "label_key", folder)
    second = load(folder, first.studies, patch)
    patch.setattr(upstream, "apps", apps | upstream.apps)
    patch.setattr(settings, "MONAI_LABEL_APP_DIR", asked)
    return second


@contextmanager
def asked(app: Any) -> Iterator[None]:
    """Have a server in the tests' process answer as the one whose app this is."""
    before = settings.MONAI_LABEL_APP_DIR
    settings.MONAI_LABEL_APP_DIR = app.app_dir
    try:
        yield
    finally:
        settings.MONAI_LABEL_APP_DIR = before


def another_server(url: str, folder: Path) -> RepairedDicomWebDatastore:
    """The datastore of a second label server over the same archive, with the same key.

    Args:
        url: of the DICOMweb server.
        folder: the first one's workspace.

    """
    own = OwnLabels((folder / "label_key").read_text().strip(), folder, url)
    other = folder / "other"
    return RepairedDicomWebDatastore(
        DicomWebClient(url=url), own, {"Modality": "CT"}, other, folder / "kept", parse(LABELS)
    )

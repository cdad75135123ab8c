"""Settings to files: pure, no disk but the templates, no network.

Values reach a shell script, a Dockerfile or a Python program only through the quoting filters `shell`, `docker` and
`python`; a name that Jinja does not know is an error (StrictUndefined).
"""

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from labelpod import atomic
from labelpod.errors import DeployError
from labelpod.settings import Settings, secret_names
from labelpod_common import __version__

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
TEMPLATES = ROOT / "templates"
# The driver tags whatever source it took under these names, so that compose.yaml needs no choice.
BASE_TAG = "labelpod/debian:bookworm"
ORTHANC_TAG = "labelpod/orthanc:local"
POSTGRES_TAG = "labelpod/postgres:local"
LABEL_SERVER_TAG = "labelpod/label-server:local"
WEIGHTS_SECONDS = 120
_TEMPLATES = ("label-server.Dockerfile", "start_server.sh", "orthanc.json")


def service_tags(settings: Settings) -> tuple[str, ...]:
    """The images that the services of these settings run."""
    return (ORTHANC_TAG, LABEL_SERVER_TAG, *([POSTGRES_TAG] if settings.postgres else []))


def stamp(settings: Settings) -> str:
    """Short hash of the settings, without the secrets; rendered files carry it."""
    values = settings.model_dump(exclude=set(secret_names()))
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def render(settings: Settings, templates: Path = TEMPLATES) -> dict[str, str]:
    """All generated files.

    Returns:
        File name below `build/` -> text. The same settings give the same texts.

    Raises:
        DeployError: a template names something that is not given.

    """
    values = {
        "settings": settings.model_copy(update={"STUDIES": settings.STUDIES or settings.own_dicomweb}),
        "stamp": stamp(settings),
        "base_image": BASE_TAG,
        "version": __version__,
        "weights_seconds": WEIGHTS_SECONDS,
    }
    return {name: text(name, values, templates) for name in _TEMPLATES}


def text(name: str, values: dict[str, Any], templates: Path = TEMPLATES) -> str:
    """One template with these values.

    Raises:
        DeployError: the template names something that is not among them.

    """
    # Not HTML: what is rendered are a Dockerfile, a shell script, JSON and Python, each with a filter of its own.
    environment = Environment(  # noqa: S701
        loader=FileSystemLoader(templates),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(shell=shlex.quote, docker=_docker_quote, python=ascii)
    try:
        return environment.get_template(f"{name}.j2").render(values)
    except TemplateError as error:
        raise DeployError(f"template: {error.message}", "restore templates/ from the repository") from error


def write(settings: Settings, folder: Path = BUILD) -> list[Path]:
    """Render into `build/`; a file whose text is the same is not touched.

    Returns:
        The files that changed.

    """
    folder.mkdir(exist_ok=True)
    changed = []
    for name, text in render(settings).items():
        path = folder / name
        if atomic.write(path, text.encode(), 0o644):
            changed.append(path)
    return changed


def _docker_quote(text: object) -> str:
    """A value for LABEL or ENV: JSON's quoting, with Docker's `$` made plain; one line whatever comes."""
    return json.dumps(str(text)).replace("$", "\\$")

"""Settings to files. A file depends on the settings that it uses and on no others, so that nothing else restarts.

Values reach a shell script, a Dockerfile or a Python program only through the quoting filters `shell`, `docker` and
`python`; a name that Jinja does not know is an error (StrictUndefined).
"""

import json
import shlex
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from labelpod import files
from labelpod.config.settings import Settings
from labelpod.docker.tags import BASE_TAG
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod_common import __version__

WEIGHTS_SECONDS = 120
_TEMPLATES = ("label-server.Dockerfile", "start_server.sh", "orthanc.json", "prometheus.yml", "haproxy.cfg")


def render(settings: Settings, templates: Path) -> dict[str, str]:
    """All generated files.

    Returns:
        File name below `build/` -> text. The same settings give the same texts.

    Raises:
        DeployError: a template names something that is not given.

    """
    values = {
        "settings": settings.model_copy(update={"STUDIES": settings.STUDIES or settings.own_dicomweb}),
        "base_image": BASE_TAG,
        "version": __version__,
        "weights_seconds": WEIGHTS_SECONDS,
        "namespace": "",  # of Kubernetes
    }
    return {name: text(name, values, templates) for name in _TEMPLATES}


def text(name: str, values: dict[str, Any], templates: Path) -> str:
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
    environment.filters.update(shell=shlex.quote, docker=_docker_quote, python=ascii, yaml=_yaml_quote)
    try:
        return environment.get_template(f"{name}.j2").render(values)
    except TemplateError as error:
        raise DeployError(f"template: {error.message}", "restore templates/ from the repository") from error


def write(settings: Settings, project: Project) -> list[Path]:
    """Render into `build/`; a file whose text is the same is not touched.

    Returns:
        The files that changed.

    """
    files.folder(project.build, 0o755)
    texts = {project.build / name: text for name, text in render(settings, project.templates).items()}
    return [path for path, text in texts.items() if files.write(path, text.encode(), 0o644)]


def copy_mounted(project: Project) -> list[Path]:
    """Copy what is mounted as it is to where the container's user can read it, whatever its rights in the checkout.

    Returns:
        The files that changed.

    """
    files.folder(project.build, 0o755)
    sources = (project.images / "orthanc" / "access.lua", project.root / "docs" / "monitoring" / "labelpod.rules.yml")
    copies = {project.build / source.name: source.read_bytes() for source in sources}
    return [path for path, content in copies.items() if files.write(path, content, 0o644)]


def _yaml_quote(text: object) -> str:
    """A value in double quotes: whatever it is, YAML takes it for text.

    JSON's quoting, but for letters beyond 16 bits: JSON has two escapes for one, and YAML takes neither.
    """
    letters = (f"\\U{ord(each):08x}" if ord(each) > 0xFFFF else json.dumps(each)[1:-1] for each in str(text))
    return f'"{"".join(letters)}"'


def _docker_quote(text: object) -> str:
    """A value for LABEL or ENV: JSON's quoting, with Docker's `$` made plain; one line whatever comes."""
    return json.dumps(str(text)).replace("$", "\\$")

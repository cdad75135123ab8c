"""What is in the images, package by package: a CycloneDX file for each, taken from the image itself."""

import json
import uuid
from collections import defaultdict
from pathlib import Path

from cyclonedx import spdx
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from python_on_whales import DockerClient, Image

from labelpod import files, process
from labelpod.config.settings import Settings
from labelpod.console import progress, say
from labelpod.docker import tags
from labelpod.docker.client import explained
from labelpod.errors import DeployError
from labelpod.host import os_release
from labelpod.images import base, digests
from labelpod.project import Project

_NAMES = {tag: tag.removeprefix("labelpod/").partition(":")[0] for tag in tags.SERVICE_TAGS}
# Image -> the tag of its base when that came from a registry, and when it was made from Debian's packages.
_BASES = {
    tags.LABEL_SERVER_TAG: (tags.BASE_TAG, tags.BASE_TAG),
    tags.ORTHANC_TAG: (tags.ORTHANC_TAG, tags.TRIXIE_TAG),
    tags.POSTGRES_TAG: (tags.POSTGRES_TAG, tags.TRIXIE_TAG),
    tags.PROMETHEUS_TAG: (tags.PROMETHEUS_TAG, tags.TRIXIE_TAG),
    tags.DOOR_TAG: (tags.DOOR_TAG, tags.TRIXIE_TAG),
}
_SECONDS = 120  # for one program of an image; it takes less than one on an idle disk
_INSTALLED = "${db:Status-Status} ${Package} ${Version} ${Architecture}\n"
# dpkg knows no licences; these files, which slim images keep too, are machine-readable for most packages.
_COPYRIGHT = "grep -s '^License: *[^ ]' /usr/share/doc/*/copyright || true"
# Of npm's package, whose parts are in no list; their licences are in NOTICES.txt beside it.
_VIEWER = "/opt/labelpod/ohif/viewer.lock"
# Runs in the image.
_DISTRIBUTIONS = Path(__file__).with_name("list_distributions.py")


def file(project: Project, tag: str) -> Path:
    """The file of an image."""
    return project.build / f"sbom.{_NAMES[tag]}.cdx.json"


def write(docker: DockerClient, settings: Settings, project: Project) -> None:
    """Write the file of each image that these settings use.

    Raises:
        DeployError: an image has no dpkg, or does not run.

    """
    for tag in tags.service_tags(settings):
        write_one(docker, project, tag)


def write_one(docker: DockerClient, project: Project, tag: str) -> None:
    """Write the file of an image; one that is there for the same image stays.

    Raises:
        DeployError: it has no dpkg, or does not run.

    """
    path = file(project, tag)
    with explained("python3 deploy.py doctor"):
        image = docker.image.inspect(tag)
        if _described(path) == image.id:
            return
        with progress(f"Listing the packages of {tag}"):
            bom = _bom(docker, project, tag, image)
    files.write(path, f"{JsonV1Dot6(bom).output_as_string(indent=2)}\n".encode(), 0o644)
    say(f"SBOM of {tag}: {project.shown(path)}, {len(bom.components)} packages")


def _described(path: Path) -> str:
    """The id of the image that a file is about; "" if there is no sound file."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["metadata"]["component"]["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _bom(docker: DockerClient, project: Project, tag: str, image: Image) -> Bom:
    """The same image gives the same text: its number and time are the image's."""
    root = Component(
        type=ComponentType.CONTAINER,
        name=tag,
        version=image.id,
        bom_ref=image.id,
        properties=[
            Property(name=f"labelpod:base:{name}", value=value) for name, value in _base(docker, project, tag).items()
        ],
    )
    packages = _debian(tag)
    if tag == tags.LABEL_SERVER_TAG:
        packages += [*_python(tag), _viewer(tag)]
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, image.id),
        metadata=BomMetaData(component=root, timestamp=image.created),
        components=packages,
    )
    bom.register_dependency(root, packages)
    return bom


def _base(docker: DockerClient, project: Project, tag: str) -> dict[str, str]:
    """The image that this one is made from; one from a registry is known everywhere by its digest."""
    origin, debian = _BASES[tag]
    name = base.sources(project)[origin]
    if name.partition(",")[0] == "debian":
        # Docker can do without it once the image is made, so that a prune may have taken it.
        known = {"id": docker.image.inspect(debian).id} if docker.image.exists(debian) else {}
        return {"name": debian, "origin": "made from Debian's packages", **known}
    image = docker.image.inspect(origin)
    digest = digests.of(image, name)
    return {"name": name, **({"digest": digest} if digest else {"id": image.id})}


def _debian(tag: str) -> list[Component]:
    release = os_release.parse(_run(tag, "cat", "/etc/os-release"))
    system = release.get("ID", "linux")
    distribution = f"{system}-{release['VERSION_ID']}" if "VERSION_ID" in release else system
    licences = defaultdict(set)
    for line in _run(tag, "sh", "-c", _COPYRIGHT).splitlines():
        path, _, licence = line.partition(":License:")
        licences[Path(path).parent.name].add(licence.strip())
    components = []
    for line in _run(tag, "dpkg-query", "--show", "--showformat", _INSTALLED).splitlines():
        status, name, number, architecture = line.split()
        if status == "installed":
            qualifiers = {"arch": architecture, "distro": distribution}
            purl = PackageURL("deb", system, name, number, qualifiers)
            components.append(_component(purl, name, number, sorted(licences[name])))
    return components


def _python(tag: str) -> list[Component]:
    components = []
    for said in json.loads(_run(tag, "/opt/venv/bin/python", "-I", "-c", _DISTRIBUTIONS.read_text(encoding="utf-8"))):
        name, version = said.pop("name"), said.pop("version")
        components.append(_component(PackageURL("pypi", None, name, version), name, version, _declared(**said)))
    return components


def _viewer(tag: str) -> Component:
    lock = json.loads(_run(tag, "cat", _VIEWER))
    scope, _, name = lock["package"].rpartition("/")
    purl = PackageURL("npm", scope, name, lock["version"])
    return _component(purl, lock["package"], lock["version"], [lock["licence"]])


def _declared(expression: str, licence: str, classifiers: list[str]) -> list[str]:
    """A distribution's licences: in SPDX's words if it uses them; a whole licence text is not a name."""
    if expression or spdx.fixup_id(licence):
        return [expression or licence]
    named = [each.rpartition(" :: ")[2] for each in classifiers]
    return named or ([licence] if licence not in ("", "UNKNOWN") and "\n" not in licence else [])


def _component(purl: PackageURL, name: str, version: str, licences: list[str]) -> Component:
    return Component(name=name, version=version, purl=purl, bom_ref=str(purl), licenses=_licences(licences))


def _licences(names: list[str]) -> list[License]:
    """An expression stands alone in CycloneDX; beside others it becomes a name."""
    factory = LicenseFactory()
    if len(names) == 1:
        return [factory.make_from_string(names[0])]
    return [factory.make_with_id(name) if spdx.fixup_id(name) else factory.make_with_name(name) for name in names]


def _run(tag: str, program: str, *arguments: str) -> str:
    """What a program of the image says, without a network and in a container of its own."""
    locked = ["--rm", "--network", "none", "--pull", "never"]
    answer = process.run("docker", "run", *locked, "--entrypoint", program, tag, *arguments, seconds=_SECONDS)
    if answer.returncode != 0:
        raise DeployError(
            f"the packages of {tag} cannot be listed: {program}: {process.why(answer)}",
            "the images are made, `python3 deploy.py up` starts them without the list",
        )
    return answer.stdout

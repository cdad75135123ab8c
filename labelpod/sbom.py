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

from labelpod import atomic, images, machine, render
from labelpod.console import progress, say
from labelpod.docker import explained
from labelpod.errors import DeployError
from labelpod.settings import Settings

FILES = {
    render.LABEL_SERVER_TAG: render.BUILD / "sbom.label-server.cdx.json",
    render.ORTHANC_TAG: render.BUILD / "sbom.orthanc.cdx.json",
    render.POSTGRES_TAG: render.BUILD / "sbom.postgres.cdx.json",
}
# Image -> the tag of its base when that came from a registry, and when it was made from Debian's packages.
_BASES = {
    render.LABEL_SERVER_TAG: (render.BASE_TAG, render.BASE_TAG),
    render.ORTHANC_TAG: (render.ORTHANC_TAG, images.TRIXIE_TAG),
    render.POSTGRES_TAG: (render.POSTGRES_TAG, images.TRIXIE_TAG),
}
_SECONDS = 120  # for one program of an image; it takes less than one on an idle disk
_INSTALLED = "${db:Status-Status} ${Package} ${Version} ${Architecture}\n"
# dpkg knows no licences; these files, which slim images keep too, are machine-readable for most packages.
_COPYRIGHT = "grep -s '^License: *[^ ]' /usr/share/doc/*/copyright || true"
_DISTRIBUTIONS = """
import json
from importlib.metadata import distributions
print(json.dumps([
    {
        "name": each.metadata["Name"],
        "version": each.version,
        "expression": each.metadata["License-Expression"] or "",
        "licence": each.metadata["License"] or "",
        "classifiers": [c for c in each.metadata.get_all("Classifier") or [] if c.startswith("License ::")],
    }
    for each in distributions()
]))
"""


def write(docker: DockerClient, settings: Settings) -> None:
    """Write the file of each image that these settings use; one that is there for the same image stays.

    Raises:
        DeployError: an image has no dpkg, or does not run.

    """
    for tag in render.service_tags(settings):
        path = FILES[tag]
        with explained("python3 deploy.py doctor"):
            image = docker.image.inspect(tag)
            if _described(path) == image.id:
                continue
            with progress(f"Listing the packages of {tag}"):
                bom = _bom(docker, tag, image)
        atomic.write(path, f"{JsonV1Dot6(bom).output_as_string(indent=2)}\n".encode(), 0o644)
        say(f"SBOM of {tag}: {path.relative_to(render.ROOT)}, {len(bom.components)} packages")


def _described(path: Path) -> str:
    """The id of the image that a file is about."""
    if not path.exists():
        return ""
    return str(json.loads(path.read_text(encoding="utf-8"))["metadata"]["component"]["version"])


def _bom(docker: DockerClient, tag: str, image: Image) -> Bom:
    """The same image gives the same text: its number and time are the image's."""
    root = Component(
        type=ComponentType.CONTAINER,
        name=tag,
        version=image.id,
        bom_ref=image.id,
        properties=[Property(name=f"labelpod:base:{name}", value=value) for name, value in _base(docker, tag).items()],
    )
    packages = _debian(tag)
    if tag == render.LABEL_SERVER_TAG:
        packages += _python(tag)
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, image.id),
        metadata=BomMetaData(component=root, timestamp=image.created),
        components=packages,
    )
    bom.register_dependency(root, packages)
    return bom


def _base(docker: DockerClient, tag: str) -> dict[str, str]:
    """The image that this one is made from; one from a registry is known everywhere by its digest."""
    base, debian = _BASES[tag]
    name = json.loads(images.RECORD.read_text(encoding="utf-8"))[base]
    if name.partition(",")[0] == "debian":
        # Docker can do without it once the image is made, so that a prune may have taken it.
        known = {"id": docker.image.inspect(debian).id} if docker.image.exists(debian) else {}
        return {"name": debian, "origin": "made from Debian's packages", **known}
    image = docker.image.inspect(base)
    digests = [digest for digest in image.repo_digests or [] if digest.partition("@")[0] in name]
    return {"name": name, **({"digest": digests[0].partition("@")[2]} if digests else {"id": image.id})}


def _debian(tag: str) -> list[Component]:
    lines = _run(tag, "cat", "/etc/os-release").splitlines()
    release = {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
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
    for said in json.loads(_run(tag, "/opt/venv/bin/python", "-I", "-c", _DISTRIBUTIONS)):
        name, version = said.pop("name"), said.pop("version")
        components.append(_component(PackageURL("pypi", None, name, version), name, version, _declared(**said)))
    return components


def _declared(expression: str, licence: str, classifiers: list[str]) -> list[str]:
    """A distribution's licences: in SPDX's words where it uses them; a whole licence text is no name."""
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
    answer = machine.run("docker", "run", *locked, "--entrypoint", program, tag, *arguments, seconds=_SECONDS)
    if answer.returncode != 0:
        raise DeployError(
            f"the packages of {tag} cannot be listed: {program}: {machine.why(answer)}",
            "the images are made, `python3 deploy.py up` starts them without the list",
        )
    return answer.stdout

"""What the SBOMs of the built images must say."""

import json
import os
import re
import socket
import subprocess

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from dotenv import dotenv_values
from packageurl import PackageURL
from packaging.utils import canonicalize_name
from python_on_whales import DockerClient

from labelpod.config.settings import Settings
from labelpod.docker import tags
from labelpod.images import sbom
from labelpod.project import Project
from tests.support.paths import ROOT

LABEL_SERVER = "sbom.label-server.cdx.json"
TAGS = tags.service_tags(Settings())
LOCK = ROOT / "images" / "label-server" / "requirements.lock"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, engine: None):
    """The SBOMs' texts by file name, made from the images as they are."""
    for tag in TAGS:
        if subprocess.run(["docker", "image", "inspect", tag], capture_output=True, check=False).returncode != 0:
            pytest.skip(f"there is no {tag}: `python3 deploy.py build` makes it")
    folder = tmp_path_factory.mktemp("sbom")
    project = Project(folder)
    project.build.mkdir()
    project.images_record.write_text(json.dumps({tags.BASE_TAG: "debian", tags.ORTHANC_TAG: "debian"}))
    sbom.write(DockerClient(), Settings(), project)
    return {sbom.file(project, tag).name: sbom.file(project, tag).read_text() for tag in TAGS}


def versions(text: str, kind: str) -> dict[str, str]:
    """Packages of one kind, by the names and versions in their purls."""
    purls = [PackageURL.from_string(each["purl"]) for each in json.loads(text)["components"]]
    return {purl.name: purl.version for purl in purls if purl.type == kind}


def test_they_are_valid_cyclonedx(files):
    for text in files.values():
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_the_label_servers_python_packages_are_those_of_the_lock(files):
    pinned = re.findall(r"^([\w.-]+)==(\S+)", LOCK.read_text(), re.MULTILINE)
    found = versions(files[LABEL_SERVER], "pypi")
    assert found == {canonicalize_name(name): version for name, version in pinned}
    assert {"torch", "monailabel"} <= set(found)


def test_the_viewer_is_the_package_of_its_lock(files):
    lock = json.loads(LOCK.with_name("viewer").joinpath("viewer.lock").read_text())
    assert versions(files[LABEL_SERVER], "npm") == {"app": lock["version"]}


def test_the_debian_packages_are_those_that_dpkg_knows(files):
    for tag in TAGS:
        listed = versions(files[sbom.file(Project(ROOT), tag).name], "deb")
        asked = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "dpkg-query", tag, "-W"]
        known = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        assert listed == {line.split()[0].partition(":")[0]: line.split()[1] for line in known.splitlines()}
        assert "libc6" in listed
    assert "orthanc" in versions(files["sbom.orthanc.cdx.json"], "deb")


def test_nearly_every_package_has_its_licence(files):
    for text in files.values():
        components = json.loads(text)["components"]
        assert sum("licenses" in each for each in components) > 0.9 * len(components)


def test_nothing_of_the_machine_is_in_them(files):
    """No path, no address, no name and no password of where they were made."""
    settings = {**dotenv_values(ROOT / ".env"), **os.environ}
    secrets = [value for name, value in settings.items() if "PASSWORD" in name and value]
    for text in files.values():
        assert re.findall(r"\w+://[^\s\"]+", text) == ["http://cyclonedx.org/schema/bom-1.6.schema.json"]
        assert re.findall(r"(?<![\w:/.])/\w+/[^\"\s]*", text) == []
        assert not [each for each in [socket.gethostname(), *secrets] if each in text]

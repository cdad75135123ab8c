"""Bases from a container registry: a local one, filled with what the Debian path made."""

import json
import subprocess

import pytest

from tests.support import registry as registries
from tests.support.clone import Clone


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, engine: None):
    with registries.serving(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, engine: None) -> Clone:
    return Clone.make(tmp_path_factory.mktemp("registry-clone"), "labelpod-test-registry")


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def test_bases_are_pulled_where_a_registry_has_them(registry: str, clone: Clone):
    clone.done("build", "--yes", IMAGE_SOURCE="debian")
    names = {"BASE_IMAGE": f"{registry}/debian:12", "ORTHANC_IMAGE": f"{registry}/orthanc:1"}
    local = {"BASE_IMAGE": "labelpod/debian:bookworm", "ORTHANC_IMAGE": "labelpod/orthanc:local"}
    for key, name in names.items():
        docker("tag", local[key], name)
        docker("push", "-q", name)
        docker("rmi", name)
    result = clone.cli("build", "--yes", IMAGE_SOURCE="registry", **names)
    assert result.returncode == 0, result.stderr
    assert f"{names['BASE_IMAGE']} from its registry" in result.stderr
    record = json.loads((clone.root / "build" / "images.json").read_text())
    assert {key: record[tag] for key, tag in local.items()} == names


def test_auto_says_in_one_line_that_debian_packages_are_taken_instead(clone: Clone):
    nowhere = {"BASE_IMAGE": "127.0.0.1:9/debian:12", "ORTHANC_IMAGE": "127.0.0.1:9/orthanc:1"}
    result = clone.cli("build", "--yes", IMAGE_SOURCE="auto", **nowhere)
    assert result.returncode == 0, result.stderr
    said = [line for line in result.stderr.splitlines() if "Debian's packages instead" in line]
    assert len(said) == 2 and all("127.0.0.1:9" in line for line in said)

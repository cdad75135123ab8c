"""The SBOM of an image; docker is a stand-in that answers for the image and its programs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from python_on_whales import DockerClient

from labelpod import lifecycle
from labelpod.config.settings import Settings
from labelpod.docker import tags
from labelpod.errors import DeployError
from labelpod.images import advisories, build, sbom
from labelpod.project import Project
from labelpod.studies import migrate as migration
from tests.support.engine import needs_docker

LABEL_SERVER, ORTHANC = tags.LABEL_SERVER_TAG, tags.ORTHANC_TAG
OS_RELEASE = 'PRETTY_NAME="Debian"\nID=debian\nVERSION_ID="12"\n'
DPKG = """\
installed libstdc++6 12.2.0-14+deb12u1 amd64
installed tini 0.19.0-1 amd64
config-files gone 1:2.0-1 all
"""
COPYRIGHT = """\
/usr/share/doc/tini/copyright:License: MIT
/usr/share/doc/tini/copyright:License: GPL-3+
/usr/share/doc/tini/copyright:License: MIT
/usr/share/doc/gone/copyright:License: MIT
"""
VIEWER = '{"package": "@ohif/app", "version": "3.13.2", "licence": "MIT", "integrity": "sha512-0"}'


def distribution(name: str, version: str = "1.0", **said: object) -> dict:
    return {"name": name, "version": version, "expression": "", "licence": "", "classifiers": []} | said


class Docker:
    """The images that there are, and what their programs print."""

    def __init__(self, project: Project, programs) -> None:
        self.project, self._programs = project, programs
        self.files = {tag: sbom.file(project, tag) for tag in tags.SERVICE_TAGS}
        self.images = {name: {"Id": f"sha256:{name}"} for name in (*self.files, tags.BASE_TAG)}
        self.images[tags.TRIXIE_TAG] = {"Id": "sha256:trixie"}
        self.distributions = [distribution("torch", "2.10.0", licence="BSD-3-Clause")]
        self.says = {"os-release": OS_RELEASE, "dpkg-query": DPKG, "copyright": COPYRIGHT, "viewer.lock": VIEWER}
        self.record = {tags.BASE_TAG: "debian", ORTHANC: "debian, 0123abc"}
        self.record |= {tags.POSTGRES_TAG: "debian, 4567def", tags.DOOR_TAG: "debian, 89abcde"}
        self.record |= {tags.PROMETHEUS_TAG: "debian, fedcba9"}

    def write(self) -> dict[str, dict]:
        """Write the files; each by its image's tag."""
        self.project.images_record.write_text(json.dumps(self.record))
        says = {**self.says, "/opt/venv/bin/python": json.dumps(self.distributions)}
        cases = [f"*{words}*) cat <<'END'\n{text.strip()}\nEND\n;;" for words, text in says.items() if text is not None]
        for name, image in self.images.items():
            inspected = json.dumps([{"Created": "2026-11-24T23:15:38.818938845Z", "RepoDigests": []} | image])
            cases.insert(
                0, f"'image inspect {name}' | 'image inspect {image['Id']}') cat <<'END'\n{inspected}\nEND\n;;"
            )
        self._programs.forget()
        self._programs.add(
            "docker",
            "\n".join(['case "$*" in', *cases, "*) echo 'Error: No such image: as told' >&2; exit 1;;", "esac"]),
        )
        docker = DockerClient(client_call=[str(self._programs.folder / "docker")])
        every = {"ORTHANC_DB": "postgres", "ORTHANC_BIND_ADDRESS": "0.0.0.0", "PROMETHEUS_IMAGE": "prom/prometheus:v3"}
        sbom.write(docker, Settings(**every), self.project)
        return {tag: json.loads(path.read_text()) for tag, path in self.files.items()}

    def runs(self) -> list[str]:
        return [call for call in self._programs.calls("docker") if not call.startswith("image inspect")]

    def licences(self, **said: object) -> list[dict]:
        """What the SBOM says of a distribution that says this."""
        self.distributions = [distribution("one", **said)]
        return packages(self.write()[LABEL_SERVER])["pkg:pypi/one@1.0"].get("licenses", [])


@pytest.fixture
def docker(tmp_path, programs) -> Docker:
    (tmp_path / "build").mkdir()
    return Docker(Project(tmp_path), programs)


def packages(bom: dict) -> dict[str, dict]:
    return {each["purl"]: each for each in bom["components"]}


def base(bom: dict) -> dict[str, str]:
    found = {each["name"]: each["value"] for each in bom["metadata"]["component"]["properties"]}
    return {name.removeprefix("labelpod:base:"): value for name, value in found.items()}


def test_debian_packages_are_in_it_with_version_licence_and_purl(docker):
    found = packages(docker.write()[ORTHANC])
    tini = found["pkg:deb/debian/tini@0.19.0-1?arch=amd64&distro=debian-12"]
    assert (tini["name"], tini["version"]) == ("tini", "0.19.0-1")
    assert tini["licenses"] == [{"license": {"id": "MIT"}}, {"license": {"name": "GPL-3+"}}]
    standard = found["pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12"]
    assert standard["name"] == "libstdc++6" and "licenses" not in standard


def test_a_package_that_only_left_its_configuration_is_not_in_it(docker):
    assert {each["name"] for each in docker.write()[ORTHANC]["components"]} == {"libstdc++6", "tini"}


def test_a_debian_without_a_number_is_told_without_one(docker):
    docker.says["os-release"] = "ID=debian\n"
    assert "pkg:deb/debian/tini@0.19.0-1?arch=amd64&distro=debian" in packages(docker.write()[ORTHANC])


def test_python_packages_are_those_of_the_label_server(docker):
    written = docker.write()
    torch = packages(written[LABEL_SERVER])["pkg:pypi/torch@2.10.0"]
    assert (torch["name"], torch["version"]) == ("torch", "2.10.0")
    assert {each["name"] for each in written[LABEL_SERVER]["components"]} == {
        "libstdc++6",
        "tini",
        "torch",
        "@ohif/app",
    }
    assert not any("pypi" in purl for purl in packages(written[ORTHANC]))


def test_the_viewer_is_a_package_of_npms(docker):
    written = docker.write()
    ohif = packages(written[LABEL_SERVER])["pkg:npm/%40ohif/app@3.13.2"]
    assert (ohif["name"], ohif["version"]) == ("@ohif/app", "3.13.2")
    assert ohif["licenses"] == [{"license": {"id": "MIT"}}]
    assert not any("npm" in purl for purl in packages(written[ORTHANC]))


@pytest.mark.parametrize(
    ("said", "licences"),
    [
        ({"expression": "MIT OR Apache-2.0"}, [{"expression": "MIT OR Apache-2.0"}]),
        ({"expression": "MIT", "licence": "see below"}, [{"license": {"id": "MIT"}}]),
        ({"licence": "Apache-2.0", "classifiers": ["License :: Other"]}, [{"license": {"id": "Apache-2.0"}}]),
        ({"licence": "Dual", "classifiers": ["License :: OSI Approved :: ISC"]}, [{"license": {"id": "ISC"}}]),
        ({"licence": "Copyright\nAll rights", "classifiers": ["License :: A"]}, [{"license": {"name": "A"}}]),
        ({"classifiers": ["License :: MIT OR ISC", "License :: B"]}, ["B", "MIT OR ISC"]),
        ({"licence": "NVIDIA Proprietary Software"}, [{"license": {"name": "NVIDIA Proprietary Software"}}]),
        ({"licence": "Copyright\nAll rights"}, []),
        ({"licence": "UNKNOWN"}, []),
        ({}, []),
    ],
)
def test_a_licence_is_told_as_the_package_tells_it(docker, said, licences):
    named = [{"license": {"name": each}} if isinstance(each, str) else each for each in licences]
    assert docker.licences(**said) == named


def test_it_is_about_the_image_of_this_name_and_id(docker):
    bom = docker.write()[LABEL_SERVER]
    about = bom["metadata"]["component"]
    assert (about["type"], about["name"], about["version"]) == ("container", LABEL_SERVER, f"sha256:{LABEL_SERVER}")
    (whole,) = [each for each in bom["dependencies"] if each["ref"] == about["bom-ref"]]
    assert set(whole["dependsOn"]) == set(packages(bom))


def test_a_base_from_a_registry_is_known_by_its_digest(docker):
    docker.record |= {tags.BASE_TAG: "debian:bookworm-slim", ORTHANC: "registry.example/orthanc:1"}
    docker.images[tags.BASE_TAG]["RepoDigests"] = ["labelpod/debian@sha256:local", "debian@sha256:bookworm"]
    docker.images[ORTHANC]["RepoDigests"] = ["registry.example/orthanc@sha256:pulled"]
    written = docker.write()
    assert base(written[LABEL_SERVER]) == {"name": "debian:bookworm-slim", "digest": "sha256:bookworm"}
    assert base(written[ORTHANC]) == {"name": "registry.example/orthanc:1", "digest": "sha256:pulled"}


def test_a_base_without_digest_is_known_by_its_id(docker):
    docker.record[ORTHANC] = "registry.example/orthanc:1"
    assert base(docker.write()[ORTHANC]) == {"name": "registry.example/orthanc:1", "id": f"sha256:{ORTHANC}"}


def test_a_base_made_from_debians_packages_says_so(docker):
    written = docker.write()
    made = {"origin": "made from Debian's packages"}
    assert base(written[LABEL_SERVER]) == made | {"name": tags.BASE_TAG, "id": f"sha256:{tags.BASE_TAG}"}
    assert base(written[ORTHANC]) == made | {"name": tags.TRIXIE_TAG, "id": "sha256:trixie"}


def test_a_base_that_was_pruned_is_told_without_its_id(docker):
    del docker.images[tags.TRIXIE_TAG]
    assert base(docker.write()[ORTHANC]) == {"name": tags.TRIXIE_TAG, "origin": "made from Debian's packages"}


def test_the_same_image_gives_the_same_text(docker):
    docker.write()
    first = [path.read_bytes() for path in docker.files.values()]
    for path in docker.files.values():
        path.unlink()
    docker.write()
    assert [path.read_bytes() for path in docker.files.values()] == first
    assert all(b'"timestamp": "2026-11-24T23:15:38.818938+00:00"' in text for text in first)


def test_an_image_that_has_its_file_is_not_asked_again(docker):
    docker.write()
    assert docker.runs()
    docker.write()
    assert docker.runs() == []


def test_a_new_image_gets_a_new_file(docker):
    docker.write()
    docker.images[ORTHANC]["Id"] = "sha256:new"
    docker.says["dpkg-query"] = "installed tini 0.19.0-2 amd64\n"
    written = docker.write()
    assert written[ORTHANC]["metadata"]["component"]["version"] == "sha256:new"
    assert [each["version"] for each in written[ORTHANC]["components"]] == ["0.19.0-2"]
    assert not any(LABEL_SERVER in run for run in docker.runs())


def test_an_image_is_asked_without_a_network_and_leaves_no_container(docker):
    docker.write()
    assert len(docker.runs()) == 17
    assert all("--rm" in run and "--network none" in run and "--pull never" in run for run in docker.runs())


def test_an_image_without_dpkg_is_one_error_with_a_remedy_and_no_file(docker):
    docker.says["dpkg-query"] = None
    with pytest.raises(DeployError) as caught:
        docker.write()
    assert caught.value.message.endswith("dpkg-query: Error: No such image: as told")
    assert "deploy.py up" in caught.value.remedy
    assert not any(path.exists() for path in docker.files.values())


def test_it_is_valid_cyclonedx(docker):
    docker.write()
    for path in docker.files.values():
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(path.read_text()) is None


@needs_docker
def test_build_writes_sboms_and_advisories_after_the_images(monkeypatch, tmp_path):
    done: list[str] = []
    monkeypatch.setattr(lifecycle, "_prepared", lambda *_: Settings())
    monkeypatch.setattr(lifecycle, "configured", lambda _, values, __: values)
    monkeypatch.setattr(
        build, "ensure", lambda *_, ask_buildkit: done.append("images, by BuildKit" if ask_buildkit else "images")
    )
    monkeypatch.setattr(migration, "pending", lambda _: False)  # it asks the engine
    monkeypatch.setattr(sbom, "write", lambda *_: done.append("sbom"))
    monkeypatch.setattr(advisories, "check", lambda _: done.append("advisories"))
    lifecycle.build(Project(tmp_path), yes=True)
    assert done == ["images, by BuildKit", "sbom", "advisories"]


def test_no_other_verb_waits_for_the_library_to_load():
    code = "import sys, labelpod.cli; sys.exit('cyclonedx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode == 0

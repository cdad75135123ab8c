"""What the doctor finds about registries and package sources."""

import pytest

from labelpod.docker.tags import LABEL_SERVER_TAG, ORTHANC_TAG
from labelpod.doctor import examine
from tests.support.doctor_machine import NOWHERE, needs_apt


@pytest.mark.parametrize(
    ("source", "images", "level"),
    [
        ("auto", [], "ok"),
        ("registry", [], "error"),
        ("registry", [LABEL_SERVER_TAG, ORTHANC_TAG], "warning"),
        ("debian", [], "ok"),
    ],
)
def test_a_registry_that_is_away_matters_where_images_must_come_from_it(machine, source, images, level):
    machine.info["IndexServerAddress"] = f"{NOWHERE}/v1/"
    machine.docker(images=images)
    machine.settings(IMAGE_SOURCE=source)
    assert machine.find("container registry").level == level


@pytest.mark.parametrize(("status", "level"), [(401, "ok"), (200, "ok"), (403, "error"), (503, "error")])
def test_a_registry_that_wants_a_login_answers(machine, packages, status, level):
    packages.pages["/v2/"] = (status, b"")
    machine.docker(images=[])
    machine.settings(IMAGE_SOURCE="registry")
    assert machine.find("container registry").level == level


def test_the_registry_that_is_asked_is_the_one_in_the_images_name(machine, packages):
    machine.info["IndexServerAddress"] = f"{NOWHERE}/v1/"
    machine.docker(images=[])
    images = {"BASE_IMAGE": f"{packages.host}/debian:12", "ORTHANC_IMAGE": f"{packages.host}/orthanc:1"}
    machine.settings(IMAGE_SOURCE="registry", **images)
    finding = machine.find("container registry")
    assert finding.level == "ok" and packages.host in finding.message and "/v2/" in packages.asked


def test_postgres_is_asked_for_where_it_is_the_database(machine, packages):
    machine.docker(images=[LABEL_SERVER_TAG, ORTHANC_TAG])
    machine.settings(IMAGE_SOURCE="registry", ORTHANC_DB="postgres", POSTGRES_IMAGE="127.0.0.1:9/postgres:17")
    found = [each for each in examine.examine(machine.env_file) if each.subject == "container registry"]
    assert [each.level for each in found if "127.0.0.1:9 not reached" in each.message] == ["error"]


def test_haproxy_is_asked_for_where_there_is_a_door(machine, packages):
    machine.docker(images=[LABEL_SERVER_TAG, ORTHANC_TAG])
    machine.settings(IMAGE_SOURCE="registry", ORTHANC_BIND_ADDRESS="0.0.0.0", DOOR_IMAGE="127.0.0.1:9/haproxy:3")
    found = [each for each in examine.examine(machine.env_file) if each.subject == "container registry"]
    assert [each.level for each in found if "127.0.0.1:9 not reached" in each.message] == ["error"]


def test_an_owner_in_the_images_name_is_not_a_registry(machine, packages):
    machine.settings(IMAGE_SOURCE="registry", BASE_IMAGE="owner/debian:12", ORTHANC_IMAGE="orthanc:1")
    finding = machine.find("container registry")
    assert finding.message == "docker.io answers" and "/v2/" in packages.asked


def test_a_mirror_that_docker_knows_is_as_good_as_the_default_registry(machine, packages):
    machine.info |= {
        "IndexServerAddress": f"{NOWHERE}/v1/",
        "RegistryConfig": {"Mirrors": [f"http://{packages.host}/"]},
    }
    machine.docker(images=[])
    machine.settings(IMAGE_SOURCE="registry")
    assert machine.find("container registry").level == "ok"


def test_a_registry_whose_answer_does_not_end_answers(machine, web):
    web.pages["/v2/"] = web.hang(b"{")
    machine.info["IndexServerAddress"] = f"{web.url}/v1/"
    machine.docker(images=[])
    machine.settings(IMAGE_SOURCE="registry")
    assert machine.find("container registry").level == "ok"


def test_a_proxy_of_a_kind_that_cannot_be_used_is_the_reason_that_is_told(machine, monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:1")
    machine.docker(images=[])
    machine.settings(IMAGE_SOURCE="registry")
    finding = machine.find("container registry")
    assert finding.level == "error" and "SOCKS" in finding.message


@pytest.mark.parametrize("subject", [pytest.param("Debian packages", marks=needs_apt), "Python packages"])
@pytest.mark.parametrize(
    ("images", "level"),
    [
        ([], "error"),
        ([LABEL_SERVER_TAG], "error"),
        ([LABEL_SERVER_TAG, ORTHANC_TAG], "warning"),
    ],
)
def test_package_sources_that_are_away_matter_while_images_must_be_built(machine, subject, images, level):
    machine.sources(NOWHERE)
    machine.real_pip()
    machine.docker(images=images)
    finding = machine.find(subject)
    assert finding.level == level and finding.remedy


@needs_apt
def test_up_skips_source_checks_when_images_exist(machine, packages, listener):
    machine.settings(ORTHANC_PORT=listener)
    (obstacle,) = examine.obstacles(machine.env_file)
    assert obstacle.subject == f"port {listener}" and packages.asked == []


@needs_apt
def test_up_needs_package_sources_to_build_images(machine):
    machine.docker(images=[])
    machine.sources(NOWHERE)
    machine.real_pip()
    assert {each.subject for each in examine.obstacles(machine.env_file)} == {"Debian packages", "Python packages"}


def test_the_python_index_that_is_asked_is_the_one_of_pips_configuration(machine, packages):
    machine.real_pip()
    assert machine.find("Python packages").level == "ok"
    assert "/simple/monailabel/" in packages.asked


@pytest.mark.parametrize(("source", "level"), [("auto", "ok"), ("debian", "error")])
def test_a_machine_without_apt_cannot_make_bases_from_debian_packages(machine, monkeypatch, source, level):
    (machine.bin / "apt-get").unlink()
    monkeypatch.setenv("PATH", str(machine.bin))
    machine.docker(images=[])
    machine.settings(IMAGE_SOURCE=source)
    assert machine.find("Debian packages").level == level


@pytest.mark.parametrize(
    ("script", "level", "words"), [("sleep 5", "warning", "no answer"), ("exit 100", "error", "100")]
)
def test_a_slow_apt_is_not_taken_for_one_without_sources(machine, script, level, words):
    machine.docker(images=[])
    machine.program("apt-get", script)
    finding = machine.find("Debian packages")
    assert finding.level == level and words in finding.message


@pytest.mark.parametrize(("images", "level"), [([], "error"), ([LABEL_SERVER_TAG, ORTHANC_TAG], "warning")])
def test_npms_registry_that_is_away_matters_while_the_image_must_be_built(machine, monkeypatch, images, level):
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"{NOWHERE.replace('//', '//reader:hunter2@')}/npm/")
    machine.docker(images=images)
    finding = machine.find("npm packages")
    assert finding.level == level and ".npmrc" in finding.remedy and "hunter2" not in finding.message


@pytest.mark.parametrize(("status", "level"), [(200, "ok"), (401, "ok"), (403, "error"), (502, "error")])
def test_npms_registry_is_asked_for_the_viewer(machine, packages, monkeypatch, status, level):
    packages.pages["/npm/@ohif%2fapp"] = (status, b"{}")
    machine.docker(images=[])
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"http://{packages.host}/npm/")
    assert machine.find("npm packages").level == level and "/npm/@ohif%2fapp" in packages.asked


def test_without_a_registry_of_its_own_npm_is_not_asked_about(machine):
    assert "npm packages" not in {each.subject for each in examine.examine(machine.env_file)}

"""What the doctor finds on a machine; docker, apt-get and nvidia-smi are stand-ins first on PATH."""

import json
import os
import shutil
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from labelpod.config.settings import PREFIX
from labelpod.docker.tags import LABEL_SERVER_TAG, ORTHANC_TAG
from labelpod.doctor import examine
from labelpod.doctor.finding import Finding
from tests.support import certificates
from tests.support.ports import held_port

NOWHERE = "http://127.0.0.1:9"
WHEEL = b'<a href="monailabel-0.8.5-py3-none-any.whl">monailabel-0.8.5-py3-none-any.whl</a>'
needs_apt = pytest.mark.skipif(not Path("/usr/lib/apt/apt-helper").exists(), reason="no apt on this machine")


class Web(BaseHTTPRequestHandler):
    """A registry that wants a login, a Debian mirror and a Python index in one."""

    def do_GET(self):
        status, body = self.server.pages.get(self.path, (404, b""))
        self.server.asked.append(self.path)
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    server.asked = []
    server.pages = {"/v2/": (401, b""), "/InRelease": (200, b"x"), "/simple/monailabel/": (200, WHEEL)}
    server.host = f"127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class Machine:
    """A healthy machine, to be made ill by a test."""

    def __init__(self, folder: Path, web, monkeypatch: pytest.MonkeyPatch) -> None:
        self.env_file = folder / ".env"
        self.bin = folder / "bin"
        self.bin.mkdir()
        self._monkeypatch = monkeypatch
        self.info = {
            "ServerVersion": "26.1.5+dfsg1",
            "DockerRootDir": "/",
            "MemTotal": 25_000_000_000,
            "Runtimes": {"runc": {}},
            "IndexServerAddress": f"http://{web.host}/v1/",
            "ClientInfo": {"Plugins": [_plugin("compose", "v2.26.1"), _plugin("buildx", "0.13.1+ds1")]},
        }
        for name in list(os.environ):
            if name.startswith(PREFIX) or name.startswith("PIP_"):
                monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1")
        (folder / "apt.conf").write_text('Acquire::http::Proxy::127.0.0.1 "DIRECT";\n')
        monkeypatch.setenv("APT_CONFIG", str(folder / "apt.conf"))
        monkeypatch.setenv("PATH", f"{self.bin}{os.pathsep}{os.environ['PATH']}")
        self.ports = {name: held_port() for name in ("LABEL_SERVER_PORT", "ORTHANC_PORT", "DICOM_PORT")}
        self.settings()
        self.disk(free_gib=100)
        self.sources(f"http://{web.host}")
        self.program("nvidia-smi", "exit 9")
        self.docker()

    def program(self, name: str, script: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def docker(self, images=(LABEL_SERVER_TAG, ORTHANC_TAG), containers="", error="") -> None:
        """A docker that says `info`; with an error, one whose engine does not answer."""
        info = self.info | ({"ServerVersion": ""} if error else {})
        for name, text in {"info": json.dumps(info), "image": "\n".join(images), "ps": containers}.items():
            (self.bin / f"docker.{name}").write_text(text)
        failing = f"echo '{error}' >&2; exit 1" if error else ""
        self.program("docker", f'/bin/cat "{self.bin}/docker.$1"\n{failing}')

    def sources(self, url: str) -> None:
        """Where apt and pip get packages."""
        self.program("apt-get", f"echo {url}/InRelease")
        self._monkeypatch.setenv("PIP_INDEX_URL", f"{url}/simple")

    def settings(self, **values) -> None:
        self.env_file.write_text("".join(f"{key}={value}\n" for key, value in (self.ports | values).items()))
        self.env_file.chmod(0o600)

    def disk(self, free_gib: float) -> list[Path]:
        """Set the free space; the list tells which places were asked about."""
        asked = []
        usage = SimpleNamespace(free=int(free_gib * 2**30))
        self._monkeypatch.setattr(shutil, "disk_usage", lambda place: asked.append(Path(place)) or usage)
        return asked

    def find(self, subject: str) -> Finding:
        (finding,) = [each for each in examine.examine(self.env_file) if each.subject == subject]
        return finding


def _plugin(name: str, version: str) -> dict[str, str]:
    return {"Name": name, "Version": version}


@pytest.fixture
def machine(tmp_path, web, monkeypatch) -> Machine:
    return Machine(tmp_path, web, monkeypatch)


@needs_apt
def test_a_healthy_machine_gives_no_cause_for_complaint(machine):
    findings = examine.examine(machine.env_file)
    assert [each for each in findings if each.level != "ok" or each.remedy] == []
    assert len(findings) == 13


def test_without_docker_the_remedy_is_the_command_that_installs_it(machine, monkeypatch):
    (machine.bin / "docker").unlink()
    monkeypatch.setenv("PATH", str(machine.bin))
    finding = machine.find("Docker engine")
    assert finding.level == "error" and "deploy.py up" in finding.remedy


def test_an_engine_that_is_away_is_an_error_in_its_own_words(machine):
    machine.docker(error="Cannot connect to the Docker daemon")
    finding = machine.find("Docker engine")
    assert finding.level == "error" and "Cannot connect to the Docker daemon" in finding.message


def test_words_of_an_older_docker_that_answers_success_are_understood(machine):
    machine.info |= {"ServerVersion": "", "ServerErrors": ["permission denied on the socket"]}
    machine.docker()
    assert "usermod" in machine.find("Docker engine").remedy


def test_a_user_who_may_not_use_docker_is_told_how_to_get_the_permission(machine):
    machine.docker(error="permission denied while trying to connect to the Docker daemon socket")
    finding = machine.find("Docker engine")
    assert finding.level == "error"
    assert finding.remedy == "sudo usermod -aG docker $USER, then log out and in again"


@pytest.mark.parametrize(("version", "level"), [("20.10.24", "error"), ("22.9.9", "error"), ("23.0.0", "ok")])
def test_the_engine_must_be_23_or_newer(machine, version, level):
    machine.info["ServerVersion"] = version
    machine.docker()
    finding = machine.find("Docker engine")
    assert finding.level == level and version in finding.message


@pytest.mark.parametrize(
    ("compose", "buildx", "levels"),
    [
        ("v2.19.1", "v0.9.1", ("error", "error")),
        ("2.20.0", "0.10.0", ("ok", "ok")),
        ("v5.0.0", "v1.0.0", ("ok", "ok")),
    ],
)
def test_compose_must_be_2_20_and_buildx_0_10_or_newer(machine, compose, buildx, levels):
    machine.info["ClientInfo"] = {"Plugins": [_plugin("compose", compose), _plugin("buildx", buildx)]}
    machine.docker()
    levels_found = {each.subject: each.level for each in examine.examine(machine.env_file)}
    assert (levels_found["Docker Compose"], levels_found["Docker Buildx"]) == levels


def test_a_missing_compose_plugin_is_an_error(machine):
    machine.info["ClientInfo"] = {"Plugins": [_plugin("buildx", "0.13.1")]}
    machine.docker()
    finding = machine.find("Docker Compose")
    assert finding.level == "error" and "not installed" in finding.message and finding.remedy


@pytest.mark.parametrize(
    ("images", "free", "level", "needs"),
    [
        ([], 20, "error", "needs 30 GB"),
        ([], 31, "ok", "needs 30 GB"),
        ([LABEL_SERVER_TAG], 20, "ok", "needs 5 GB"),
        ([LABEL_SERVER_TAG], 4, "error", "needs 5 GB"),
    ],
)
def test_a_first_build_needs_more_disk_than_a_start(machine, images, free, level, needs):
    machine.disk(free)
    machine.docker(images=images)
    finding = machine.find("disk space")
    assert finding.level == level
    assert needs in finding.message and f"has {free}.0 GB" in finding.message


def test_the_disk_that_counts_is_the_one_where_docker_keeps_images(machine):
    machine.info["DockerRootDir"] = "/srv/docker"
    machine.docker()
    asked = machine.disk(100)
    assert "/srv/docker" in machine.find("disk space").message
    assert asked == [Path("/srv/docker")]


def test_the_root_disk_counts_while_the_engine_is_away(machine):
    del machine.info["DockerRootDir"]
    machine.docker(error="away")
    asked = machine.disk(100)
    machine.find("disk space")
    assert asked == [Path("/")]


def test_free_space_is_known_for_a_folder_that_is_not_made_yet(tmp_path):
    here = shutil.disk_usage(tmp_path).free / 2**30
    assert examine.free_gib(tmp_path / "not" / "there") == pytest.approx(here, abs=0.5)


@pytest.mark.parametrize(("gigabytes", "level"), [(7.5, "error"), (8.2, "warning"), (16.7, "ok")])
def test_less_than_8_gb_of_memory_is_an_error_and_less_than_16_a_warning(machine, gigabytes, level):
    machine.info["MemTotal"] = int(gigabytes * 1e9)
    machine.docker()
    finding = machine.find("memory")
    assert finding.level == level and f"{gigabytes} GB" in finding.message


def test_a_taken_port_is_an_error_that_names_program_and_setting(machine, listener):
    machine.settings(ORTHANC_PORT=listener)
    finding = machine.find(f"port {listener}")
    assert finding.level == "error" and str(os.getpid()) in finding.message
    assert "ORTHANC_PORT" in finding.remedy


def test_a_port_of_this_stacks_own_container_is_not_taken(machine, listener):
    machine.settings(ORTHANC_PORT=listener)
    machine.docker(containers="labelpod-orthanc-1 labelpod\n")
    finding = machine.find(f"port {listener}")
    assert finding.level == "ok" and "labelpod-orthanc-1" in finding.message


@pytest.mark.parametrize("line", ["pacs other-project\n", "pacs \n"])
def test_a_port_of_somebody_elses_container_is_taken_by_it(machine, listener, line):
    machine.settings(ORTHANC_PORT=listener)
    machine.docker(containers=line)
    finding = machine.find(f"port {listener}")
    assert finding.level == "error" and "container pacs" in finding.message


def test_an_address_that_the_machine_does_not_have_is_an_error(machine):
    machine.settings(BIND_ADDRESS="203.0.113.7")
    finding = machine.find("network")
    assert finding.level == "error" and "203.0.113.7" in finding.message


@pytest.mark.parametrize("name", ["BIND_ADDRESS", "DICOM_BIND_ADDRESS"])
def test_the_address_that_is_wrong_is_named(machine, name):
    machine.settings(**{name: "203.0.113.7"})
    assert machine.find("network").message.startswith(f"LABELPOD_{name}=203.0.113.7 ")


@pytest.mark.parametrize(
    ("setting", "address"),
    [
        ("LABEL_SERVER_PORT", "BIND_ADDRESS"),
        ("ORTHANC_PORT", "BIND_ADDRESS"),
        ("DICOM_PORT", "DICOM_BIND_ADDRESS"),
    ],
)
def test_a_port_is_looked_at_on_the_address_that_it_is_opened_on(machine, listener, setting, address):
    """The listener is on 127.0.0.1 alone."""
    machine.settings(**{setting: listener, address: "127.0.0.2"})
    assert machine.find(f"port {listener}").level == "ok"
    machine.settings(**{setting: listener})
    assert machine.find(f"port {listener}").level == "error"


@pytest.mark.parametrize(("address", "warned"), [("127.0.0.1", False), ("127.0.0.2", False), ("0.0.0.0", True)])
def test_ports_open_to_others_without_encryption_are_a_warning(machine, address, warned):
    machine.settings(BIND_ADDRESS=address)
    findings = [each for each in examine.examine(machine.env_file) if each.subject == "network"]
    assert [each.level for each in findings] == ["warning"] * warned
    assert all("in clear" in each.message and "TLS_CERT" in each.remedy for each in findings)


@certificates.needs_openssl
def test_ports_open_to_others_with_encryption_are_in_order(machine, tmp_path):
    certificate, key = certificates.make(tmp_path)
    machine.settings(BIND_ADDRESS="0.0.0.0", TLS_CERT=certificate, TLS_KEY=key)
    assert [each for each in examine.examine(machine.env_file) if each.subject == "network"] == []


def test_an_open_dicom_port_is_a_warning(machine):
    machine.settings(DICOM_BIND_ADDRESS="0.0.0.0")
    finding = machine.find("DICOM")
    assert finding.level == "warning" and "no authentication" in finding.message and finding.remedy


@certificates.needs_openssl
@pytest.mark.parametrize(("days", "level"), [(90, "ok"), (31, "ok"), (29, "warning"), (-1, "error")])
def test_a_certificate_is_to_be_renewed_30_days_before_it_expires(machine, tmp_path, days, level):
    certificate, key = certificates.make(tmp_path, first=-9, last=days)
    machine.settings(TLS_CERT=certificate, TLS_KEY=key)
    finding = machine.find("certificate")
    assert finding.level == level and bool(finding.remedy) == (level != "ok")


def test_a_certificate_that_is_not_there_is_an_error(machine):
    machine.settings(TLS_CERT="absent.pem", TLS_KEY="absent.key")
    finding = machine.find("certificate")
    assert finding.level == "error" and "absent.pem" in finding.message


def test_a_missing_env_file_is_in_order_and_stays_missing(machine):
    machine.env_file.unlink()
    assert machine.find("settings").level == "ok"
    assert not machine.env_file.exists()


def test_a_malformed_env_file_is_an_error_with_its_line(machine):
    machine.env_file.write_text("DEVICE=cpu\nnot a setting\n")
    finding = machine.find("settings")
    assert finding.level == "error" and "line 2" in finding.message and finding.remedy


def test_the_other_checks_are_made_despite_a_malformed_env_file(machine):
    machine.env_file.write_text("not a setting\n")
    assert machine.find("memory").level == "ok"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_an_env_file_that_others_can_read_is_a_warning(machine, mode):
    machine.env_file.chmod(mode)
    finding = machine.find("settings")
    assert (finding.level, finding.remedy) == ("warning", "chmod 600 .env")


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
def test_a_registry_that_wants_a_login_answers(machine, web, status, level):
    web.pages["/v2/"] = (status, b"")
    machine.docker(images=[])
    machine.settings(IMAGE_SOURCE="registry")
    assert machine.find("container registry").level == level


def test_the_registry_that_is_asked_is_the_one_in_the_images_name(machine, web):
    machine.info["IndexServerAddress"] = f"{NOWHERE}/v1/"
    machine.docker(images=[])
    images = {"BASE_IMAGE": f"{web.host}/debian:12", "ORTHANC_IMAGE": f"{web.host}/orthanc:1"}
    machine.settings(IMAGE_SOURCE="registry", **images)
    finding = machine.find("container registry")
    assert finding.level == "ok" and web.host in finding.message and "/v2/" in web.asked


def test_postgres_is_asked_for_where_it_is_the_database(machine, web):
    machine.docker(images=[LABEL_SERVER_TAG, ORTHANC_TAG])
    machine.settings(IMAGE_SOURCE="registry", ORTHANC_DB="postgres", POSTGRES_IMAGE="127.0.0.1:9/postgres:17")
    found = [each for each in examine.examine(machine.env_file) if each.subject == "container registry"]
    assert [each.level for each in found if "127.0.0.1:9 not reached" in each.message] == ["error"]


def test_an_owner_in_the_images_name_is_not_a_registry(machine, web):
    machine.settings(IMAGE_SOURCE="registry", BASE_IMAGE="owner/debian:12", ORTHANC_IMAGE="orthanc:1")
    finding = machine.find("container registry")
    assert finding.message == "docker.io answers" and "/v2/" in web.asked


def test_a_mirror_that_docker_knows_is_as_good_as_the_default_registry(machine, web):
    machine.info |= {
        "IndexServerAddress": f"{NOWHERE}/v1/",
        "RegistryConfig": {"Mirrors": [f"http://{web.host}/"]},
    }
    machine.docker(images=[])
    machine.settings(IMAGE_SOURCE="registry")
    assert machine.find("container registry").level == "ok"


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
    machine.docker(images=images)
    finding = machine.find(subject)
    assert finding.level == level and finding.remedy


@needs_apt
def test_up_skips_source_checks_when_images_exist(machine, web, listener):
    machine.settings(ORTHANC_PORT=listener)
    (obstacle,) = examine.obstacles(machine.env_file)
    assert obstacle.subject == f"port {listener}" and web.asked == []


@needs_apt
def test_up_needs_package_sources_to_build_images(machine):
    machine.docker(images=[])
    machine.sources(NOWHERE)
    assert {each.subject for each in examine.obstacles(machine.env_file)} == {"Debian packages", "Python packages"}


def test_the_python_index_that_is_asked_is_the_one_of_pips_configuration(machine, web):
    assert machine.find("Python packages").level == "ok"
    assert "/simple/monailabel/" in web.asked


@pytest.mark.parametrize(("source", "level"), [("auto", "ok"), ("debian", "error")])
def test_a_machine_without_apt_cannot_make_bases_from_debian_packages(machine, monkeypatch, source, level):
    (machine.bin / "apt-get").unlink()
    monkeypatch.setenv("PATH", str(machine.bin))
    machine.docker(images=[])
    machine.settings(IMAGE_SOURCE=source)
    assert machine.find("Debian packages").level == level


@pytest.mark.parametrize(
    ("card", "runtime", "device", "level", "says"),
    [
        ("", "nvidia", "auto", "ok", "no NVIDIA GPU"),
        ("", "nvidia", "gpu", "error", "no NVIDIA GPU"),
        ("RTX 4090, 24564, 550.1", "nvidia", "auto", "ok", "RTX 4090"),
        ("RTX 3060, 12288, 550.1", "nvidia", "auto", "ok", "RTX 3060"),
        ("RTX 3070, 8192, 550.1", "nvidia", "auto", "warning", "less than 12 GB"),
        ("RTX 3070, 8192, 550.1", "nvidia", "gpu", "warning", "run out of memory"),
        ("RTX 3070, 8192, 550.1", "nvidia", "cpu", "ok", "CPU"),
        ("RTX 4090, 24564, 550.1", "runc", "auto", "warning", "container toolkit"),
        ("RTX 4090, 24564, 550.1", "runc", "gpu", "error", "container toolkit"),
        ("RTX 4090, 24564, 515.1", "nvidia", "auto", "warning", "older than 525"),
    ],
)
def test_a_gpu_that_goes_unused_is_a_warning_and_none_at_all_is_not(machine, card, runtime, device, level, says):
    machine.program("nvidia-smi", f"echo '{card}'")
    machine.info["Runtimes"] = {runtime: {}}
    machine.docker()
    machine.settings(DEVICE=device)
    finding = machine.find("GPU")
    assert finding.level == level and says in finding.message
    assert bool(finding.remedy) == (level != "ok")


def test_the_container_toolkit_is_not_missed_while_the_engine_is_away(machine):
    machine.program("nvidia-smi", "echo 'RTX 4090, 24564, 550.1'")
    machine.docker(error="away")
    assert machine.find("GPU").level == "ok"


def test_a_machine_where_nothing_answers_is_examined_within_8_seconds(machine):
    machine.program("docker", "exec sleep 60")
    machine.program("nvidia-smi", "exec sleep 60")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        machine.sources(f"http://{host}")
        machine.settings(BASE_IMAGE=f"{host}/debian:12", IMAGE_SOURCE="registry")
        begun = time.monotonic()
        findings = examine.examine(machine.env_file)
    assert time.monotonic() - begun < 8
    wanting = {each.subject for each in examine.blocking(findings)}
    assert {"Docker engine", "container registry", "Python packages"} <= wanting


def test_only_errors_block():
    error, warning = Finding("error", "a", "b", "c"), Finding("warning", "a", "b", "c")
    assert examine.blocking([warning, error, Finding("ok", "a", "b")]) == [error]


def test_findings_become_json():
    (each,) = json.loads(json.dumps(examine.to_json([Finding("warning", "disk", "full", "rm")])))
    assert each == {"level": "warning", "subject": "disk", "message": "full", "remedy": "rm"}

"""What the doctor finds on a machine: engine, disk, memory, settings, GPU."""

import json
import shutil
import socket
import time
from pathlib import Path

import pytest

from labelpod.docker import ownership
from labelpod.docker.tags import LABEL_SERVER_TAG
from labelpod.doctor import examine
from labelpod_common.doctor_report import Finding
from tests.support.doctor_machine import needs_apt, plugin


@needs_apt
def test_a_healthy_machine_gives_no_cause_for_complaint(machine):
    machine.real_pip()
    findings = examine.examine(machine.env_file)
    assert [each for each in findings if each.level != "ok" or each.remedy] == []
    assert len(findings) == 15


def test_without_docker_the_remedy_is_the_command_that_installs_it(machine, monkeypatch):
    (machine.bin / "docker").unlink()
    monkeypatch.setenv("PATH", str(machine.bin))
    finding = machine.find("Docker engine")
    assert finding.level == "error" and "deploy.py up" in finding.remedy


def test_an_engine_that_is_away_is_an_error_in_its_own_words(machine):
    machine.docker(error="Cannot connect to the Docker daemon")
    finding = machine.find("Docker engine")
    assert finding.level == "error" and "Cannot connect to the Docker daemon" in finding.message


def test_a_stack_that_another_folder_has_stopped_is_named(machine, tmp_path, monkeypatch):
    stopped = ownership.Owner(tmp_path / "other", there=True)
    monkeypatch.setattr(ownership, "owners", lambda name: [stopped] if name == "labelpod" else [])
    finding = machine.find("stack")
    assert finding.level == "error" and f"is run from {tmp_path / 'other'}" in finding.message


def test_words_of_an_older_docker_that_answers_success_are_understood(machine):
    machine.info |= {"ServerVersion": "", "ServerErrors": ["permission denied on the socket"]}
    machine.docker()
    assert "usermod" in machine.find("Docker engine").remedy


def test_a_user_who_may_not_use_docker_is_told_how_to_get_the_permission(machine):
    machine.docker(error="permission denied while trying to connect to the Docker daemon socket")
    finding = machine.find("Docker engine")
    assert finding.level == "error"
    assert finding.remedy == "sudo usermod -aG docker $USER, then log out and in again"


def test_a_dead_engine_of_the_users_choice_is_named_with_how_to_undo_it(machine, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    machine.docker(error="Cannot connect to the Docker daemon")
    finding = machine.find("Docker engine")
    assert finding.level == "error" and finding.message.startswith("DOCKER_HOST=tcp://127.0.0.1:1 does not answer")
    assert "unset DOCKER_HOST" in finding.remedy and "systemctl" not in finding.remedy


@pytest.mark.parametrize(
    ("said", "level", "word"),
    [
        ({"SecurityOptions": ["name=rootless"]}, "error", "rootless"),
        ({"OperatingSystem": "Docker Desktop"}, "warning", "Docker Desktop"),
        ({"Architecture": "aarch64"}, "warning", "aarch64"),
        ({"SecurityOptions": ["name=selinux"]}, "warning", "SELinux"),
    ],
    ids=["rootless", "desktop", "arm64", "selinux"],
)
def test_a_machine_on_which_nothing_was_tried_is_told_so(machine, said, level, word):
    machine.info |= said
    machine.docker()
    found = [each for each in examine.examine(machine.env_file) if each.subject == "Docker engine"]
    assert [(each.level, word in each.message, bool(each.remedy)) for each in found if each.level != "ok"] == [
        (level, True, True)
    ]
    assert bool(examine.obstacles(machine.env_file)) is (level == "error")


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
    machine.info["ClientInfo"] = {"Plugins": [plugin("compose", compose), plugin("buildx", buildx)]}
    machine.docker()
    levels_found = {each.subject: each.level for each in examine.examine(machine.env_file)}
    assert (levels_found["Docker Compose"], levels_found["Docker Buildx"]) == levels


def test_a_missing_compose_plugin_is_an_error(machine):
    machine.info["ClientInfo"] = {"Plugins": [plugin("buildx", "0.13.1")]}
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


def test_a_missing_env_file_is_in_order_and_stays_missing(machine):
    machine.env_file.unlink()
    assert machine.find("settings").level == "ok"
    assert not machine.env_file.exists()


def test_a_malformed_env_file_is_an_error_with_its_line(machine):
    machine.env_file.write_text("DEVICE=cpu\nnot a setting\n")
    finding = machine.find("settings")
    assert finding.level == "error" and "line 2" in finding.message and finding.remedy


def test_what_only_a_cluster_runs_is_told(machine):
    machine.env_file.write_text("LABELPOD_LABEL_SERVERS=64\n")
    machine.env_file.chmod(0o600)
    finding = machine.find("settings")
    assert finding.level == "warning" and "one machine runs 8 at most" in finding.message


def test_the_other_checks_are_made_despite_a_malformed_env_file(machine):
    machine.env_file.write_text("not a setting\n")
    assert machine.find("memory").level == "ok"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_an_env_file_that_others_can_read_is_a_warning(machine, mode):
    machine.env_file.chmod(mode)
    finding = machine.find("settings")
    assert (finding.level, finding.remedy) == ("warning", "chmod 600 .env")


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
        machine.real_pip()
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

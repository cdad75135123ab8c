"""Which GPUs are found, and when one is used."""

import os
from pathlib import Path

import pytest

from labelpod.errors import DeployError
from labelpod.host import gpu

SMALL = gpu.Gpu("RTX 3070", 8.0, "550.54")
TWELVE = gpu.Gpu("RTX A2000", 11.9, "550.54")
LARGE = gpu.Gpu("RTX 4090", 24.0, "550.54")
OLD_DRIVER = gpu.Gpu("RTX 4090", 24.0, "515.105.01")


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a stand-in for nvidia-smi first on PATH."""

    def install(script: str) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return install


def test_every_card_is_found_with_its_memory_in_gib(nvidia_smi):
    nvidia_smi("echo 'NVIDIA GeForce RTX 4090, 24564, 550.54.15'\necho 'NVIDIA A2000, 12282, 550.54.15'")
    first, second = gpu.find()
    assert (first.name, first.driver) == ("NVIDIA GeForce RTX 4090", "550.54.15")
    assert first.memory_gib == pytest.approx(23.99, abs=0.01)
    assert second.memory_gib == pytest.approx(11.99, abs=0.01)


def test_nvidia_smi_is_asked_for_names_memory_and_driver_without_units(nvidia_smi, tmp_path):
    nvidia_smi(f'echo "$@" >> {tmp_path}/asked')
    gpu.find()
    gpu.find()  # asks no more: without persistence mode each question takes seconds
    asked = (tmp_path / "asked").read_text().strip()
    assert asked == "--query-gpu=name,memory.total,driver_version --format=csv,noheader,nounits"


def test_a_comma_in_a_name_does_not_shift_the_fields(nvidia_smi):
    nvidia_smi("echo 'Card, special edition, 16384, 550.1'")
    assert gpu.find() == [gpu.Gpu("Card, special edition", 16.0, "550.1")]


def test_a_card_without_memory_of_its_own_is_left_out(nvidia_smi):
    nvidia_smi("echo 'NVIDIA GB10, [N/A], 580.1'\necho 'RTX 4090, 24576, 580.1'")
    assert [card.name for card in gpu.find()] == ["RTX 4090"]


def test_a_failing_nvidia_smi_means_no_card(nvidia_smi):
    nvidia_smi("echo 'RTX 4090, 24576, 550.1'\nexit 9")
    assert gpu.find() == []


def test_an_absent_nvidia_smi_means_no_card(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu.find() == []


@pytest.mark.parametrize(
    ("info", "available"),
    [
        ({"Runtimes": {"runc": {}, "nvidia": {}}}, True),
        ({"DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=all"}]}, True),
        ({"Runtimes": {"runc": {}}, "DiscoveredDevices": [{"Source": "cdi", "ID": "amd.com/gpu=0"}]}, False),
        ({"Runtimes": None, "DiscoveredDevices": None}, False),
        ({}, False),
    ],
)
def test_docker_reaches_an_nvidia_gpu_by_its_runtime_or_by_cdi(info, available):
    assert gpu.runtime_available(info) is available


@pytest.mark.parametrize("card", [TWELVE, LARGE])
def test_auto_takes_a_card_of_12_gb_or_more(card):
    choice = gpu.choose("auto", [card], True)
    assert choice.use_gpu and card.name in choice.reason and not choice.warning


def test_auto_takes_the_gpu_if_the_largest_card_is_large_enough():
    assert gpu.choose("auto", [SMALL, LARGE], True).use_gpu


@pytest.mark.parametrize(
    ("gpus", "runtime", "why"),
    [
        ([], True, "no NVIDIA GPU"),
        ([LARGE], False, "toolkit"),
        ([OLD_DRIVER], True, "515.105.01"),
        ([SMALL], True, "less than 12 GB"),
        ([gpu.Gpu("RTX 2080 Ti", 11.0, "550.54")], True, "less than 12 GB"),
    ],
)
def test_auto_uses_the_cpu_and_says_why_in_one_line(gpus, runtime, why):
    choice = gpu.choose("auto", gpus, runtime)
    assert not choice.use_gpu
    assert why in choice.reason and "CPU" in choice.reason and "\n" not in choice.reason


def test_driver_525_is_new_enough():
    assert gpu.choose("auto", [gpu.Gpu("T4", 15.0, "525.60.13")], True).use_gpu


def test_a_small_card_that_is_asked_for_is_used_with_a_warning():
    choice = gpu.choose("gpu", [SMALL], True)
    assert choice.use_gpu and "8.0 GiB" in choice.warning


def test_a_large_card_that_is_asked_for_is_used_without_a_warning():
    choice = gpu.choose("gpu", [LARGE], True)
    assert choice.use_gpu and not choice.warning


@pytest.mark.parametrize(
    ("gpus", "runtime", "message", "remedy"),
    [
        ([], True, "no NVIDIA GPU", "DEVICE=cpu"),
        ([LARGE], False, "container toolkit", "nvidia-container-toolkit"),
        ([OLD_DRIVER], True, "older than 525", "525 or newer"),
    ],
)
def test_asking_for_a_gpu_that_cannot_be_used_is_an_error_with_a_remedy(gpus, runtime, message, remedy):
    with pytest.raises(DeployError) as caught:
        gpu.choose("gpu", gpus, runtime)
    assert message in caught.value.message and remedy in caught.value.remedy


def test_the_cpu_is_used_when_it_is_asked_for():
    choice = gpu.choose("cpu", [LARGE], True)
    assert not choice.use_gpu and "DEVICE=cpu" in choice.reason

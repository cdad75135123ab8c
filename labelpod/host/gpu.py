"""Which NVIDIA GPUs the machine has, and whether the label server gets them."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from labelpod import process
from labelpod.errors import DeployError

# 12 GB as the cards are sold: some of them report 11.9 GiB. Cards of 11 GB stay out.
MIN_VRAM_GIB = 11.5
# CUDA 12.8 runs on drivers from 525 on, by the minor-version compatibility within CUDA 12.
MIN_DRIVER = 525
_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
# Without persistence mode the driver is loaded for each query, which takes seconds with many cards.
_SECONDS = 6


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA card: its name, its memory in GiB, the version of its driver."""

    name: str
    memory_gib: float
    driver: str

    def __str__(self) -> str:
        """Name and memory, as users know the card."""
        return f"{self.name} ({self.memory_gib:.1f} GiB)"


@dataclass(frozen=True)
class Choice:
    """Whether the GPU is used, why in one line, and what the user should know of it ("": nothing)."""

    use_gpu: bool
    reason: str
    warning: str = ""


@functools.cache
def find() -> list[Gpu]:
    """The NVIDIA cards, asked for once; none where `nvidia-smi` is absent or fails."""
    answer = process.run(*_QUERY, seconds=_SECONDS)
    if answer.returncode != 0:
        return []
    rows = [[field.strip() for field in line.rsplit(",", 2)] for line in answer.stdout.splitlines()]
    # Chips that share the machine's memory report "[N/A]" for it.
    return [Gpu(row[0], int(row[1]) / 1024, row[2]) for row in rows if len(row) == 3 and row[1].isdecimal()]


def runtime_available(info: Mapping[str, Any]) -> bool:
    """Whether Docker can hand an NVIDIA GPU to a container, by its runtime or by CDI.

    Args:
        info: what `docker info --format '{{json .}}'` says.

    """
    devices = info.get("DiscoveredDevices") or []
    return "nvidia" in (info.get("Runtimes") or {}) or any(
        str(device.get("ID", "")).startswith("nvidia.com/gpu") for device in devices
    )


def obstacle(gpus: Sequence[Gpu], runtime_available: bool) -> DeployError | None:
    """What makes it impossible to use a GPU, with its remedy; None if nothing does."""
    if not gpus:
        return DeployError(
            "no NVIDIA GPU was found", "check that `nvidia-smi` lists the card, or set LABELPOD_DEVICE=cpu in .env"
        )
    driver = _largest(gpus).driver
    if _major(driver) < MIN_DRIVER:
        return DeployError(
            f"the NVIDIA driver {driver} is older than {MIN_DRIVER}, which CUDA 12.8 needs",
            f"install NVIDIA driver {MIN_DRIVER} or newer and restart the machine",
        )
    if not runtime_available:
        return DeployError(
            "Docker cannot use the GPU: the NVIDIA container toolkit is missing",
            "install nvidia-container-toolkit, then `sudo nvidia-ctk runtime configure` and restart Docker",
        )
    return None


def choose(device: Literal["auto", "cpu", "gpu"], gpus: Sequence[Gpu], runtime_available: bool) -> Choice:
    """Decide between GPU and CPU; pure.

    Args:
        device: the setting DEVICE.
        gpus: the cards of `find`.
        runtime_available: the answer of `runtime_available`.

    Raises:
        DeployError: `gpu` is asked for and there is none that can be used.

    """
    if device == "cpu":
        return Choice(False, "the CPU is used, as LABELPOD_DEVICE=cpu says")
    problem = obstacle(gpus, runtime_available)
    if problem and device == "gpu":
        raise problem
    if problem:
        return Choice(False, f"the CPU is used: {problem.message}")
    card = _largest(gpus)
    if card.memory_gib >= MIN_VRAM_GIB:
        return Choice(True, f"{card} is used")
    if device == "auto":
        return Choice(False, f"the CPU is used: {card} has less than 12 GB")
    return Choice(
        True,
        f"{card} is used, as LABELPOD_DEVICE=gpu says",
        f"{card} has less than 12 GB: training and 3D models may run out of memory",
    )


def _largest(gpus: Sequence[Gpu]) -> Gpu:
    return max(gpus, key=lambda card: card.memory_gib)


def _major(version: str) -> int:
    number = version.partition(".")[0]
    return int(number) if number.isdecimal() else 0

"""The card: what it is, how much of it is taken, and how to take less; without one, nothing of it."""

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

_MB, _GB = 2**20, 2**30
# What CUDA takes for itself, beside what torch asks it for.
_CUDA_GB = 1.0


@dataclass
class Peak:
    """The most memory of the card that was taken, in MB: by the whole process, and by its tensors alone."""

    process: float = 0
    tensors: float = 0


def present() -> bool:
    """Whether there is one."""
    return bool(torch.cuda.is_available())


def versions() -> dict[str, str]:
    """The card, its driver, and what uses it."""
    card = torch.cuda.get_device_name() if present() else "no GPU"
    driver = ""
    if present():
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "card": card,
        "memory": f"{torch.cuda.mem_get_info()[1] / _GB:.1f} GiB" if present() else "",
        "driver": driver or "unknown",
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
        "cudnn": str(torch.backends.cudnn.version() or ""),
        "python": platform.python_version(),
        "cores": str(os.cpu_count()),
    }


def hold_to(gigabytes: float | None) -> None:
    """Let this process take no more than it could of a card of that memory; None: of this one."""
    if present():
        total = torch.cuda.mem_get_info()[1]
        share = (gigabytes - _CUDA_GB) * _GB / total if gigabytes else 1.0
        torch.cuda.set_per_process_memory_fraction(min(1.0, share))


def hold_to_more(megabytes: float) -> None:
    """Let this process take only so much more than its tensors take now."""
    if present():
        torch.cuda.empty_cache()
        share = (torch.cuda.memory_reserved() + megabytes * _MB) / torch.cuda.mem_get_info()[1]
        torch.cuda.set_per_process_memory_fraction(share)


def tensors() -> float:
    """MB that tensors take now."""
    return torch.cuda.memory_allocated() / _MB if present() else 0.0


@contextmanager
def peak() -> Iterator[Peak]:
    """The most that is taken inside; filled in at the end."""
    found = Peak()
    if present():
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    yield found
    if present():
        torch.cuda.synchronize()
        free, total = torch.cuda.mem_get_info()
        cuda = total - free - torch.cuda.memory_reserved()
        found.process = (torch.cuda.max_memory_reserved() + cuda) / _MB
        found.tensors = torch.cuda.max_memory_allocated() / _MB


def libraries() -> list[str]:
    """CUDA's libraries in this process, by file name, and triton where Python has it."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    files = {Path(line.split(maxsplit=5)[5]) for line in maps if len(line.split(maxsplit=5)) == 6}
    names = {file.name for file in files if "nvidia" in str(file) or file.name.startswith(("libcu", "libnv"))}
    triton = {Path(file).name for file in map(str, files) if "triton" in file}
    return sorted(name for name in names | triton if ".so" in name)

"""Which GPUs a pod may be rented on, cheapest first; pure."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

# What the 2D and 3D models take with room for a training.
MIN_VRAM = 12
# torch's CUDA: hosts with an older driver cannot start the image.
MIN_CUDA = "12.8"
# Cards that torch's wheels for CUDA 12.8 no longer know (compute capability under 7.5).
_TOO_OLD = ("V100", "P100", "P40", "GTX")
_STOCK = {"HIGH": 0, "MEDIUM": 1, "LOW": 2}


@dataclass(frozen=True)
class Wish:
    """What is asked of a GPU.

    Args:
        max_price: US dollars an hour; None: any.
        min_vram: GB, never under MIN_VRAM.
        pattern: part of the GPU's name, in any case.
        community: whether the community cloud will do; the secure cloud otherwise.
        data_centers: one of these; empty: any.

    """

    max_price: float | None = None
    min_vram: int = MIN_VRAM
    pattern: str = ""
    community: bool = False
    data_centers: tuple[str, ...] = ()

    @property
    def cloud(self) -> str:
        """The cloud, as the API calls it."""
        return "COMMUNITY" if self.community else "SECURE"

    def text(self) -> str:
        """The wish as a pod keeps it in its environment: JSON in one line."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> "Wish | None":
        """The wish that a pod keeps; None if it keeps none that can be read."""
        try:
            kept = json.loads(text)
            price = None if kept["max_price"] is None else float(kept["max_price"])
            if price is not None and not math.isfinite(price):  # None would be any price
                return None
            return cls(
                price,
                int(kept["min_vram"]),
                str(kept["pattern"]),
                bool(kept["community"]),
                tuple(map(str, kept["data_centers"])),
            )
        except (ValueError, KeyError, TypeError, OverflowError):
            return None


@dataclass(frozen=True)
class Candidate:
    """A GPU that fits, at US dollars an hour, with the data centers that say they have it (empty: unknown)."""

    gpu: str
    memory: int
    price: float
    stock: str
    data_centers: tuple[str, ...]


def query(wish: Wish) -> dict[str, str]:
    """What to ask the catalogue for."""
    return {
        "include": "AVAILABILITY",
        "product": "POD",
        "count": "1",
        "cloud": wish.cloud,
        "minCudaVersion": MIN_CUDA,
    }


def candidates(gpus: Iterable[dict[str, Any]], wish: Wish) -> list[Candidate]:
    """The GPUs that fit, cheapest first, and of equal price first what there is more of.

    An entry that cannot be read is passed over.
    """
    found = [candidate for gpu in gpus if (candidate := _readable(gpu, wish))]
    return sorted(found, key=lambda each: (each.price, _STOCK.get(each.stock, 3), each.gpu))


def _readable(gpu: dict[str, Any], wish: Wish) -> Candidate | None:
    try:
        return _candidate(gpu, wish)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return None


def _candidate(gpu: dict[str, Any], wish: Wish) -> Candidate | None:
    cloud = wish.cloud.lower()
    name = str(gpu.get("id", ""))
    price = float((gpu.get("price") or {}).get(cloud) or 0)
    memory = int(gpu.get("memory") or 0)
    stock = str(gpu.get("availability") or "")
    centers = tuple(
        str(center["id"]).upper() for center in gpu.get("dataCenters") or [] if center.get("availability") != "NONE"
    )
    if wish.data_centers:
        centers = tuple(center for center in centers if center in wish.data_centers)
    fits = (
        str(gpu.get("manufacturer", "")).upper() == "NVIDIA"
        and name not in ("", "unknown")
        and not any(word in name for word in _TOO_OLD)
        and memory >= max(MIN_VRAM, wish.min_vram)
        and bool(gpu.get(cloud))
        and 0 < price < math.inf  # 0: not offered there
        and (wish.max_price is None or price <= wish.max_price)
        and stock != "NONE"
        and wish.pattern.lower() in f"{name} {gpu.get('name', '')}".lower()
        and (bool(centers) or not wish.data_centers)
    )
    return Candidate(name, memory, price, stock, centers) if fits else None

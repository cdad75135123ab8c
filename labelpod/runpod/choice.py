"""Which GPUs a wish leaves, where, and what is said of them before anything is rented."""

import math
from dataclasses import replace
from typing import Any

from labelpod.errors import DeployError
from labelpod.runpod import catalog
from labelpod.runpod.catalog import Candidate, Wish
from labelpod.runpod.client import Client

_NO_VOLUMES = "the community cloud has no network volumes"


class NoCapacityError(DeployError):
    """Nothing of what was asked for can be rented now."""


def there(wish: Wish, volume: dict[str, Any]) -> Wish:
    """The wish with a volume: that is in one data center, and so is a pod with it; only the secure cloud has them.

    Raises:
        DeployError: the wish was for elsewhere.

    """
    if wish.community:
        raise DeployError(_NO_VOLUMES, "leave out --community or --volume")
    center = str(volume["dataCenter"]).upper()
    if wish.data_centers and center not in wish.data_centers:
        raise DeployError(
            f"the volume {volume['name']} is in {center}, not in {', '.join(wish.data_centers)}",
            f"--data-center {center}, or another volume",
        )
    return replace(wish, data_centers=(center,))


def pinned(wish: Wish, found: list[Candidate]) -> tuple[Wish, list[Candidate]]:
    """Where a new volume goes: a data center that has the cheapest GPU.

    Raises:
        DeployError: none is known, or the wish is for the community cloud.

    """
    if wish.community:
        raise DeployError(_NO_VOLUMES, "leave out --community or --create-volume")
    center = next((each for candidate in found for each in candidate.data_centers), None)
    if center is None:
        raise DeployError(
            "no data center is named for the new volume, and no GPU in stock suggests one", "name a --data-center"
        )
    wish = replace(wish, data_centers=(center,))
    return wish, [replace(each, data_centers=(center,)) for each in found if center in each.data_centers]


def candidates(client: Client, wish: Wish) -> list[Candidate]:
    """The GPUs that fit, cheapest first.

    Raises:
        NoCapacityError: there is none; it says what there is for more.

    """
    gpus = client.list_gpu_types(**catalog.query(wish))
    found = catalog.candidates(gpus, wish)
    if found:
        return found
    dearer = catalog.candidates(gpus, replace(wish, max_price=None))
    if dearer:
        raise NoCapacityError(
            f"nothing in stock for ${wish.max_price:.2f} an hour; the cheapest is {dearer[0].gpu}"
            f" at ${dearer[0].price:.2f}",
            f"--max-price {enough(dearer[0].price)}",
        )
    raise NoCapacityError(
        f"no NVIDIA GPU of {max(wish.min_vram, catalog.MIN_VRAM)} GB or more is in stock that fits",
        "try again later, or without --gpu or --data-center, or with --community",
    )


def price(found: list[Candidate]) -> str:
    """What is asked before it is rented."""
    first, last = found[0], max(found, key=lambda each: each.price)
    upto = "" if len(found) == 1 else f", up to ${last.price:.2f} if that is gone"
    return f"{first.gpu} ({first.memory} GB) at ${first.price:.2f} an hour{upto}"


def enough(price: float) -> str:
    """What to give as --max-price for something of this price: whole cents, never less."""
    return f"{math.ceil(round(price * 100, 4)) / 100:.2f}"


def agreed(wish: Wish, found: list[Candidate]) -> Wish:
    """The wish with the most that an hour may cost: as asked for, else as was shown."""
    return wish if wish.max_price is not None else replace(wish, max_price=max(each.price for each in found))

"""Network volumes: what outlives a pod, in one data center."""

from typing import Any

from labelpod.errors import DeployError
from labelpod.runpod.client import Client

# US dollars for a GB and month, up to a TB and beyond it (RunPod's list of August 2026).
_PRICE, _PRICE_BEYOND, _BEYOND_GB = 0.07, 0.05, 1000


def find(client: Client, name: str) -> dict[str, Any] | None:
    """The account's volume of this name.

    Raises:
        DeployError: there are two.

    """
    found = [volume for volume in client.list_network_volumes() if name in (volume["name"], volume["id"])]
    if len(found) > 1:
        ids = ", ".join(f"{volume['id']} ({volume['dataCenter']})" for volume in found)
        raise DeployError(f"there are {len(found)} volumes {name}: {ids}", "give --volume the id instead of the name")
    return found[0] if found else None


def monthly(gigabytes: int) -> float:
    """US dollars a month."""
    beyond = max(0, gigabytes - _BEYOND_GB)
    return (gigabytes - beyond) * _PRICE + beyond * _PRICE_BEYOND

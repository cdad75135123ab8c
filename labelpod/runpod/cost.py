"""What RunPod has billed for this stack, by day, and what it costs now."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from labelpod.config.settings import Settings
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod.runpod import ledger, pods, volumes
from labelpod.runpod.client import Client
from labelpod.runpod.volumes import Volume

_DAYS = "30"


@dataclass(frozen=True)
class Bill:
    """US dollars: by day (ISO date -> pods, volumes), altogether, and for an hour from now on; volumes nothing uses."""

    days: dict[str, dict[str, float]]
    total: float
    hourly: float
    unused: list[Volume]


def bill(client: Client, values: Settings, project: Project) -> Bill:
    """The last 30 days of the pods and volumes that this stack has or had.

    Raises:
        DeployError: what was billed cannot be read.

    """
    live = pods.of_stack(client, values, project)
    known = ledger.read(project.pods_record)
    mine = [volume for volume in volumes.all_of(client, values, project, live) if volume.ours]
    billed = {volume.id for volume in mine} | set(ledger.volumes(project.pods_record))
    billed |= {pod["volume"] for pod in known.values() if pod.get("volume")}
    days: dict[str, dict[str, float]] = defaultdict(lambda: {"pods": 0.0, "volumes": 0.0})
    for pod_id in sorted({pod["id"] for pod in live} | set(known)):
        _add(days, "pods", client.list_pod_billing(podId=pod_id, bucketSize="day", lastN=_DAYS), "podId", pod_id)
    for volume in sorted(billed):
        answer = client.list_network_volume_billing(networkVolumeId=volume, bucketSize="day", lastN=_DAYS)
        _add(days, "volumes", answer, "networkVolumeId", volume)
    # A stopped pod still shows what it cost while it ran.
    hourly = sum(pods.cost(pod) for pod in live if pods.billed(pod))
    unused = [volume for volume in mine if not volume.used_by]
    return Bill(dict(sorted(days.items())), sum(sum(day.values()) for day in days.values()), hourly, unused)


def _add(days: dict[str, dict[str, float]], kind: str, answer: dict[str, Any], key: str, wanted: str) -> None:
    try:
        for entry in answer.get("records") or []:
            day, amount = str(entry["startTime"])[:10], float(entry["totalAmount"])
            # A filter that the API does not know is ignored.
            if entry.get(key, wanted) == wanted:
                days[day][kind] += amount
    except (TypeError, ValueError, LookupError, AttributeError):
        raise DeployError(
            "RunPod's bill cannot be read", "RunPod's console, Billing, shows it; `runpod status` what is paid now"
        ) from None


def table(found: Bill) -> str:
    """One line for each day, for people."""
    lines = [f"{'day':<12}{'pods':>9}{'volumes':>9}"]
    lines += [
        f"{day:<12}{_usd(amounts['pods']):>9}{_usd(amounts['volumes']):>9}" for day, amounts in found.days.items()
    ]
    lines.append(f"together {_usd(found.total)}, and {_usd(found.hourly)} an hour from now on")
    lines += [f"volume {volume.unused}" for volume in found.unused]
    return "\n".join(lines)


def _usd(amount: float) -> str:
    return f"${amount:.2f}"

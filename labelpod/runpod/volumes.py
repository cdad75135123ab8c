"""Network volumes: what outlives a pod, in one data center, and is billed until it is deleted."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelpod.config.settings import Settings
from labelpod.console import say
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod.runpod import ledger, pods, polling
from labelpod.runpod.client import Client, LostAnswerError, RunPodError, UnansweredError, may_pass

Json = dict[str, Any]

# GB that RunPod lets a volume have.
SMALLEST, LARGEST = 10, 4096
# US dollars for a GB and month, up to a TB and beyond it (RunPod's list of August 2026).
_PRICE, _PRICE_BEYOND, _BEYOND_GB = 0.07, 0.05, 1000
_ORDERS = "volume_orders"
_DELETE_SECONDS = 60.0


@dataclass(frozen=True)
class Volume:
    """A volume of the account.

    Args:
        id: RunPod's.
        name: not unique.
        size: GB.
        data_center: where it is.
        usd_per_month: what it costs.
        used_by: ids of the pods that have it, stopped ones too.
        ours: whether it is this stack's.

    """

    id: str
    name: str
    size: int
    data_center: str
    usd_per_month: float
    used_by: list[str]
    ours: bool

    @property
    def words(self) -> str:
        """Name, id, size and place."""
        return f"{self.name} ({self.id}, {self.size} GB in {self.data_center})"

    @property
    def unused(self) -> str:
        """What it costs, and how to be rid of it."""
        price = f"${self.usd_per_month:.2f} a month"
        return f"{self.words}: no pod uses it, {price}; `python3 deploy.py runpod volumes delete {self.id}`"


def find(client: Client, name: str, record: Path) -> Json | None:
    """The account's volume of this name or id; one that was ordered a moment ago is waited for.

    Raises:
        DeployError: there are two.

    """
    found = _named(client, name)
    for _ in polling.rounds(polling.LAG_SECONDS):
        if found or not ledger.awaits_volume(name, record):
            break
        found = _named(client, name)
    if len(found) > 1:
        ids = ", ".join(f"{volume['id']} ({volume['dataCenter']})" for volume in found)
        raise DeployError(f"there are {len(found)} volumes {name}: {ids}", "give the id instead of the name")
    return found[0] if found else None


def make(client: Client, name: str, gigabytes: int, center: str, record: Path) -> tuple[Json, bool]:
    """Make a volume; if somebody else makes one of this name at the same time, all keep the same one.

    Returns:
        The volume, and whether it was made here.

    Raises:
        DeployError: it cannot be made, or RunPod does not say whether it was.

    """
    if before := _named(client, name):
        return before[0], False
    ledger.order(name, record, _ORDERS)
    try:
        made = client.create_network_volume({"name": name, "size": gigabytes, "dataCenter": center})
    except LostAnswerError as lost:
        appeared = _appeared(client, name)
        if not appeared:
            raise DeployError(
                f"RunPod did not say whether it made the volume {name}",
                f"`python3 deploy.py runpod volumes` shows it, if so; it costs ${monthly(gigabytes):.2f} a month",
            ) from lost
        made = appeared
    except RunPodError:
        ledger.forget(name, record, _ORDERS)
        raise
    ledger.add_volume(made, record)
    # Before anything else can go wrong: it is billed from now on.
    price = f"${monthly(gigabytes):.2f} a month until `python3 deploy.py runpod volumes delete {made['id']}`"
    say(f"Network volume {name} ({made['id']}) made in {center}; it costs {price}")
    return _kept(client, made, record)


def drop_double(client: Client, made: Json, record: Path) -> bool:
    """Delete a volume that was just made here, if nothing uses it and another of its name is there.

    Returns:
        Whether it is gone.

    """
    if len(_named(client, made["name"])) < 2 or _users(made["id"], client.list_pods()):
        return False
    delete(client, made["id"], record)
    say(f"Network volume {made['name']} was made twice at the same time; the empty one ({made['id']}) was deleted")
    return True


def all_of(client: Client, values: Settings, project: Project, mine: list[pods.Pod]) -> list[Volume]:
    """The account's volumes, with who uses them.

    Ours are those that our pods have, that were made from here, or that have the stack's name.

    Args:
        client: the API.
        values: the settings.
        project: the folder with the record.
        mine: the pods of this stack.

    """
    record = project.pods_record
    ours = {*ledger.volumes(record), *(pods.volume_of(pod) for pod in mine)}
    ours |= {entry.get("volume") for entry in ledger.read(record).values()}
    everybody, ordered = client.list_pods(), ledger.volume_orders(record)
    found = []
    for each in client.list_network_volumes():
        if each["name"] in ordered:  # by a launch that did not come to its end
            ledger.add_volume(each, record)
            ours.add(each["id"])
        users = sorted({*_users(each["id"], everybody), *_users(each["id"], mine)})
        own = each["id"] in ours or each["name"] == values.RUNPOD_STACK
        center = str(each["dataCenter"])
        size = each["size"] or 0  # it may say nothing that is a number
        found.append(Volume(each["id"], each["name"], size, center, monthly(size), users, own))
    return found


def see_that_it_is_unused(volume: Volume) -> None:
    """See that no pod has a volume, running or stopped.

    Raises:
        DeployError: one has.

    """
    if volume.used_by:
        pod = volume.used_by[0]
        raise DeployError(
            f"pod {pod} uses the volume {volume.words}", f"first `python3 deploy.py runpod terminate {pod}`"
        )


def delete(client: Client, volume_id: str, record: Path) -> None:
    """Delete a volume and all that is on it.

    Raises:
        DeployError: RunPod refuses, or it is still listed after a minute.

    """
    trouble = ""
    for _ in polling.rounds(_DELETE_SECONDS):
        try:
            client.delete_network_volume(volume_id)
        except RunPodError as error:
            if error.status != 404 and not may_pass(error):
                raise
            trouble = "" if error.status == 404 else error.message
        except UnansweredError as error:
            trouble = error.message
        if not _named(client, volume_id):
            ledger.end_volume(volume_id, record)
            return
    raise DeployError(
        f"the volume {volume_id} is still there and is billed{f' ({trouble})' if trouble else ''}",
        "`python3 deploy.py runpod volumes delete` again, or delete it in RunPod's console",
    )


def monthly(gigabytes: int) -> float:
    """US dollars a month."""
    beyond = max(0, gigabytes - _BEYOND_GB)
    return (gigabytes - beyond) * _PRICE + beyond * _PRICE_BEYOND


def _named(client: Client, name: str) -> list[Json]:
    return [volume for volume in client.list_network_volumes() if name in (volume["name"], volume["id"])]


def _appeared(client: Client, name: str) -> Json | None:
    with suppress(DeployError):
        if found := polling.until(lambda: _named(client, name), polling.LAG_SECONDS):
            return found[0]
    return None


def _kept(client: Client, made: Json, record: Path) -> tuple[Json, bool]:
    """Wait until a new volume is listed; of two of its name that are seen then, all keep the first by its id."""
    named: dict[str, Json] = {}

    def listed() -> bool:
        found = _named(client, made["name"])
        named.update((volume["id"], volume) for volume in found)
        return made["id"] in named

    polling.until(listed, polling.LAG_SECONDS)
    first = min({**named, made["id"]: made})
    if first != made["id"] and drop_double(client, made, record):
        return named[first], False
    return made, True


def _users(volume_id: str, everybody: Iterable[pods.Pod]) -> list[str]:
    return [pod["id"] for pod in everybody if pods.volume_of(pod) == volume_id and pod["status"] != "TERMINATED"]

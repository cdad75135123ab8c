"""The pods of this stack: which there are, since when, and at what price. The API is the truth; whose.py tells ours."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from labelpod.config import pod_url
from labelpod.config.settings import Settings
from labelpod.console import say
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod.runpod import ledger, polling
from labelpod.runpod.catalog import Wish
from labelpod.runpod.client import Client, RunPodError, UnansweredError, may_pass
from labelpod.runpod.whose import Ours

Pod = dict[str, Any]

# A pod's environment: the pod whose place it takes.
INSTEAD_OF = "LABELPOD_INSTEAD_OF"
# A pod that is not billed by the hour; in any other state it may be.
_AT_REST = {"EXITED", "TERMINATED"}
STARTABLE = {"EXITED", "ERROR"}
_GONE = "TERMINATED"
_NEW_SECONDS = 1800
# What no pod of ours was made before; a date beyond these is none.
_FIRST, _AHEAD = datetime(2020, 1, 1, tzinfo=UTC), timedelta(days=1)


class NotRunningError(DeployError):
    """There is no pod that could be worked with now."""


def of_stack(client: Client, values: Settings, project: Project) -> list[Pod]:
    """The pods of this stack: oldest first, but those that are stopped after the others.

    What was ordered a moment ago is waited for: RunPod's list may be older.
    """
    ours, record = Ours(client, values, project), project.pods_record
    for passed in polling.rounds(polling.LAG_SECONDS):
        found = listed(client, project, ours)
        found += _recorded(client, project, {pod["id"] for pod in found})
        names = {pod["name"] for pod in found}
        for pod in found:
            if pod["name"] in ledger.orders(record):
                ledger.add(pod, record)
        if not ledger.awaited(record) - names:
            break
        if not passed:
            say("RunPod does not list yet what was ordered a moment ago; looking again")
    return sorted(found, key=_order)


def listed(client: Client, project: Project, ours: Ours) -> list[Pod]:
    """Those of them that RunPod lists; such as have ended may be listed for a while."""
    ended = {pod_id for pod_id, entry in ledger.read(project.pods_record).items() if entry.get("ended")}
    found = []
    for pod in client.list_pods():
        if pod["id"] in ended or not pod.get("env"):
            # A list may be old, or leave the environment out; what it has may not be known by its id yet.
            with suppress(UnansweredError, RunPodError):
                now = look(client, pod)
                late = now["status"] == _GONE and is_new(pod) and pod["id"] not in ended
                pod = pod if late else now
        if pod["status"] != _GONE and ours.has(pod):
            found.append(pod)
    return found


def _recorded(client: Client, project: Project, known: set[str]) -> list[Pod]:
    """Those that this machine has rented and that are not listed; UNKNOWN if RunPod does not say."""
    found = []
    for pod_id, entry in ledger.read(project.pods_record).items():
        if pod_id in known or entry.get("ended"):
            continue
        try:
            pod = look(client, _remembered(pod_id, entry))
        except (RunPodError, UnansweredError) as error:
            if not may_pass(error):  # another account's, for instance
                continue
            pod = _remembered(pod_id, entry)
        if pod["status"] != _GONE:
            found.append(pod)
        elif not ledger.recent(entry):
            ledger.end(pod_id, project.pods_record)
    return found


def _remembered(pod_id: str, entry: dict[str, Any]) -> Pod:
    volume = entry.get("volume")
    mounts = {"network": [{"volumeId": volume, "path": "/workspace"}]} if volume else {}
    there = {"id": pod_id, "name": entry["name"], "status": "UNKNOWN", "actions": [], "env": {}, "mounts": mounts}
    return there | {"gpu": {"id": entry.get("gpu")}, "cost": entry.get("cost"), "createdAt": entry.get("created")}


def look(client: Client, pod: Pod) -> Pod:
    """The pod as it is now; TERMINATED if RunPod does not know it."""
    try:
        return client.get_pod(pod["id"])
    except RunPodError as error:
        if error.status != 404:
            raise
        return pod | {"status": _GONE, "actions": []}


def seen(client: Client, pod: Pod) -> Pod:
    """The pod as it is now; as it was, if RunPod does not say for half a minute."""
    return polling.until(lambda: look(client, pod), polling.LAG_SECONDS) or pod


def current(found: list[Pod]) -> list[Pod]:
    """Without those that are stopped and whose place another has taken already."""
    replaced = {instead_of(pod) for pod in found if pod["status"] != "ERROR"}
    return [pod for pod in found if pod["status"] not in STARTABLE or pod["id"] not in replaced]


def the_pod(client: Client, values: Settings, project: Project, pod_id: str | None = None) -> Pod:
    """The stack's pod, or the one of these that is meant.

    Raises:
        DeployError: there is none, there are several, or the one that is meant is not of this stack.

    """
    found = of_stack(client, values, project)
    found = found if pod_id else current(found)
    if pod_id:
        found = [pod for pod in found if pod["id"] == pod_id]
        if not found:
            raise DeployError(
                f"pod {pod_id} is not of this stack", "`python3 deploy.py runpod status` shows those that are"
            )
    if not found:
        raise NotRunningError(f"{values.RUNPOD_STACK} has no pod", "python3 deploy.py runpod launch")
    if len(found) > 1:
        shown = ", ".join(f"{pod['id']} ({pod['status']})" for pod in found)
        raise DeployError(
            f"{values.RUNPOD_STACK} has {len(found)} pods: {shown}",
            "`python3 deploy.py runpod stop POD` stops one of them, `runpod terminate POD` ends it",
        )
    return found[0]


def running(client: Client, values: Settings, project: Project) -> Pod:
    """The stack's pod, which runs.

    Raises:
        NotRunningError: it does not.

    """
    pod = the_pod(client, values, project)
    if pod["status"] == "EXITED":
        raise NotRunningError(f"pod {pod['id']} is stopped", "python3 deploy.py runpod resume")
    return pod


def volume_of(pod: Pod) -> str | None:
    """The id of the network volume that keeps what is on the pod; None if nothing does."""
    network = (pod.get("mounts") or {}).get("network") or []
    return network[0]["volumeId"] if network else None


def keeps_its_data(pod: Pod) -> bool:
    """Whether models and labels outlive the pod."""
    return volume_of(pod) is not None


def billed(pod: Pod) -> bool:
    """Whether a pod is, or may be, billed by the hour."""
    return pod["status"] not in _AT_REST


def cost(pod: Pod) -> float:
    """US dollars an hour while it is billed; what a stopped pod shows is what it was. 0 if RunPod does not say."""
    try:
        shown = float(pod.get("cost") or 0)
    except (TypeError, ValueError):
        return 0.0
    return shown if shown > 0 else 0.0  # NaN is no price


def wish(pod: Pod) -> Wish | None:
    """What it was rented for; None if it does not say, as one that was started in RunPod's console."""
    return Wish.parse((pod.get("env") or {}).get(ledger.WISH) or "")


def instead_of(pod: Pod) -> str | None:
    """The id of the pod whose place it takes, if any."""
    found: str | None = (pod.get("env") or {}).get(INSTEAD_OF)
    return found


def since(pod: Pod) -> datetime | None:
    """When it was started, else made; None if no date of it can be read."""
    return _date(pod.get("startedAt")) or _made(pod)


def is_new(pod: Pod) -> bool:
    """Whether it was made half an hour ago at most: by a launch that may not have come to its end."""
    made = _made(pod)
    return made is not None and (datetime.now(UTC) - made).total_seconds() < _NEW_SECONDS


def hours(pod: Pod) -> float | None:
    """How many hours it has been billed since its start; 0 if it is stopped, None if it does not say."""
    if not billed(pod):
        return 0.0
    start = since(pod)
    return max(0.0, (datetime.now(UTC) - start).total_seconds() / 3600) if start else None


def url(pod: Pod, values: Settings) -> str:
    """The label server behind RunPod's TLS proxy, without a token."""
    return pod_url.of(values.RUNPOD_PROXY_URL, pod["id"])


def _order(pod: Pod) -> tuple[bool, datetime, str]:
    return pod["status"] == "EXITED", *age_key(pod)


def age_key(pod: Pod) -> tuple[datetime, str]:
    """Oldest first, the same on every machine that looks."""
    return _made(pod) or datetime.max.replace(tzinfo=UTC), pod["id"]


def _made(pod: Pod) -> datetime | None:
    """When it was made, as RunPod says, else as its name does."""
    named = re.search(r"-(\d{9,11})-[0-9a-f]+$", pod.get("name") or "")
    return _date(pod.get("createdAt")) or _date(datetime.fromtimestamp(int(named[1]), UTC) if named else None)


def _date(told: object) -> datetime | None:
    """A date that can be one."""
    try:
        found = datetime.fromisoformat(str(told))
    except ValueError:
        return None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return found if _FIRST <= found <= datetime.now(UTC) + _AHEAD else None

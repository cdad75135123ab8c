"""The pods of this stack. The API is the truth: whose a pod is stands in its name and its environment.

A pod carries the stack's name and a sign of its owner, so that two laptops with one `.env` find the same pod, and a pod
of somebody else's stack of the same name is never touched.
"""

import hashlib
import secrets
import time
from datetime import UTC, datetime
from typing import Any

from labelpod.config.settings import Settings
from labelpod.errors import DeployError
from labelpod.runpod import template
from labelpod.runpod.catalog import MIN_CUDA, Candidate, Wish
from labelpod.runpod.client import Client, LostAnswerError, RunPodError

Pod = dict[str, Any]

STACK, OWNER = "LABELPOD_STACK", "LABELPOD_OWNER"
# A pod that RunPod still counts, and that may cost something.
_GONE = "TERMINATED"
# How long a pod whose creation was not answered may take to be listed.
_LISTED_SECONDS = 30
_POLL_SECONDS = 5


class NotRunningError(DeployError):
    """There is no pod that could be worked with now."""


class NoCapacityError(DeployError):
    """Nothing of what was asked for can be rented now."""


def of_stack(client: Client, values: Settings) -> list[Pod]:
    """The pods of this stack, oldest first.

    Raises:
        DeployError: a pod of this name is of another stack, or of this one before its token was changed.

    """
    named = [pod for pod in client.list_pods() if _env(pod).get(STACK) == values.RUNPOD_STACK]
    named = [pod for pod in named if pod["status"] != _GONE]
    if foreign := [pod["id"] for pod in named if _env(pod).get(OWNER) != owner(values)]:
        raise DeployError(
            f"pod {foreign[0]} is of another stack {values.RUNPOD_STACK}, or of this one with another token",
            f"another LABELPOD_RUNPOD_STACK in .env, or `python3 deploy.py runpod terminate {foreign[0]}`",
        )
    return sorted(named, key=lambda pod: (pod["createdAt"], pod["id"]))


def the_pod(client: Client, values: Settings) -> Pod:
    """The stack's pod.

    Raises:
        DeployError: there is none, or there are several.

    """
    found = of_stack(client, values)
    if not found:
        raise NotRunningError(f"{values.RUNPOD_STACK} has no pod", "python3 deploy.py runpod launch")
    if len(found) > 1:
        raise DeployError(
            f"{values.RUNPOD_STACK} has {len(found)} pods: {', '.join(pod['id'] for pod in found)}",
            "`python3 deploy.py runpod terminate POD` ends one of them",
        )
    return found[0]


def running(client: Client, values: Settings) -> Pod:
    """The stack's pod, which runs.

    Raises:
        NotRunningError: it does not.

    """
    pod = the_pod(client, values)
    if pod["status"] == "EXITED":
        raise NotRunningError(f"pod {pod['id']} is stopped", "python3 deploy.py runpod resume")
    return pod


def rent(
    client: Client,
    values: Settings,
    found: list[Candidate],
    wish: Wish,
    access: dict[str, str],
    volume: dict[str, Any] | None,
    another: bool = False,
) -> Pod:
    """Rent the first of the candidates that can be had.

    Args:
        client: the API.
        values: the settings.
        found: cheapest first.
        wish: what was asked for.
        access: what the pod's environment says of who may log in.
        volume: network volume for /workspace, if any.
        another: whether there may be other pods of this stack beside it.

    Raises:
        NoCapacityError: all candidates were refused.
        DeployError: no template, no balance, or no answer.

    """
    base = template.find(client, values.RUNPOD_STACK)
    if base is None:
        raise DeployError(f"there is no template {values.RUNPOD_STACK}", "python3 deploy.py runpod publish")
    # One name for all attempts: whichever was carried out is found by it.
    name = f"{values.RUNPOD_STACK}-{int(time.time())}-{secrets.token_hex(3)}"
    refusal: RunPodError | None = None
    for candidate in found:
        try:
            pod = _create(client, _body(values, candidate, wish, name, base["id"], access, volume))
        except RunPodError as error:
            if error.status not in (400, 403):
                raise
            refusal = error
            continue
        return pod if another else _only_one(client, values, pod)
    raise NoCapacityError(
        f"none of {len(found)} GPUs can be rented now: {refusal.detail if refusal else 'none fits'}",
        "try again later, or with a higher --max-price, --community, or without --data-center",
    )


def owner(values: Settings) -> str:
    """The sign of who has this token: it says nothing of the token, and is no login."""
    token = values.LABEL_SERVER_TOKEN.get_secret_value()
    return hashlib.sha256(f"labelpod owner {token}".encode()).hexdigest()[:32]


def act(client: Client, pod: Pod, action: str) -> Pod:
    """Start or stop a pod; one that is so already stays so.

    Raises:
        DeployError: its state does not allow it.

    """
    done = {"stop": "EXITED", "start": "RUNNING"}[action]
    if pod["status"] == done:
        return pod
    if pod.get("locked"):
        raise DeployError(f"pod {pod['id']} is locked", "unlock it in RunPod's console")
    if action not in pod.get("actions", []):
        raise DeployError(f"pod {pod['id']} is {pod['status']} and cannot {action} now", "wait a minute and try again")
    try:
        client.pod_action(pod["id"], action)
    except (LostAnswerError, RunPodError) as error:
        if isinstance(error, RunPodError) and error.status != 409:
            raise
    return client.get_pod(pod["id"])


def keeps_its_data(pod: Pod) -> bool:
    """Whether models and labels outlive the pod."""
    return bool((pod.get("mounts") or {}).get("network"))


def terminate(client: Client, pod_id: str) -> None:
    """End a pod for good; one that is gone already is."""
    try:
        client.delete_pod(pod_id)
    except RunPodError as error:
        if error.status != 404:
            raise


def hours(pod: Pod, now: datetime | None = None) -> float:
    """How many hours it has been running; 0 if it is not."""
    if pod["status"] != "RUNNING" or not pod.get("startedAt"):
        return 0.0
    return ((now or datetime.now(UTC)) - datetime.fromisoformat(pod["startedAt"])).total_seconds() / 3600


def url(pod: Pod, values: Settings) -> str:
    """The label server behind RunPod's TLS proxy, without a token."""
    return values.RUNPOD_PROXY_URL.format(pod=pod["id"])


def _body(
    values: Settings,
    candidate: Candidate,
    wish: Wish,
    name: str,
    template_id: str,
    access: dict[str, str],
    volume: dict[str, Any] | None,
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": name,
        "templateId": template_id,
        "cloud": wish.cloud,
        # Without a count RunPod finds no machine.
        "gpu": {"id": candidate.gpu, "count": 1, "minCudaVersion": MIN_CUDA},
        "env": {
            STACK: values.RUNPOD_STACK,
            OWNER: owner(values),
            # The template's placeholder must not be looked for.
            "LABEL_SERVER_TOKEN": "",
            # As root, it can give a new volume to the label server, which then runs without root's rights.
            "RUNPOD_POD_USER": "0",
            **access,
        },
    }
    centers = [volume["dataCenter"]] if volume else list(candidate.data_centers if wish.data_centers else ())
    if centers:
        body["dataCenterIds"] = centers
    if volume:
        body["mounts"] = {"network": [{"volumeId": volume["id"], "path": "/workspace"}]}
    return body


def _create(client: Client, body: dict[str, Any]) -> Pod:
    try:
        return client.create_pod(body)
    except LostAnswerError:
        # It may exist: asked for again, there might be two.
        deadline = time.monotonic() + _LISTED_SECONDS
        while True:
            if found := [pod for pod in client.list_pods() if pod["name"] == body["name"]]:
                return found[0]
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)


def _only_one(client: Client, values: Settings, pod: Pod) -> Pod:
    """Where two laptops rented at once, all keep the oldest pod, and each ends its own if it is not that."""
    running = of_stack(client, values)
    if running and running[0]["id"] != pod["id"] and pod["id"] in {each["id"] for each in running}:
        terminate(client, pod["id"])
        return running[0]
    return pod


def _env(pod: Pod) -> dict[str, str]:
    return pod.get("env") or {}

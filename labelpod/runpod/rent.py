"""Renting: one pod for one order, whatever becomes of the answers, and never above the price."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from labelpod.config.settings import Settings
from labelpod.console import say
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod.runpod import actions, choice, keys, ledger, pods, polling, template, tokens, whose
from labelpod.runpod.catalog import MIN_CUDA, Candidate, Wish
from labelpod.runpod.choice import NoCapacityError
from labelpod.runpod.client import Client, LostAnswerError, NoGpuError, RunPodError
from labelpod.runpod.pods import Pod

# What the cents of a price may be rounded by.
_ROUNDED = 0.0005


@dataclass(frozen=True)
class Access:
    """Who gets into a pod: the SSH key of this machine, and users with their roles."""

    public_key: str
    roles: dict[str, str]

    @classmethod
    def of(cls, project: Project) -> "Access":
        """As of now.

        Raises:
            DeployError: the key or the users cannot be read or made; ask before anything costs money.

        """
        return cls(keys.public_key(project.secrets), tokens.roles(project.secrets))


@dataclass(frozen=True)
class Order:
    """What is to be rented.

    Args:
        wish: what was asked for, and the price that was agreed to; the pod keeps it.
        found: the GPUs that fit, cheapest first.
        access: who gets in.
        volume: network volume for /workspace, if any.
        instead_of: the id of a stopped pod that is ended once this one is there.

    """

    wish: Wish
    found: list[Candidate]
    access: Access
    volume: dict[str, Any] | None = None
    instead_of: str = ""


def rent(client: Client, values: Settings, project: Project, order: Order) -> Pod:
    """Rent the first GPU that can be had; one that is made above the price that was agreed to is ended at once.

    Raises:
        NoCapacityError: no candidate was free, or all were too dear.
        DeployError: no template, no balance, no right, no answer, or a pod that is too dear does not end.

    """
    base = template.find(client, values.RUNPOD_STACK)
    if base is None:
        raise DeployError(f"there is no template {values.RUNPOD_STACK}", "python3 deploy.py runpod publish")
    why, refused = "none fits", None
    for candidate in order.found:
        body = _body(values, order, candidate, base)
        ledger.order(body["name"], project.pods_record)
        try:
            pod = _created(client, body)
        except LostAnswerError as lost:
            raise DeployError(
                lost.message,
                "`python3 deploy.py runpod status` in a minute shows whether it was;"
                f" a pod would cost ${candidate.price:.2f} an hour",
            ) from None
        except DeployError as error:
            ledger.forget(body["name"], project.pods_record)
            if not isinstance(error, RunPodError) or error.status not in (400, 403, 500):
                raise
            why, refused = error.detail, error
            continue
        ledger.add(pod, project.pods_record)
        if not too_dear(pod, order.wish.max_price):
            say(f"Pod {pod['id']} is rented, at ${pods.cost(pod):.2f} an hour")
            return pod
        why, refused = _give_back(client, project, pod), None
    if refused and not isinstance(refused, NoGpuError):
        raise refused
    raise NoCapacityError(
        f"none of {len(order.found)} GPUs can be rented now: {why}",
        "try again later, or with a higher --max-price, --community, or without --data-center",
    )


def see_price(client: Client, project: Project, pod: Pod) -> None:
    """End a pod that was just rented if it is dearer than was agreed to.

    Raises:
        NoCapacityError: it was, and has ended.
        DeployError: it was, and has not ended, or is not new: what is on it is not to be lost.

    """
    kept = pods.wish(pod)
    if kept is None or not too_dear(pod, kept.max_price):
        return
    if pods.is_new(pod):
        gpu = (pod.get("gpu") or {}).get("id") or "the same GPU"
        raise NoCapacityError(
            _give_back(client, project, pod),
            f"the same command would take {gpu} again: --gpu names another,"
            f" or --max-price {choice.enough(pods.cost(pod))}",
        )
    raise DeployError(
        f"pod {pod['id']} COSTS ${pods.cost(pod):.2f} AN HOUR, above the ${kept.max_price:.2f} of its launch",
        f"`python3 deploy.py runpod stop {pod['id']}` or `runpod terminate {pod['id']}`",
    )


def too_dear(pod: Pod, limit: float | None) -> bool:
    """Whether an hour costs more."""
    return limit is not None and pods.cost(pod) > limit + _ROUNDED


def _give_back(client: Client, project: Project, pod: Pod) -> str:
    """End a pod that is dearer than was agreed to; says so, and returns the same words."""
    actions.terminate(client, pod, project.pods_record, fresh=True)
    words = f"pod {pod['id']} was made at ${pods.cost(pod):.2f} an hour, more than was agreed to, and was ended"
    say(f"{words[0].upper()}{words[1:]}")
    return words


def settled(client: Client, values: Settings, project: Project, pod: Pod, another: bool) -> Pod:
    """The pod once RunPod knows and lists it; of those that two laptops rented at once, the oldest.

    Args:
        client: the API.
        values: the settings.
        project: the folder of this stack.
        pod: that was just rented from here.
        another: whether others may be beside it.

    Returns:
        The pod that stays; if that is another's, this one was ended.

    """
    ours = whose.Ours(client, values, project)
    there: dict[str, Pod] = {}

    def known() -> bool:
        # Whatever was made before it is listed when it is listed itself.
        found = pods.listed(client, project, ours)
        there.clear()
        there.update((each["id"], each) for each in found)
        return pod["id"] in there and pods.look(client, pod)["status"] != "TERMINATED"

    polling.until(known, polling.LAG_SECONDS)
    pod = there.get(pod["id"], pod)
    rivals = [each for each in there.values() if pods.billed(each) and each["id"] != pods.instead_of(pod)]
    oldest = min([pod, *rivals], key=pods.age_key)
    # Only what nobody can have used yet is ended without being asked for.
    if oldest["id"] == pod["id"] or another or not pods.is_new(pod):
        return pod
    actions.terminate(client, pod, project.pods_record, fresh=True)
    say(f"Pod {oldest['id']} was rented at the same time; pod {pod['id']} was ended")
    return oldest


def _body(values: Settings, order: Order, candidate: Candidate, base: dict[str, Any]) -> dict[str, Any]:
    wish, volume = order.wish, order.volume
    # Those of now; one that is empty must not come from the template.
    known = base.get("env") or {}
    settings = {name: value for name, value in template.environment(values).items() if value or name in known}
    name = whose.new_name(values)
    body: dict[str, Any] = {
        "name": name,
        "templateId": base["id"],
        "cloud": wish.cloud,
        # Without a count RunPod finds no machine.
        "gpu": {"id": candidate.gpu, "count": 1, "minCudaVersion": MIN_CUDA},
        "env": settings
        | {
            whose.OWNER: whose.owner(values),
            ledger.WISH: wish.text(),
            # The template's placeholder must not be looked for.
            "LABEL_SERVER_TOKEN": "",
            # As root, it can give a new volume to the label server, which then runs without root's rights.
            "RUNPOD_POD_USER": "0",
            "PUBLIC_KEY": order.access.public_key,
        }
        | tokens.environment(values, name, order.access.roles)
        | ({pods.INSTEAD_OF: order.instead_of} if order.instead_of else {}),
    }
    centers = [volume["dataCenter"]] if volume else list(candidate.data_centers if wish.data_centers else ())
    if centers:
        body["dataCenterIds"] = centers
    if volume:
        body["mounts"] = {"network": [{"volumeId": volume["id"], "path": "/workspace"}]}
    template.refuse_secrets(values, body)
    return body


def _created(client: Client, body: dict[str, Any]) -> Pod:
    try:
        return client.create_pod(body)
    except LostAnswerError as lost:
        # It may exist: asked for again, there might be two.
        with suppress(DeployError):
            named = polling.until(
                lambda: [pod for pod in client.list_pods() if pod["name"] == body["name"]], polling.LAG_SECONDS
            )
            if named:
                return named[0]
        raise lost from None

"""From a wish to a pod: what there is already, candidates, volume, price, yes, pod."""

from dataclasses import replace
from typing import Any

from labelpod.config.settings import Settings
from labelpod.console import confirmed, say
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod.runpod import actions, choice, ledger, pods, rent, template, tokens, volumes, whose
from labelpod.runpod.catalog import Wish
from labelpod.runpod.client import Client
from labelpod.runpod.rent import Access, Order


def launch(
    client: Client,
    values: Settings,
    project: Project,
    wish: Wish,
    volume_name: str = "",
    create_gigabytes: int = 0,
    another: bool = False,
    yes: bool = False,
) -> pods.Pod:
    """Rent the stack's pod, or find the one that a launch before this one has rented.

    Args:
        client: the API.
        values: the settings.
        project: the stack's folder.
        wish: what GPU, where, for how much.
        volume_name: network volume for /workspace; "" for none, or for one of the stack's name if it is to be made.
        create_gigabytes: make the volume if it is not there, this large.
        another: whether a second pod may be rented.
        yes: whether to do so without asking.

    Raises:
        DeployError: the pod is stopped, nothing fits, nothing can be had, or the answer was no.

    """
    existing = actions.tidied(client, pods.of_stack(client, values, project), project.pods_record)
    if existing and not another:
        return _existing(client, values, project, existing[0], wish.max_price)
    if template.find(client, values.RUNPOD_STACK) is None:
        raise DeployError(f"there is no template {values.RUNPOD_STACK}", "python3 deploy.py runpod publish")
    volume_name = volume_name or (values.RUNPOD_STACK if create_gigabytes else "")
    volume = volumes.find(client, volume_name, project.pods_record) if volume_name else None
    if volume:
        wish = choice.there(wish, volume)
    found, asked = choice.candidates(client, wish), wish
    price = choice.price(found)
    if volume_name and volume is None:
        if not create_gigabytes:
            raise DeployError(
                f"there is no network volume {volume_name}", "--create-volume GB makes one; it costs while it is there"
            )
        wish, found = choice.pinned(wish, found)
        price = f"{choice.price(found)}, and the volume ${volumes.monthly(create_gigabytes):.2f} a month"
    if not confirmed(f"Rent a pod? {price}.", yes):
        raise DeployError("nothing was rented", "--yes rents without asking")
    say(f"{price}.")
    wish, made, access = choice.agreed(wish, found), None, Access.of(project)
    if volume_name and volume is None:
        center = wish.data_centers[0]
        volume, here = volumes.make(client, volume_name, create_gigabytes, center, project.pods_record)
        if here:
            made = volume
        else:
            wish = choice.there(replace(asked, max_price=wish.max_price), volume)
            found = choice.candidates(client, wish)
    return _rented(client, values, project, Order(wish, found, access, volume), made, another)


def _rented(
    client: Client, values: Settings, project: Project, order: Order, made: dict[str, Any] | None, another: bool
) -> pods.Pod:
    """The pod; a volume that was made for it and that it does not use is told, or deleted if there are two."""
    pod = None
    try:
        pod = rent.rent(client, values, project, order)
        pod = rent.settled(client, values, project, pod, another)
        _see_limit(pod, order.wish.max_price)
    finally:
        if made and (pod is None or pods.volume_of(pod) != made["id"]):
            _left(client, project, made)
    return pod


def _see_limit(pod: pods.Pod, max_price: float | None) -> None:
    """See that a pod that somebody else has rented is not dearer than was asked for here."""
    cost = pods.cost(pod)
    if rent.too_dear(pod, max_price):
        raise DeployError(
            f"pod {pod['id']} already exists, at ${cost:.2f} an hour",
            f"`python3 deploy.py runpod terminate {pod['id']}` ends it; or --max-price {choice.enough(cost)}",
        )


def _left(client: Client, project: Project, made: dict[str, Any]) -> None:
    try:
        if volumes.drop_double(client, made, project.pods_record):
            return
    except DeployError:  # what went wrong before is what is told
        pass
    say(
        f"Network volume {made['name']} ({made['id']}) stays and costs ${volumes.monthly(made['size']):.2f} a month;"
        f" `python3 deploy.py runpod volumes delete {made['id']}` deletes it"
    )


def _existing(client: Client, values: Settings, project: Project, pod: pods.Pod, max_price: float | None) -> pods.Pod:
    """The pod that exists already: the same command resumes where it was interrupted."""
    if pod["status"] == "EXITED":
        raise DeployError(f"pod {pod['id']} is stopped", "`python3 deploy.py runpod resume` starts it")
    pod = pods.look(client, pod)
    see_that_it_fits(values, pod)
    ledger.add(pod, project.pods_record)
    rent.see_price(client, project, pod)
    _see_limit(pod, max_price)
    say(f"Pod {pod['id']} already exists, at ${pods.cost(pod):.2f} an hour; --force rents another")
    return pod


def see_that_it_fits(values: Settings, pod: pods.Pod) -> None:
    """See that a pod that exists knows this stack's token.

    Raises:
        DeployError: it was rented before `.env` was changed.

    """
    env = pod.get("env") or {}
    if env.get(whose.STACK, values.RUNPOD_STACK) != values.RUNPOD_STACK:
        raise DeployError(
            f"pod {pod['id']}, rented from here as {env[whose.STACK]}, still costs ${pods.cost(pod):.2f} an hour",
            f"`python3 deploy.py runpod terminate {pod['id']}`, or --force rents another beside it",
        )
    tokens.of(pod, values)


def confirm(
    client: Client, values: Settings, project: Project, pod: pods.Pod, another: bool, max_price: float | None = None
) -> pods.Pod:
    """Look once more at a pod that was waited for: at its price, and whether another laptop has rented, too.

    Args:
        client: the API.
        values: the settings.
        project: the stack's folder.
        pod: that was waited for.
        another: whether others may be beside it.
        max_price: what was asked for; None: what the pod was rented for.

    Returns:
        The pod that stays.

    Raises:
        DeployError: it is dearer than was agreed to, and was ended; or the other's is.

    """
    pod = pods.seen(client, pod)
    rent.see_price(client, project, pod)
    stays = rent.settled(client, values, project, pod, another)
    if stays["id"] != pod["id"]:
        kept = pods.wish(pod)
        _see_limit(stays, kept.max_price if kept and max_price is None else max_price)
    return stays

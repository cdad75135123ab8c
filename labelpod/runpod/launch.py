"""From a wish to a pod that answers: candidates, volume, price, yes, pod."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from labelpod.config.settings import Settings
from labelpod.console import confirmed, say
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod.runpod import catalog, keys, ledger, pods, template, tokens, volumes
from labelpod.runpod.catalog import Candidate, Wish
from labelpod.runpod.client import Client, RunPodError


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
        volume_name: network volume for /workspace; "" for none.
        create_gigabytes: make the volume if it is not there, this large.
        another: whether a second pod may be rented.
        yes: whether to do so without asking.

    Raises:
        DeployError: the pod is stopped, nothing fits, nothing can be had, or the answer was no.

    """
    running = pods.of_stack(client, values)
    if running and not another:
        return _resumed(project, running[0])
    if template.find(client, values.RUNPOD_STACK) is None:
        raise DeployError(f"there is no template {values.RUNPOD_STACK}", "python3 deploy.py runpod publish")
    volume = volumes.find(client, volume_name) if volume_name else None
    if volume:
        wish = _there(wish, volume)
    found = _candidates(client, wish)
    price = _price(found)
    if volume_name and volume is None:
        if not create_gigabytes:
            raise DeployError(
                f"there is no network volume {volume_name}", "--create-volume GB makes one; it costs while it is there"
            )
        wish, found = _pinned(wish, found)
        price += f", and the volume ${volumes.monthly(create_gigabytes):.2f} a month"
    if not confirmed(f"Rent a pod? {price}.", yes):
        raise DeployError("nothing was rented", "--yes rents without asking")
    say(f"{price}.")
    # Before anything costs money: they may not be there to be read, or written.
    access = {"PUBLIC_KEY": keys.public_key(project.secrets), **tokens.make(project.secrets)}
    if volume_name and volume is None:
        body = {"name": volume_name, "size": create_gigabytes, "dataCenter": wish.data_centers[0]}
        volume = client.create_network_volume(body)
        say(f"Network volume {volume_name} made in {body['dataCenter']}")
    pod = pods.rent(client, values, found, wish, access, volume, another)
    ledger.add(pod, project.pods_record)
    return pod


def _resumed(project: Project, pod: pods.Pod) -> pods.Pod:
    """The pod that exists already: the same command resumes where it was interrupted."""
    if pod["status"] == "EXITED":
        raise DeployError(f"pod {pod['id']} is stopped", "`python3 deploy.py runpod resume` starts it")
    say(f"Pod {pod['id']} already exists, at ${pod['cost']:.2f} an hour; --force rents another")
    ledger.add(pod, project.pods_record)
    return pod


def _there(wish: Wish, volume: dict[str, Any]) -> Wish:
    """A volume is in one data center, and so is a pod with it; only the secure cloud has them."""
    if wish.community:
        raise DeployError("the community cloud has no network volumes", "leave out --community or --volume")
    center = str(volume["dataCenter"]).upper()
    if wish.data_centers and center not in wish.data_centers:
        raise DeployError(
            f"the volume {volume['name']} is in {center}, not in {', '.join(wish.data_centers)}",
            f"--data-center {center}, or another volume",
        )
    return replace(wish, data_centers=(center,))


def _pinned(wish: Wish, found: list[Candidate]) -> tuple[Wish, list[Candidate]]:
    """Where the new volume goes: a data center that has the cheapest GPU."""
    center = next((each for candidate in found for each in candidate.data_centers), None)
    if wish.community or center is None:
        raise DeployError(
            "no data center is named for the new volume, and no GPU in stock suggests one", "name a --data-center"
        )
    wish = replace(wish, data_centers=(center,))
    return wish, [replace(each, data_centers=(center,)) for each in found if center in each.data_centers]


def _candidates(client: Client, wish: Wish) -> list[Candidate]:
    gpus = client.list_gpu_types(**catalog.query(wish))
    found = catalog.candidates(gpus, wish)
    if found:
        return found
    dearer = catalog.candidates(gpus, replace(wish, max_price=None))
    if dearer:
        raise DeployError(
            f"nothing in stock for ${wish.max_price:.2f} an hour; the cheapest is {dearer[0].gpu}"
            f" at ${dearer[0].price:.2f}",
            f"--max-price {dearer[0].price:.2f}",
        )
    raise DeployError(
        f"no NVIDIA GPU of {max(wish.min_vram, catalog.MIN_VRAM)} GB or more is in stock that fits",
        "try again later, or without --gpu or --data-center, or with --community",
    )


def _price(found: list[Candidate]) -> str:
    first, last = found[0], max(found, key=lambda each: each.price)
    upto = "" if len(found) == 1 else f", up to ${last.price:.2f} if that is gone"
    return f"{first.gpu} ({first.memory} GB) at ${first.price:.2f} an hour{upto}"


def resume(client: Client, values: Settings, relaunch: Callable[[pods.Pod], pods.Pod]) -> pods.Pod:
    """Start the stopped pod; if its host has no GPU left, rent another one with the same volume.

    Args:
        client: the API.
        values: the settings.
        relaunch: rents a pod in the place of this one.

    Raises:
        DeployError: it cannot be started, and what is on it would be lost with it.

    """
    pod = pods.the_pod(client, values)
    try:
        return pods.act(client, pod, "start")
    except RunPodError as error:
        if error.status not in (400, 500):
            raise
        if not pods.keeps_its_data(pod):
            raise DeployError(
                f"the host of pod {pod['id']} has no GPU left: {error.detail}",
                "try again later; or `runpod terminate` and `runpod launch`, which loses what is on the pod",
            ) from None
    say(f"The host of pod {pod['id']} has no GPU left; another pod takes its volume")
    pods.terminate(client, pod["id"])
    return relaunch(pod)

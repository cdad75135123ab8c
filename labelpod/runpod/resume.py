"""Starting a stopped pod; on another host, as cheap as was agreed to, if its own has no GPU left."""

from dataclasses import replace
from pathlib import Path

from labelpod.config.settings import Settings
from labelpod.console import confirmed, say
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod.runpod import actions, choice, ledger, pods, rent, volumes
from labelpod.runpod.catalog import Wish
from labelpod.runpod.choice import NoCapacityError
from labelpod.runpod.client import Client, NoGpuError
from labelpod.runpod.launch import see_that_it_fits
from labelpod.runpod.rent import Access, Order


def resume(
    client: Client, values: Settings, project: Project, pod_id: str | None = None, yes: bool = False
) -> pods.Pod:
    """Start the stopped pod; if its host has no GPU left, rent another one with the same volume.

    Args:
        client: the API.
        values: the settings.
        project: the stack's folder.
        pod_id: which pod, if there are several.
        yes: whether to rent another without asking.

    Raises:
        DeployError: it cannot be started, and what is on it would be lost with it; or its price has risen.

    """
    actions.tidied(client, pods.of_stack(client, values, project), project.pods_record)
    # As it is itself: a list may leave out what it was rented for.
    pod = pods.look(client, pods.the_pod(client, values, project, pod_id))
    see_that_it_fits(values, pod)
    if pod["status"] not in pods.STARTABLE:
        rent.see_price(client, project, pod)
        return actions.start(client, pod, project.pods_record)
    try:
        pod = actions.start(client, pod, project.pods_record)
    except NoGpuError as error:
        if not pods.keeps_its_data(pod):
            raise DeployError(
                f"the host of pod {pod['id']} has no GPU left: {error.detail}",
                "try again later; or `runpod terminate` and `runpod launch`, which loses what is on the pod",
            ) from None
        return _elsewhere(client, values, project, pod, yes)
    see_price(client, pod, project.pods_record)
    return pod


def see_price(client: Client, pod: pods.Pod, record: Path) -> None:
    """Stop a pod again whose price has risen above what was agreed to; it may be told only when the pod runs.

    Args:
        client: the API.
        pod: as it is now.
        record: of what was asked from this machine.

    Raises:
        DeployError: it has.

    """
    kept = pods.wish(pod)
    if kept and rent.too_dear(pod, kept.max_price):
        cost = pods.cost(pod)
        actions.stop(client, pod, record)
        raise DeployError(
            f"pod {pod['id']} costs ${cost:.2f} an hour now, above ${kept.max_price:.2f} at its launch; it is stopped",
            f"`runpod terminate {pod['id']}`, then `runpod launch --max-price {choice.enough(cost)}` with its volume",
        )


def _elsewhere(client: Client, values: Settings, project: Project, old: pods.Pod, yes: bool) -> pods.Pod:
    """The pod that takes its volume; the old one is ended when that is there."""
    full = f"the host of pod {old['id']} has no GPU left"
    volume = volumes.find(client, pods.volume_of(old) or "", project.pods_record)
    if volume is None:
        raise DeployError(f"{full}, and its volume is gone", "`runpod terminate`, then `runpod launch`")
    recorded = ledger.read(project.pods_record).get(old["id"], {})
    # One of which nobody says what it was rented for was not rented for more than it costs.
    cost = pods.cost(old) or pods.cost(recorded) or None
    wish = pods.wish(old) or Wish.parse(recorded.get("wish") or "") or Wish(max_price=cost)
    wish = choice.there(replace(wish, community=False, data_centers=()), volume)
    try:
        found = choice.candidates(client, wish)
        price = choice.price(found)
        before = pods.of_stack(client, values, project)
        if not confirmed(f"{full[0].upper()}{full[1:]}. Rent another with its volume? {price}.", yes):
            raise DeployError(f"{full}; another would be {price}", "--yes rents it")
        if taken := _taken(pods.of_stack(client, values, project), old):
            say(f"Pod {taken['id']} runs by now; no other is rented")
            return taken
        say(f"{full[0].upper()}{full[1:]}; another pod takes its volume: {price}")
        order = Order(choice.agreed(wish, found), found, Access.of(project), volume, instead_of=old["id"])
        new = rent.rent(client, values, project, order)
        another = any(pods.billed(pod) and pod["id"] != old["id"] for pod in before)
        new = rent.settled(client, values, project, new, another)
    except DeployError as error:
        # If one was ordered, it may be there, and would be paid for as well.
        free = isinstance(error, NoCapacityError)
        more = f"; or rent another with `runpod launch --force --volume {volume['id']}`" if free else ""
        raise DeployError(f"{error.message}; pod {old['id']} is kept", f"{error.remedy}{more}") from None
    if pods.seen(client, new)["status"] in ("ERROR", "EXITED", "TERMINATED"):
        raise DeployError(
            f"pod {new['id']} does not start; pod {old['id']} is kept",
            f"`python3 deploy.py runpod terminate {new['id']}`; if it starts later, it costs"
            f" ${pods.cost(new):.2f} an hour: `python3 deploy.py runpod status` shows it",
        )
    actions.terminate(client, old, project.pods_record)
    return new


def _taken(found: list[pods.Pod], old: pods.Pod) -> pods.Pod | None:
    """What runs by now in a pod's place, started by somebody else meanwhile: another pod, or itself."""
    running = [pod for pod in found if pods.billed(pod) and pod["status"] not in pods.STARTABLE]
    return next((pod for pod in running if old["id"] in (pod["id"], pods.instead_of(pod))), None)

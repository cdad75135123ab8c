"""Ends what was forgotten: a pod that is billed for longer than MAX_HOURS. Safe to be called by cron."""

from collections.abc import Iterator

from labelpod.config.settings import Settings
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod.runpod import actions, pods
from labelpod.runpod.client import Client


def reap(client: Client, values: Settings, project: Project) -> Iterator[tuple[str, bool]]:
    """Stop this stack's pods that are billed too long, or end those that only can be ended, if their data stays.

    Returns:
        For each pod that was dealt with, as it is done: one line, and whether it is billed no more.

    """
    for pod in pods.of_stack(client, values, project) if values.MAX_HOURS else ():
        hours = pods.hours(pod)
        if hours is None:
            yield f"{pod['id']} is {pod['status']}, and does not say since when{_price(pod)}", False
        elif hours >= values.MAX_HOURS:
            try:
                yield _reaped(client, project, pod, hours)
            except DeployError as error:
                yield f"{pod['id']} runs on after {hours:.1f} h: {error.message}", False


def _reaped(client: Client, project: Project, pod: pods.Pod, hours: float) -> tuple[str, bool]:
    can_stop = "stop" in pod.get("actions", []) or pod["status"] == "UNKNOWN"
    if can_stop and not pod.get("locked"):
        actions.stop(client, pod, project.pods_record)
        return f"{pod['id']} stopped after {hours:.1f} h", True
    if pods.keeps_its_data(pod) and not pod.get("locked"):
        actions.terminate(client, pod, project.pods_record)
        return f"{pod['id']} ended after {hours:.1f} h; its volume stays", True
    return f"{pod['id']} runs since {hours:.1f} h and can be neither stopped nor ended without loss{_price(pod)}", False


def _price(pod: pods.Pod) -> str:
    return f"; it costs ${pods.cost(pod):.2f} an hour"

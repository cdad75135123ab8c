"""Ends what was forgotten: a pod that runs longer than MAX_HOURS. Safe to be called by cron."""

from labelpod.config.settings import Settings
from labelpod.runpod import pods
from labelpod.runpod.client import Client


def reap(client: Client, values: Settings) -> list[str]:
    """Stop this stack's pods that run too long, or end those that only can be ended, if their data stays.

    Returns:
        One line for each pod that was dealt with.

    """
    done = []
    for pod in pods.of_stack(client, values):
        hours = pods.hours(pod)
        if not values.MAX_HOURS or hours < values.MAX_HOURS:
            continue
        if "stop" in pod.get("actions", []) and not pod.get("locked"):
            pods.act(client, pod, "stop")
            done.append(f"{pod['id']} stopped after {hours:.1f} h")
        elif pods.keeps_its_data(pod) and not pod.get("locked"):
            pods.terminate(client, pod["id"])
            done.append(f"{pod['id']} ended after {hours:.1f} h; its volume stays")
        else:
            done.append(f"{pod['id']} runs since {hours:.1f} h and can be neither stopped nor ended without loss")
    return done

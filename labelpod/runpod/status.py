"""What there is at RunPod of this stack: for people, and as JSON for programs."""

from dataclasses import asdict
from typing import Any

from labelpod.config.settings import Settings
from labelpod.project import Project
from labelpod.runpod import pods, tokens, volumes, wait
from labelpod.runpod.client import Client


def collect(client: Client, values: Settings, project: Project) -> dict[str, Any]:
    """The template, the pods and the volumes; the keys are stable."""
    published = next((each for each in client.list_templates() if each["name"] == values.RUNPOD_STACK), None)
    found = pods.of_stack(client, values, project)
    kept = [asdict(volume) for volume in volumes.all_of(client, values, project, found) if volume.ours]
    return {
        "stack": values.RUNPOD_STACK,
        "template": {"id": published["id"], "image": published["image"]} if published else None,
        "pods": [_pod(pod, values) for pod in found],
        "volumes": kept,
    }


def _pod(pod: pods.Pod, values: Settings) -> dict[str, Any]:
    hours = pods.hours(pod) or 0.0
    running = pod["status"] == "RUNNING"
    return {
        "id": pod["id"],
        "status": pod["status"],
        "gpu": (pod.get("gpu") or {}).get("id"),
        "data_center": pod.get("dataCenterId"),
        "volume": pods.volume_of(pod),
        "hours": round(hours, 2),
        # A stopped pod still shows what it cost while it ran.
        "usd_per_hour": pods.cost(pod) if pods.billed(pod) else 0.0,
        "usd_so_far": round(hours * pods.cost(pod), 2),
        "url": pods.url(pod, values) if running else None,
        "stops_at": wait.stops_at(pods.url(pod, values), tokens.find(pod, values)) if running else None,
    }


def text(state: dict[str, Any]) -> str:
    """The state for people."""
    known = state["template"]
    lines = [
        f"{'Template':<10}{state['stack']}, {known['image']}" if known else "No template: `runpod publish` makes it"
    ]
    for pod in state["pods"]:
        lines.append(f"{'Pod':<10}{pod['id']}  {pod['status']}  {pod['gpu']}  {pod['data_center'] or ''}".rstrip())
        if pod["usd_per_hour"]:
            since = f"{pod['hours']:.1f} h, ${pod['usd_so_far']:.2f} since its start"
            lines.append(f"{'':<10}${pod['usd_per_hour']:.2f} an hour; {since}")
        if pod["stops_at"]:
            lines.append(f"{'':<10}will stop at {pod['stops_at']} if nobody uses it")
        lines.append(f"{'':<10}" + (f"volume {pod['volume']}" if pod["volume"] else "no volume: its models go with it"))
    unused = [volumes.Volume(**each).unused for each in state["volumes"] if not each["used_by"]]
    lines += [f"{'Volume':<10}{words}" for words in unused]
    if not state["pods"]:
        lines.append("No pod: nothing is billed but volumes")
    return "\n".join(lines)

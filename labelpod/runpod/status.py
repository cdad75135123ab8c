"""What there is at RunPod of this stack: for people, and as JSON for programs."""

from typing import Any

from labelpod.config.settings import Settings
from labelpod.project import Project
from labelpod.runpod import pods, template, tokens, wait
from labelpod.runpod.client import Client


def collect(client: Client, values: Settings, project: Project) -> dict[str, Any]:
    """The template and the pods; the keys are stable."""
    published = template.find(client, values.RUNPOD_STACK)
    return {
        "stack": values.RUNPOD_STACK,
        "template": {"id": published["id"], "image": published["image"]} if published else None,
        "pods": [_pod(pod, values, project) for pod in pods.of_stack(client, values)],
    }


def _pod(pod: pods.Pod, values: Settings, project: Project) -> dict[str, Any]:
    hours = pods.hours(pod)
    running = pod["status"] == "RUNNING"
    network = (pod.get("mounts") or {}).get("network") or []
    return {
        "id": pod["id"],
        "status": pod["status"],
        "gpu": (pod.get("gpu") or {}).get("id"),
        "data_center": pod.get("dataCenterId"),
        "volume": network[0]["volumeId"] if network else None,
        "hours": round(hours, 2),
        # A stopped pod still shows what it cost while it ran.
        "usd_per_hour": float(pod["cost"]) if running else 0.0,
        "usd_so_far": round(hours * float(pod["cost"]), 2),
        "url": pods.url(pod, values) if running else None,
        "stops_at": wait.stops_at(pods.url(pod, values), tokens.find(pod, project.secrets)) if running else None,
    }


def text(state: dict[str, Any]) -> str:
    """The state for people."""
    known = state["template"]
    lines = [
        f"{'Template':<10}{state['stack']}, {known['image']}" if known else "No template: `runpod publish` makes it"
    ]
    for pod in state["pods"]:
        lines.append(f"{'Pod':<10}{pod['id']}  {pod['status']}  {pod['gpu']}  {pod['data_center'] or ''}".rstrip())
        if pod["url"]:
            since = f"{pod['hours']:.1f} h, ${pod['usd_so_far']:.2f} since its start"
            lines.append(f"{'':<10}${pod['usd_per_hour']:.2f} an hour; {since}")
        if pod["stops_at"]:
            lines.append(f"{'':<10}will stop at {pod['stops_at']} if nobody uses it")
        lines.append(f"{'':<10}" + (f"volume {pod['volume']}" if pod["volume"] else "no volume: its models go with it"))
    if not state["pods"]:
        lines.append("No pod: nothing is billed but volumes")
    return "\n".join(lines)

"""Nodes of paper: they say of each pod that it is given to them that it runs, and run nothing."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tests.support.control_plane import ControlPlane

STARTS_AFTER = 2.0  # seconds until a pod is ready
_CAPACITY = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "110"}
_GPU = "nvidia.com/gpu"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class PaperNodes:
    """Nodes, some of which have a GPU and take only pods that want one.

    Args:
        plane: of which cluster they are.
        gpus: how many have one GPU.
        others: how many have none.

    """

    def __init__(self, plane: ControlPlane, gpus: int, others: int) -> None:
        self._plane = plane
        self.alive = {f"gpu-{number}" for number in range(gpus)} | {f"node-{number}" for number in range(others)}
        self._since: dict[str, float] = {}
        self._end = threading.Event()
        for name in sorted(self.alive):
            self._join(name)

    def dies(self, name: str) -> None:
        """It says nothing any more, of itself and of its pods."""
        self.alive.discard(name)

    def live(self) -> None:
        """Go on until `end`."""
        renewed = 0.0
        while not self._end.wait(0.3):
            if time.monotonic() - renewed > 5:
                renewed = time.monotonic()
                for name in sorted(self.alive):
                    self._plane.patch(f"{_LEASES}/{name}", {"spec": {"renewTime": _now(micro=True)}})
            for pod in self._plane.pods():
                if pod["spec"].get("nodeName") in self.alive:
                    self._tend(pod)

    def end(self) -> None:
        """Stop all nodes."""
        self._end.set()

    def _join(self, name: str) -> None:
        gpu = name.startswith("gpu")
        labels = {"kubernetes.io/hostname": name} | ({f"{_GPU}.present": "true"} if gpu else {})
        taints = [{"key": _GPU, "effect": "NoSchedule"}] if gpu else []
        self._plane.post("/api/v1/nodes", {"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}})
        capacity = _CAPACITY | ({_GPU: "1"} if gpu else {})
        ready = {"type": "Ready", "status": "True", "reason": "Paper", "lastHeartbeatTime": _now()}
        status = {"capacity": capacity, "allocatable": capacity, "conditions": [ready]}
        self._plane.patch(f"/api/v1/nodes/{name}/status", {"status": status})
        lease = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": _now(micro=True)}
        self._plane.post(_LEASES, {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": lease})

    def _tend(self, pod: dict[str, Any]) -> None:
        """Let a pod start, or go."""
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        started = time.monotonic() - self._since.setdefault(metadata["uid"], time.monotonic()) > STARTS_AFTER
        if "deletionTimestamp" in metadata:
            self._plane.delete(path)
        elif started and pod["status"].get("phase") != "Running":
            conditions = [{"type": kind, "status": "True"} for kind in ("Initialized", "ContainersReady", "Ready")]
            self._plane.patch(f"{path}/status", {"status": {"phase": "Running", "conditions": conditions}})


@contextmanager
def joined(plane: ControlPlane, gpus: int, others: int) -> Iterator[PaperNodes]:
    """Let nodes join a cluster and live there."""
    nodes = PaperNodes(plane, gpus, others)
    thread = threading.Thread(target=nodes.live)
    thread.start()
    try:
        yield nodes
    finally:
        nodes.end()
        thread.join()


def _now(micro: bool = False) -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")

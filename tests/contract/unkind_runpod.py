"""The service as unkind as life: old lists, slow and deaf actions, late effects, prices and capacity that change.

Time is a clock of its own that the driver's waiting moves on, so that a bound of minutes takes none.
"""

import threading
from typing import Any

from tests.contract.fake_runpod import NO_CAPACITY, FakeRunPod, Fault, Refusal
from tests.contract.runpod_document import Document

_ACTIONS = {
    "PROVISIONING": ["stop", "terminate"],
    "STARTING": ["stop", "terminate"],
    "RUNNING": ["stop", "restart", "terminate"],
    "EXITED": ["start", "terminate"],
    "ERROR": ["start", "terminate"],
}


class Clock:
    """Stands in for the module `time`: sleeping takes no time."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self._lock = threading.Lock()

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds


class UnkindRunPod(FakeRunPod):
    """The service; without a test's asking as kind as the other."""

    def __init__(self, document: Document | None, address: str = "127.0.0.1") -> None:
        self.clock = Clock()
        self.list_lag = 0.0  # seconds until what was made is listed
        self.get_lag = 0.0  # seconds until a pod that was made is known by its id
        self.start_seconds = 0.0  # of each of PROVISIONING and STARTING
        self.stop_seconds = 0.0
        self.deaf = 0  # so many actions are accepted and do nothing
        self.deaf_deletes = 0
        self.env_listed = True
        self.no_gpu_status = 400
        self.prices: dict[str, float] = {}  # what a GPU really costs
        self._made: dict[str, float] = {}
        self._due: list[tuple[float, Any]] = []
        super().__init__(document, address)

    def answer(self, method: str, target: str, key: str, body: Any) -> tuple[int, Any, dict[str, str]]:
        with self._lock:
            self.clock.sleep(0.05)
            self.pass_time()
        return super().answer(method, target, key, body)

    def pass_time(self) -> None:
        """Do what is due by now."""
        due = [each for each in self._due if each[0] <= self.clock.now]
        self._due = [each for each in self._due if each[0] > self.clock.now]
        for _, do in sorted(due, key=lambda each: each[0]):
            do()

    def billed(self) -> list[dict]:
        """The pods that cost money by the hour."""
        return [pod for pod in self.live() if pod["status"] != "EXITED"]

    def listPods(self, _: Any) -> dict:
        shown = [pod for pod in self.pods.values() if self._seen(pod, self.list_lag)]
        return {"pods": shown if self.env_listed else [pod | {"env": {}} for pod in shown]}

    def getPod(self, _: Any, id: str) -> dict:
        if id in self.pods and not self._seen(self.pods[id], self.get_lag):
            raise Refusal(404, "not found")
        return super().getPod(_, id)

    def createPod(self, body: dict) -> dict:
        try:
            pod = super().createPod(body)
        except Refusal as refusal:
            raise self._no_gpu(refusal) from None
        self._made[pod["id"]] = self.clock.now
        pod["cost"] = self.prices.get(pod["gpu"]["id"], pod["cost"])
        if self.start_seconds:
            self._starts(pod)
        return pod

    def deletePod(self, _: Any, id: str) -> None:
        if id in self.pods and not self._seen(self.pods[id], self.get_lag):
            raise Refusal(404, "not found")
        if self.deaf_deletes:
            self.deaf_deletes -= 1
            self._known(self.pods, id)
            return
        super().deletePod(_, id)

    def podAction(self, body: dict, id: str) -> dict | None:
        pod = self._known(self.pods, id)
        if body["action"] not in pod["actions"]:
            raise Refusal(409, f"cannot {body['action']} a pod that is {pod['status']}")
        if self.deaf:
            self.deaf -= 1
            return pod
        if body["action"] == "stop" and self.stop_seconds:
            self._later(self.stop_seconds, lambda: id in self.pods and self._act(body, id))
            return pod
        try:
            super().podAction(body, id)
        except Refusal as refusal:
            raise self._no_gpu(refusal) from None
        if body["action"] == "start":
            pod["cost"] = self.prices.get(pod["gpu"]["id"], pod["cost"])
            if self.start_seconds:
                pod.update(status="EXITED", actions=_ACTIONS["EXITED"], runtime=None)
                self._later(self.start_seconds, lambda: self._starts(pod))
        return pod

    def listNetworkVolumes(self, _: Any) -> dict:
        return {"networkVolumes": [each for each in self.volumes.values() if self._seen(each, self.list_lag)]}

    def createNetworkVolume(self, body: dict) -> dict:
        volume = super().createNetworkVolume(body)
        self._made[volume["id"]] = self.clock.now
        return volume

    def deleteNetworkVolume(self, _: Any, id: str) -> None:
        self._known(self.volumes, id)
        if any(id in str(pod["mounts"]) for pod in self.live()):
            raise Refusal(400, "the network volume is attached to a pod")
        del self.volumes[id]

    def _seen(self, made: dict, lag: float) -> bool:
        return self._made.get(made["id"], 0.0) + lag <= self.clock.now

    def _starts(self, pod: dict) -> None:
        self._become(pod, "PROVISIONING")
        self._later(self.start_seconds, lambda: self._become(pod, "STARTING", "PROVISIONING"))
        self._later(2 * self.start_seconds, lambda: self._become(pod, "RUNNING", "STARTING"))

    @staticmethod
    def _become(pod: dict, status: str, before: str = "") -> None:
        if not before or pod["status"] == before:
            pod.update(status=status, actions=_ACTIONS[status])

    def _act(self, body: dict, id: str) -> None:
        if body["action"] in self.pods[id]["actions"]:
            super().podAction(body, id)

    def _later(self, seconds: float, do: Any) -> None:
        self._due.append((self.clock.now + seconds, do))

    def _no_gpu(self, refusal: Refusal) -> Refusal:
        lost = refusal.detail == NO_CAPACITY or "free GPUs" in refusal.detail
        return Refusal(self.no_gpu_status, refusal.detail) if lost else refusal

    def _effect(self, fault: Fault, operation: str, body: Any, parts: dict[str, str]) -> None:
        if fault.late:
            self._later(fault.late, lambda: self._carry_out(operation, body, parts))
        else:
            super()._effect(fault, operation, body, parts)

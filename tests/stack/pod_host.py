"""A RunPod whose pods are real: it pulls the template's image and runs it in the engine of this machine."""

import shutil
import subprocess
from typing import Any

import httpx
import pytest

from tests.contract.fake_runpod import FakeRunPod, Refusal

POD_KEY = "key-that-only-the-pod-has"
_PREFIX = "labelpod-test-"


class PodHost(FakeRunPod):
    """The service on an address that containers reach; network volumes are Docker's."""

    def createPod(self, body: dict) -> dict:
        pod = super().createPod(body)
        docker("pull", "-q", pod["image"])
        words = ["run", "--detach", "--name", _PREFIX + pod["id"]]
        for port in pod["ports"]:
            words += ["--publish", f"127.0.0.1::{port.partition('/')[0]}"]
        for mount in pod["mounts"].get("network", []):
            words += ["--volume", f"{_PREFIX}{mount['volumeId']}:{mount['path']}"]
        for name, value in (pod["env"] | self._own(pod)).items():
            words += ["--env", f"{name}={value}"]
        docker(*words, pod["image"])
        return pod

    def _own(self, pod: dict) -> dict[str, str]:
        """What RunPod adds, and where its own API is."""
        own = {"RUNPOD_POD_ID": pod["id"], "RUNPOD_API_KEY": POD_KEY, "WEIGHTS_WAIT": "0"}
        return own | {"RUNPOD_GRAPHQL_URL": f"{self.url}/graphql", "RUNPOD_REST_URL": f"{self.url}/v2"}

    def podAction(self, body: dict, id: str) -> dict | None:
        pod = super().podAction(body, id)
        docker(body["action"], _PREFIX + id)
        return pod

    def deletePod(self, _: Any, id: str) -> None:
        super().deletePod(_, id)
        docker("rm", "--force", "--volumes", _PREFIX + id)

    def getPodLogs(self, _: Any, id: str) -> list[str]:
        return [*super().getPodLogs(_, id), *self.log(id).splitlines()]

    def log(self, id: str) -> str:
        return docker("logs", _PREFIX + id)

    def run_in(self, id: str, *command: str) -> str:
        return docker("exec", _PREFIX + id, *command)

    def remove_everything(self) -> None:
        """Whatever a failed test has left."""
        for container in docker("ps", "--all", "--quiet", "--filter", f"name={_PREFIX}pod").split():
            docker("rm", "--force", "--volumes", container)
        for volume in self.volumes:
            subprocess.run(["docker", "volume", "rm", _PREFIX + volume], capture_output=True, check=False)

    def answer(self, method: str, target: str, key: str, body: Any) -> tuple[int, Any, dict[str, str]]:
        if target == "/graphql":
            return self._graphql(key, body)
        return super().answer(method, target, key, body)

    def _graphql(self, key: str, body: dict) -> tuple[int, Any, dict[str, str]]:
        """A pod stops itself with its own key."""
        (pod,) = self.live()
        if key != f"Bearer {POD_KEY}" or "podStop" not in body["query"] or pod["id"] not in str(body):
            return 200, {"errors": [{"message": "Not allowed"}]}, {}
        try:
            self.podAction({"action": "stop"}, pod["id"])
        except Refusal as refusal:
            return 200, {"errors": [{"message": str(refusal)}]}, {}
        return 200, {"data": {"podStop": {"id": pod["id"]}}}, {}

    def _runtime(self, pod: dict) -> dict:
        runtime = super()._runtime(pod)
        runtime["ports"][0]["public"] = self._port(pod["id"], 22)
        return runtime

    def _port(self, id: str, inside: int) -> int:
        return int(docker("port", _PREFIX + id, str(inside)).splitlines()[0].rpartition(":")[2])

    def _proxy(self, pod_id: str, inner: str, key: str) -> tuple[int, Any, dict[str, str]]:
        try:
            url = f"http://127.0.0.1:{self._port(pod_id, 8000)}/{inner}"
            answer = httpx.get(url, headers={"Authorization": key}, timeout=30)
            passed_on = {
                name: answer.headers[name] for name in ("Content-Type", "Retry-After") if name in answer.headers
            }
            return answer.status_code, answer.json(), passed_on
        except (httpx.HTTPError, ValueError, subprocess.CalledProcessError):
            return 502, "Bad gateway", {}


def need_ssh() -> None:
    if not shutil.which("ssh"):
        pytest.skip("ssh is not installed (Debian package openssh-client)")


def docker(*words: str) -> str:
    result = subprocess.run(["docker", *words], capture_output=True, text=True, check=True, timeout=900)
    return result.stdout + (result.stderr if words[0] == "logs" else "")

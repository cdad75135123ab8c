"""A Kubernetes control plane of this machine: etcd, API server, scheduler and controllers, and no kubelet."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.support.certificates import openssl
from tests.support.kubernetes import KUBECTL
from tests.support.paths import ROOT
from tests.support.ports import held_port
from tests.support.waiting import eventually

PROGRAMS = ROOT / "build" / "control-plane" / "bin"
CONTEXT = "paper"
_TOKEN = "token-of-this-test-only"
_STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}


@dataclass(frozen=True)
class ControlPlane:
    """A running one.

    Args:
        kubeconfig: for kubectl.
        api: asks the API server.

    """

    kubeconfig: Path
    api: httpx.Client

    def get(self, path: str) -> dict[str, Any]:
        return dict(self._answered(self.api.get(path)).json())

    def post(self, path: str, content: dict[str, Any]) -> None:
        self._answered(self.api.post(path, json=content))

    def patch(self, path: str, content: dict[str, Any]) -> None:
        self._answered(self.api.patch(path, json=content, headers=_STRATEGIC))

    def delete(self, path: str) -> None:
        """Delete at once, as a kubelet says that a pod is gone; what is gone already is no error."""
        answer = self.api.delete(path, params={"gracePeriodSeconds": 0})
        if answer.status_code != httpx.codes.NOT_FOUND:
            self._answered(answer)

    def pods(self, app: str = "") -> list[dict[str, Any]]:
        """All pods, or those of a component that nobody has asked to go."""
        if not app:
            return list(self.get("/api/v1/pods")["items"])
        found = self.get(f"/api/v1/namespaces/labelpod/pods?labelSelector=app={app}")["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def kubectl(self, *words: str) -> str:
        """What kubectl answers."""
        result = subprocess.run(self.command(*words), capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def command(self, *words: str) -> list[str]:
        """A command line of kubectl for this cluster."""
        return [str(KUBECTL), "--kubeconfig", str(self.kubeconfig), *words]

    @staticmethod
    def _answered(answer: httpx.Response) -> httpx.Response:
        assert answer.is_success, answer.text
        return answer


@contextmanager
def running(folder: Path) -> Iterator[ControlPlane]:
    """Start one whose data and logs are in a folder; it ends with its data."""
    etcd, peers, port = (f"127.0.0.1:{held_port()}" for _ in range(3))
    kubeconfig, tokens, key = folder / "kubeconfig", folder / "tokens.csv", folder / "accounts.key"
    kubeconfig.write_text(_kubeconfig(f"https://{port}"))
    tokens.write_text(f"{_TOKEN},admin,admin,system:masters\n")
    openssl(folder, "genrsa", "-out", str(key), "2048")
    with ExitStack() as stack:
        stored = ("--listen-client-urls", "--advertise-client-urls")
        among = ("--listen-peer-urls", "--initial-advertise-peer-urls")
        urls = [f"{option}=http://{etcd}" for option in stored] + [f"{option}=http://{peers}" for option in among]
        stack.enter_context(
            _program(
                folder, "etcd", f"--data-dir={folder / 'etcd'}", *urls, f"--initial-cluster=default=http://{peers}"
            )
        )
        stack.enter_context(
            _program(
                folder,
                "kube-apiserver",
                f"--etcd-servers=http://{etcd}",
                "--bind-address=127.0.0.1",
                f"--secure-port={port.rpartition(':')[2]}",
                f"--cert-dir={folder / 'certificates'}",
                f"--token-auth-file={tokens}",
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.0.0.0/24",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
            )
        )
        api = stack.enter_context(
            httpx.Client(
                base_url=f"https://{port}",
                verify=False,
                trust_env=False,
                headers={"Authorization": f"Bearer {_TOKEN}"},
                timeout=30,
            )
        )
        eventually(lambda: _ready(api), 60, f"the API server is ready; its log: {folder / 'kube-apiserver.log'}")
        options = (f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--port=0", "--secure-port=0")
        stack.enter_context(_program(folder, "kube-scheduler", *options))
        accounts = f"--service-account-private-key-file={key}"
        stack.enter_context(_program(folder, "kube-controller-manager", *options, accounts))
        yield ControlPlane(kubeconfig, api)


def _ready(api: httpx.Client) -> bool:
    try:
        return api.get("/readyz").is_success
    except httpx.TransportError:
        return False


@contextmanager
def _program(folder: Path, name: str, *options: str) -> Iterator[None]:
    environment = {"PATH": os.environ["PATH"], "ETCD_UNSUPPORTED_ARCH": os.uname().machine}
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            [str(PROGRAMS / name), *options], stdout=log, stderr=log, env=environment, cwd=folder
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _kubeconfig(server: str) -> str:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [{"name": CONTEXT, "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "admin", "user": {"token": _TOKEN}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": "admin"}}],
    }
    return str(yaml.safe_dump(content))

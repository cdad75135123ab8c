"""Podman in a Debian 13 of its own beside this one: it runs the pods that a cluster would, without a cluster.

It knows Deployments, ConfigMaps, Secrets and claims; Services, policies and whatever else a cluster has it does not.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from labelpod.host import package_sources
from tests.support import docker_layers
from tests.support.waiting import eventually

_PACKAGES = "podman,mount,catatonit,runc,nftables,netavark,aardvark-dns,iproute2"
_NETWORK = "labelpod"
# Its default runtime does not know the cgroups of an older kernel.
_CONFIGURATION = '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
_STORAGE = """
[storage]
driver = "overlay"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
[storage.options]
additionalimagestores = ["/images"]
"""
# In namespaces of their own: the root folder becomes the root, and all mounts are gone when the last process ends.
_ENTER = """
root="$1" layers="$2"
mount --make-rprivate /
mount --bind "$root" "$root"
mkdir -p "$root/old"
mount --bind -o ro "$layers" "$root/images/overlay"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
cd "$root"
pivot_root . old
umount -l /old
ip link set lo up
touch /run/entered
exec sleep infinity
"""
_NAMESPACES = ("--mount", "--net", "--uts", "--ipc", "--pid")


class Podman:
    """Podman that runs.

    Args:
        process: the first of its namespaces, by its id here.

    """

    def __init__(self, process: int) -> None:
        self.process = process

    def run(self, *words: str, stdin: str | None = None) -> str:
        """Run a command beside it; what it printed."""
        enter = ["nsenter", "--target", str(self.process), *_NAMESPACES, "env", "-i", "PATH=/usr/sbin:/usr/bin"]
        quiet = ["HOME=/root", "LANG=C.UTF-8", "PODMAN_IGNORE_CGROUPSV1_WARNING=1"]
        result = subprocess.run([*enter, *quiet, *words], input=stdin, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{' '.join(words)}:\n{result.stdout}{result.stderr}"
        return result.stdout

    def here(self, *words: str) -> str:
        """Run a command of this machine in its network; what it printed."""
        enter = ["nsenter", "--target", str(self.process), "--net"]
        result = subprocess.run([*enter, *words], capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{' '.join(words)}:\n{result.stdout}{result.stderr}"
        return result.stdout

    def play(self, objects: list[dict[str, Any]], *names: str) -> None:
        """Run a workload, or take a Secret; others reach its pod by these names, in the place of Services."""
        aliases = ["--network", ":".join([_NETWORK, ",".join(f"alias={name}" for name in names)])] if names else []
        self.run("podman", "kube", "play", *aliases, "-", stdin=yaml.safe_dump_all(objects))

    def logs(self, container: str) -> str:
        """What a container has said."""
        return self.run("bash", "-c", f"podman logs {container} 2>&1")

    def address(self, container: str) -> str:
        """The address of a container's pod."""
        found = json.loads(self.run("podman", "inspect", container))[0]
        infra = json.loads(self.run("podman", "pod", "inspect", found["Pod"]))
        pod = (infra[0] if isinstance(infra, list) else infra)["InfraContainerID"]
        networks: Mapping[str, Any] = json.loads(self.run("podman", "inspect", pod))[0]["NetworkSettings"]["Networks"]
        return str(networks[_NETWORK]["IPAddress"])


@contextmanager
def running(folder: Path, images: Mapping[str, str]) -> Iterator[Podman]:
    """Make a Debian with Podman, and enter it; skips where that cannot be.

    Args:
        folder: for its root and all that it stores; removed.
        images: the names that it knows them by, and Docker's.

    """
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        pytest.skip("runs Podman: needs root, and mmdebstrap of the package of that name")
    if not (sources := package_sources.debian_sources("trixie")):
        pytest.skip("apt has no Debian package source to make Debian 13 from")
    if not (layers := docker_layers.folder()):
        pytest.skip("Docker does not keep its layers for overlayfs, as Podman does")
    root = folder / "root"
    making = ["mmdebstrap", "--quiet", "--variant=apt", f"--include={_PACKAGES}", "trixie", str(root), *sources]
    subprocess.run(making, check=True)
    (root / "etc/containers/containers.conf").write_text(_CONFIGURATION)
    (root / "etc/containers/storage.conf").write_text(_STORAGE)
    docker_layers.write_store(images, layers, root / "images")
    unshare = [
        "unshare",
        *_NAMESPACES,
        "--fork",
        "--kill-child",
        "bash",
        "-euc",
        _ENTER,
        "enter",
        str(root),
        str(layers),
    ]
    with subprocess.Popen(unshare) as process:
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            eventually(lambda: children.read_text().split(), 10, "its namespaces are made")
            podman = Podman(int(children.read_text().split()[0]))
            eventually((Path(f"/proc/{podman.process}/root") / "run/entered").exists, 10, "it is in its root")
            podman.run("podman", "network", "create", _NETWORK)
            yield podman
            podman.run("podman", "pod", "rm", "--all", "--force")
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(root)

"""Whether images and packages can be had: asked of the tools that the builds use, with their own configuration."""

import re
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any

import httpx

from labelpod.doctor.machine import Machine
from labelpod.host import npm_config
from labelpod.process import run, why
from labelpod_common.doctor_report import Finding

_SECONDS = 3
_SLOW = 124  # what process.run answers for a program that took too long
_APT_HELPER = "/usr/lib/apt/apt-helper"


def registry(machine: Machine) -> list[Finding]:
    """The container registry that Docker would ask."""
    values = machine.settings
    if values.IMAGE_SOURCE == "debian":
        return [Finding("ok", "container registry", "not needed, as LABELPOD_IMAGE_SOURCE=debian says")]
    names = [values.BASE_IMAGE, values.ORTHANC_IMAGE]
    names += [values.POSTGRES_IMAGE] if values.postgres else []
    names += [values.PROMETHEUS_IMAGE] if values.monitoring else []
    names += [values.DOOR_IMAGE] if values.door else []
    hosts = sorted(set(map(_registry_host, names)))
    # Only the engine knows where the default registry is; while it does not answer there is nothing to ask.
    places = {host: urls for host in hosts if (urls := _registry_urls(host, machine.info))}
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda host: _reached(machine, host, places[host]), places))


def _reached(machine: Machine, host: str, urls: list[str]) -> Finding:
    subject, proxy = "container registry", str(machine.info.get("HttpsProxy") or "")
    # Docker does not show a proxy's login; then only this user's own proxy variables can be tried.
    with ThreadPoolExecutor() as pool:
        problems = list(pool.map(lambda url: _trouble(url, None if "@" in proxy else proxy or None), urls))
    if "" in problems:
        return Finding("ok", subject, f"{host} answers")
    if machine.settings.IMAGE_SOURCE == "auto":
        return Finding("ok", subject, f"{host} not reached, Debian packages are used")
    remedy = "check the network and Docker's proxy, or set LABELPOD_IMAGE_SOURCE=debian in .env"
    return Finding(machine.lacking, subject, f"{host} not reached: {problems[0]}", remedy)


def _registry_host(image: str) -> str:
    """Docker's rule: the first component is a registry if it looks like a host."""
    first, slash, _ = image.partition("/")
    return first if slash and (set(".:") & set(first) or first == "localhost") else "docker.io"


def _registry_urls(host: str, info: dict[str, Any]) -> list[str]:
    config = info.get("RegistryConfig") or {}
    if host == "docker.io":
        places = [*(config.get("Mirrors") or []), info.get("IndexServerAddress") or ""]
        return [f"{found[0]}/v2/" for place in places if (found := re.match(r"https?://[^/]+", place))]
    known = (config.get("IndexConfigs") or {}).get(host, {})
    local = host.partition(":")[0] in ("localhost", "127.0.0.1")
    return [f"{'https' if known.get('Secure', not local) else 'http'}://{host}/v2/"]


def _trouble(url: str, proxy: str | None) -> str:
    """What keeps `url` from answering; "" if it answers, be it by asking for a login."""
    answers: SimpleQueue[str] = SimpleQueue()

    def ask() -> None:
        try:
            # Nothing is sent, and the answer is not read: it may have no end. Docker has certificates of its own.
            with httpx.stream("GET", url, timeout=_SECONDS, verify=False, proxy=proxy) as answer:  # noqa: S501
                status = answer.status_code
            answers.put(f"it answers {status}" if status in (403, 407) or status >= 500 else "")
        except (httpx.HTTPError, httpx.InvalidURL, ImportError, ValueError) as error:
            answers.put(str(error) or type(error).__name__)

    # A name server that hangs heeds no timeout of ours; the thread is left behind.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=_SECONDS)
    except Empty:
        return f"no answer within {_SECONDS} s"


def debian(machine: Machine) -> list[Finding]:
    """The package source that mmdebstrap and the builds use."""
    subject, form = "Debian packages", "$(REPO_URI)dists/$(RELEASE)/InRelease"
    if not shutil.which("apt-get"):
        level = machine.lacking if machine.settings.IMAGE_SOURCE == "debian" else "ok"
        remedy = "" if level == "ok" else "set LABELPOD_IMAGE_SOURCE=registry in .env"
        return [Finding(level, subject, "this machine has no apt; bases come from a registry", remedy)]
    listed = run("apt-get", "indextargets", "--format", form, "Created-By: Packages", seconds=2)
    remedy = "sudo apt-get update, and fix the package sources or the proxy that it names"
    if listed.returncode != 0:
        level = "warning" if listed.returncode == _SLOW else machine.lacking  # it may only be slow
        return [Finding(level, subject, f"apt does not say its package sources: {why(listed)}", remedy)]
    if not listed.stdout.strip():
        return [Finding(machine.lacking, subject, "apt has no package source", remedy)]
    answer = _fetch_with_apt(listed.stdout.split()[0])
    if answer.returncode == 0:
        return [Finding("ok", subject, "apt's package source answers")]
    return [Finding(machine.lacking, subject, f"apt's package source not reached: {why(answer)}", remedy)]


def _fetch_with_apt(url: str) -> subprocess.CompletedProcess[str]:
    """As a build would: through apt's own proxy and with its certificates."""
    limits = [f"-oAcquire::{scheme}::Timeout={_SECONDS}" for scheme in ("http", "https")]
    with tempfile.TemporaryDirectory() as folder:
        command = [_APT_HELPER, "-oAcquire::Retries=0", *limits, "download-file", url, f"{folder}/file"]
        return run(*command, seconds=_SECONDS)


def python(machine: Machine) -> list[Finding]:
    """The index that the label server's packages come from."""
    pip = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", f"--timeout={_SECONDS}"]
    question = ["--retries=0", "index", "versions", "--ignore-requires-python", "monailabel"]
    answer = run(*pip, *question, seconds=_SECONDS)
    if answer.returncode == 0:
        return [Finding("ok", "Python packages", "pip's index answers and has monailabel")]
    message = f"pip gets no monailabel from its index: {why(answer)}"
    remedy = "check `pip config list`, the PIP_ and proxy variables and the network"
    return [Finding(machine.lacking, "Python packages", message, remedy)]


def npm(machine: Machine) -> list[Finding]:
    """The registry that the viewer comes from, if one is set: which one npm takes of itself, only npm knows."""
    if not (registry := npm_config.registry("@ohif")):
        return []
    if not (trouble := _trouble(f"{registry.rstrip('/')}/@ohif%2fapp", None)):
        return [Finding("ok", "npm packages", "npm's registry answers")]
    remedy = "check the registry in ~/.npmrc, the NPM_CONFIG_ and proxy variables and the network"
    return [Finding(machine.lacking, "npm packages", f"npm's registry not reached: {trouble}", remedy)]

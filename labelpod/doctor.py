"""Looks at the machine before anything is changed: what is missing, what will go wrong, what to do about it.

Changes nothing. Reachability is asked of the tools that the builds use, pip and apt, with their own
configuration; the container registry is the one that Docker would ask.
"""

import errno
import ipaddress
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal

import httpx

from labelpod import gpu, settings
from labelpod.errors import DeployError
from labelpod.render import LABEL_SERVER_TAG, ORTHANC_TAG
from labelpod.settings import Settings

BUILD_GIB, RUN_GIB = 30, 5
# Decimal: a machine sold with 8 GB reports a little less than 8 GiB, but more than 8 GB.
MIN_MEMORY_GB, GOOD_MEMORY_GB = 8, 16
_DOCKER_SECONDS, _NETWORK_SECONDS = 3.5, 3
_INSTALL = "`python3 deploy.py up --yes` installs it on Debian; elsewhere see https://docs.docker.com/engine/install/"
_APT_HELPER = "/usr/lib/apt/apt-helper"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; an error stops `up`. The remedy is a command or an edit, "" if ok."""

    level: Literal["ok", "warning", "error"]
    subject: str
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class _Machine:
    """What several checks need to know: the settings, the stack's name, `docker info`, and the images there are."""

    settings: Settings
    project: str
    info: dict[str, Any]
    images: frozenset[str]

    @property
    def answers(self) -> bool:
        return bool(self.info.get("ServerVersion"))

    @property
    def lacking(self) -> Literal["warning", "error"]:
        """How bad it is that images cannot be made."""
        return "warning" if {LABEL_SERVER_TAG, ORTHANC_TAG} <= self.images else "error"


def examine(settings_file: Path) -> list[Finding]:
    """Everything worth knowing of this machine, in a fixed order, within 8 seconds.

    Args:
        settings_file: `.env`; it need not exist.

    """
    values, project, findings = _settings(settings_file)
    with ThreadPoolExecutor(max_workers=16) as pool:
        info, images, gpus = pool.submit(docker_info), pool.submit(_images), pool.submit(gpu.find)
        machine = _Machine(values, project, info.result(), images.result())
        checks = (_engine, _plugins, _disk, _memory, _network, _registry, _debian, _python)
        groups = list(pool.map(lambda check: check(machine), checks))
        return [*findings, *(each for group in groups for each in group), _gpu(machine, gpus.result())]


def blocking(findings: list[Finding]) -> list[Finding]:
    """The findings that must be mended first."""
    return [finding for finding in findings if finding.level == "error"]


def text(findings: list[Finding]) -> str:
    """The findings for people."""
    lines = []
    for each in findings:
        lines.append(f"{each.level:<9}{each.subject}: {each.message}")
        if each.remedy:
            lines.append(f"{'':<9}→ {each.remedy}")
    return "\n".join(lines)


def to_json(findings: list[Finding]) -> list[dict[str, str]]:
    """The findings as JSON knows them."""
    return [asdict(finding) for finding in findings]


def free_gib(path: Path) -> float:
    """Free space in GiB where `path` is, or will be once it is made."""
    for place in (path, *path.parents):
        with suppress(OSError):
            return shutil.disk_usage(place).free / 2**30
    return 0.0


def ports(values: Settings, project: str) -> list[Finding]:
    """Whether the stack can open its ports; those that its own containers hold are its own."""
    address = values.BIND_ADDRESS
    try:
        ipaddress.IPv4Address(address)
        with socket.socket() as probe:
            probe.bind((address, 0))
    except (OSError, ValueError):
        message = f"BIND_ADDRESS={address} is not an IPv4 address of this machine"
        return [Finding("error", "network", message, "set BIND_ADDRESS in .env to 127.0.0.1 or 0.0.0.0")]
    names = ("LABEL_SERVER_PORT", "ORTHANC_PORT", "DICOM_PORT")
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda name: _port(address, name, getattr(values, name), project), names))


def port_holder(address: str, port: int) -> str | None:
    """Who listens there.

    Args:
        address: IPv4 address that the port is to be opened on.
        port: TCP port.

    Returns:
        Program and pid, "another program" if that cannot be seen, None if the port is free.

    """
    with socket.socket() as probe:
        # As servers do; otherwise a connection that ended a minute ago would hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return _listener(address, port) or "another program"
    return None


def _port(address: str, name: str, port: int, own: str) -> Finding:
    subject = f"port {port}"
    holder = port_holder(address, port)
    if holder is None:
        return Finding("ok", subject, f"free, for {name}")
    form = '{{.Names}} {{.Label "com.docker.compose.project"}}'
    listed = _run("docker", "ps", "--filter", f"publish={port}", "--format", form, seconds=_NETWORK_SECONDS)
    for container, _, project in (line.partition(" ") for line in listed.stdout.splitlines()):
        if project == own:
            return Finding("ok", subject, f"held by this stack's own {container}")
        holder = f"container {container}"
    return Finding("error", subject, f"taken by {holder}", f"stop it, or set {name} in .env to another port")


def _listener(address: str, port: int) -> str | None:
    sockets = {f"socket:[{inode}]" for inode in _listening(address, port)}
    for process in Path("/proc").glob("[0-9]*"):
        if sockets & set(_open_files(process)):
            with suppress(OSError):  # it may have ended
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None


def _listening(address: str, port: int) -> Iterator[str]:
    """Inodes of the sockets that listen there, from the kernel's tables for IPv4 and IPv6."""
    wanted = ipaddress.IPv4Address(address).packed[::-1].hex().upper()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            _, local, _, state, *rest = line.split()
            place, _, number = local.partition(":")
            anywhere = not place.strip("0") or not wanted.strip("0")
            if state == "0A" and int(number, 16) == port and (anywhere or place.endswith(wanted)):
                yield rest[5]


def _open_files(process: Path) -> Iterator[str]:
    with suppress(OSError):  # another user's process shows nothing
        for file in (process / "fd").iterdir():
            with suppress(OSError):
                yield str(file.readlink())


def _settings(path: Path) -> tuple[Settings, str, list[Finding]]:
    findings = []
    values, project = Settings.model_validate({}), "labelpod"
    try:
        values, project = settings.load(path), settings.project(path)
    except DeployError as error:
        findings.append(Finding("error", "settings", error.message, error.remedy))
    if path.exists() and path.stat().st_mode & 0o077:
        message = f"{path.name} holds passwords and other users can open it"
        findings.append(Finding("warning", "settings", message, f"chmod 600 {path.name}"))
    good = f"{path.name} is in order" if path.exists() else f"no {path.name} yet; `up` makes it"
    return values, project, findings or [Finding("ok", "settings", good)]


def _engine(machine: _Machine) -> list[Finding]:
    subject, version = "Docker engine", str(machine.info.get("ServerVersion", ""))
    problem = str(machine.info.get("problem", ""))
    if not shutil.which("docker"):
        return [Finding("error", subject, "Docker is not installed", _INSTALL)]
    if "permission denied" in problem.lower():
        remedy = "sudo usermod -aG docker $USER, then log out and in again"
        return [Finding("error", subject, "this user may not use Docker: permission denied", remedy)]
    if not machine.answers:
        remedy = "`sudo systemctl start docker`, or `python3 deploy.py up --yes`, which starts it"
        return [Finding("error", subject, f"Docker does not answer: {problem}", remedy)]
    return [_at_least(subject, version, (23, 0))]


def _plugins(machine: _Machine) -> list[Finding]:
    plugins = (machine.info.get("ClientInfo") or {}).get("Plugins") or []
    versions = {plugin.get("Name"): str(plugin.get("Version", "")) for plugin in plugins}
    return [
        _at_least("Docker Compose", versions.get("compose", ""), (2, 20)),
        _at_least("Docker Buildx", versions.get("buildx", ""), (0, 10)),
    ]


def _at_least(subject: str, version: str, needed: tuple[int, int]) -> Finding:
    wanted = ".".join(map(str, needed))
    found = re.search(r"(\d+)\.(\d+)", version)
    if not found:
        return Finding("error", subject, f"not installed; {wanted} or newer is needed", _INSTALL)
    if tuple(map(int, found.groups())) < needed:
        return Finding("error", subject, f"{version} is too old; {wanted} or newer is needed", _INSTALL)
    return Finding("ok", subject, version)


def _disk(machine: _Machine) -> list[Finding]:
    root = Path(machine.info.get("DockerRootDir") or "/")
    built = LABEL_SERVER_TAG in machine.images
    needs, has = RUN_GIB if built else BUILD_GIB, free_gib(root)
    message = f"{root}: needs {needs} GB, has {has:.1f} GB free"
    if has >= needs:
        return [Finding("ok", "disk space", message)]
    remedy = "free space there; `docker system df` shows what Docker holds, `docker system prune` frees it"
    return [Finding("error", "disk space", message, remedy)]


def _memory(machine: _Machine) -> list[Finding]:
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    has = (machine.info.get("MemTotal") or pages) / 1e9
    message = f"needs {MIN_MEMORY_GB} GB, better {GOOD_MEMORY_GB} GB; has {has:.1f} GB"
    if has >= GOOD_MEMORY_GB:
        return [Finding("ok", "memory", message)]
    level: Literal["warning", "error"] = "warning" if has >= MIN_MEMORY_GB else "error"
    remedy = "use a machine with more memory, or serve fewer MODELS in .env"
    return [Finding(level, "memory", message, remedy)]


def _network(machine: _Machine) -> list[Finding]:
    return ports(machine.settings, machine.project)


def _gpu(machine: _Machine, found: list[gpu.Gpu]) -> Finding:
    device, runtime = machine.settings.DEVICE, gpu.runtime_available(machine.info)
    if found and device != "cpu" and not machine.answers:
        return Finding("ok", "GPU", f"{found[0]}; whether containers can use it shows once Docker answers")
    try:
        choice = gpu.choose(device, found, runtime)
    except DeployError as error:
        return Finding("error", "GPU", error.message, error.remedy)
    if choice.warning:
        return Finding("warning", "GPU", choice.warning, "set DEVICE=cpu in .env if memory runs out")
    if found and not choice.use_gpu and device == "auto":
        problem = gpu.obstacle(found, runtime)
        remedy = problem.remedy if problem else "set DEVICE=gpu in .env to use it all the same"
        return Finding("warning", "GPU", choice.reason, remedy)
    return Finding("ok", "GPU", choice.reason)


def _registry(machine: _Machine) -> list[Finding]:
    values = machine.settings
    if values.IMAGE_SOURCE == "debian":
        return [Finding("ok", "container registry", "not needed, as IMAGE_SOURCE=debian says")]
    hosts = sorted({_registry_host(values.BASE_IMAGE), _registry_host(values.ORTHANC_IMAGE)})
    # Only the engine knows where the default registry is; while it does not answer there is nothing to ask.
    places = {host: urls for host in hosts if (urls := _registry_urls(host, machine.info))}
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda host: _reached(machine, host, places[host]), places))


def _reached(machine: _Machine, host: str, urls: list[str]) -> Finding:
    subject, proxy = "container registry", str(machine.info.get("HttpsProxy") or "")
    # Docker does not show a proxy's login; then only this user's own proxy variables can be tried.
    with ThreadPoolExecutor() as pool:
        problems = list(pool.map(lambda url: _trouble(url, None if "@" in proxy else proxy or None), urls))
    if "" in problems:
        return Finding("ok", subject, f"{host} answers")
    if machine.settings.IMAGE_SOURCE == "auto":
        return Finding("ok", subject, f"{host} not reached, Debian packages are used")
    remedy = "check the network and Docker's proxy, or set IMAGE_SOURCE=debian in .env"
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
            # Nothing is sent and nothing of the answer is used; Docker has certificates of its own.
            status = httpx.get(url, timeout=_NETWORK_SECONDS, verify=False, proxy=proxy).status_code  # noqa: S501
            answers.put(f"it answers {status}" if status in (403, 407) or status >= 500 else "")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            answers.put(str(error) or type(error).__name__)

    # A name server that hangs heeds no timeout of ours; the thread is left behind.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=_NETWORK_SECONDS)
    except Empty:
        return f"no answer within {_NETWORK_SECONDS} s"


def _debian(machine: _Machine) -> list[Finding]:
    subject, form = "Debian packages", "$(REPO_URI)dists/$(RELEASE)/InRelease"
    if not shutil.which("apt-get"):
        level = machine.lacking if machine.settings.IMAGE_SOURCE == "debian" else "ok"
        remedy = "" if level == "ok" else "set IMAGE_SOURCE=registry in .env"
        return [Finding(level, subject, "this machine has no apt; bases come from a registry", remedy)]
    listed = _run("apt-get", "indextargets", "--format", form, "Created-By: Packages", seconds=2)
    remedy = "sudo apt-get update, and mend the package sources or the proxy that it names"
    if not listed.stdout.strip():
        return [Finding(machine.lacking, subject, "apt has no package source", remedy)]
    answer = _fetch_with_apt(listed.stdout.split()[0])
    if answer.returncode == 0:
        return [Finding("ok", subject, "apt's package source answers")]
    return [Finding(machine.lacking, subject, f"apt's package source not reached: {_why(answer)}", remedy)]


def _fetch_with_apt(url: str) -> subprocess.CompletedProcess[str]:
    """As a build would: through apt's own proxy and with its certificates."""
    limits = [f"-oAcquire::{scheme}::Timeout={_NETWORK_SECONDS}" for scheme in ("http", "https")]
    with tempfile.TemporaryDirectory() as folder:
        command = [_APT_HELPER, "-oAcquire::Retries=0", *limits, "download-file", url, f"{folder}/file"]
        return _run(*command, seconds=_NETWORK_SECONDS)


def _python(machine: _Machine) -> list[Finding]:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", f"--timeout={_NETWORK_SECONDS}"]
    question = ["--retries=0", "index", "versions", "--ignore-requires-python", "monailabel"]
    answer = _run(*pip, *question, seconds=_NETWORK_SECONDS)
    if answer.returncode == 0:
        return [Finding("ok", "Python packages", "pip's index answers and has monailabel")]
    message = f"pip gets no monailabel from its index: {_why(answer)}"
    remedy = "check `pip config list`, the PIP_ and proxy variables and the network"
    return [Finding(machine.lacking, "Python packages", message, remedy)]


def docker_info() -> dict[str, Any]:
    """What `docker info` says; why the engine does not answer stands under "problem"."""
    answer = _run("docker", "info", "--format", "{{json .}}", seconds=_DOCKER_SECONDS)
    info: dict[str, Any] = {}
    with suppress(ValueError):
        info = json.loads(answer.stdout)
    return info | {"problem": " ".join(info.get("ServerErrors") or [_why(answer)])}


def _images() -> frozenset[str]:
    command = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]
    return frozenset(_run(*command, seconds=_DOCKER_SECONDS).stdout.split())


def _why(answer: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in answer.stderr.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("E: Failed", "Err"))] or lines[-1:]
    return telling[0] if telling else f"exit status {answer.returncode}"


def _run(*command: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """A command's answer; absent and hanging ones answer 127 and 124, as in a shell."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error.strerror))
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer within {seconds} s")

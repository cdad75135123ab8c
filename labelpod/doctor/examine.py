"""Looks at the machine before anything is changed: what is missing, what will go wrong, what to do about it.

Changes nothing.
"""

import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from labelpod.config import contradictions, settings
from labelpod.config.settings import Settings
from labelpod.docker import engine, ownership
from labelpod.docker.info import docker_info, image_names
from labelpod.docker.tags import LABEL_SERVER_TAG
from labelpod.doctor import file_checks, network_checks, source_checks
from labelpod.doctor.machine import Machine
from labelpod.errors import DeployError
from labelpod.host import gpu
from labelpod.project import Project
from labelpod_common import label_codes, labels
from labelpod_common.doctor_report import Finding

BUILD_GIB, RUN_GIB = 30, 5
# Decimal: a machine sold with 8 GB reports a little less than 8 GiB, but more than 8 GB.
MIN_MEMORY_GB, GOOD_MEMORY_GB = 8, 16
_INSTALL = "`python3 deploy.py up --yes` installs it on Debian; elsewhere see https://docs.docker.com/engine/install/"


def examine(settings_file: Path) -> list[Finding]:
    """Everything worth knowing of this machine, in a fixed order, within 8 seconds.

    Args:
        settings_file: `.env`; it need not exist.

    """
    return _examine(settings_file, lambda machine: True)


def obstacles(settings_file: Path) -> list[Finding]:
    """Errors only. Skips the checks of package sources if all images exist."""
    return blocking(_examine(settings_file, lambda machine: machine.lacking == "error"))


def _labels(machine: Machine) -> list[Finding]:
    """Which DICOM code each label has."""
    listed = labels.parse(machine.settings.LABELS)
    kinds: dict[str, list[str]] = {}
    for label in listed:
        kinds.setdefault(label_codes.of(label, listed)[1].meaning, []).append(label.name)
    generic = kinds.pop(label_codes.TISSUE.meaning, [])
    told = "; ".join(f"{', '.join(names)}: {meaning}" for meaning, names in kinds.items())
    found = [Finding("ok", "labels", f"stored as {told}")] if told else []
    if generic:
        message = f"{', '.join(generic)}: no DICOM code is known, stored as {label_codes.TISSUE.meaning}"
        remedy = "write a code behind the class in LABELPOD_LABELS, as in name:1:SCT-27925004, or name:1:nodule"
        found.append(Finding("warning", "labels", message, remedy))
    return found


def _examine(settings_file: Path, ask_sources: Callable[[Machine], bool]) -> list[Finding]:
    values, project, findings = _settings(settings_file)
    with ThreadPoolExecutor(max_workers=16) as pool:
        info, images, gpus = pool.submit(docker_info), pool.submit(image_names), pool.submit(gpu.find)
        machine = Machine(values, settings_file.parent, project, info.result(), images.result())
        asked = (source_checks.registry, source_checks.debian, source_checks.python, source_checks.npm)
        sources = asked if ask_sources(machine) else ()
        checks = (_engine, _plugins, _owner, _disk, _memory, _labels, network_checks.check, *sources)
        files = pool.submit(file_checks.check, settings_file.parent, values)
        groups = list(pool.map(lambda check: check(machine), checks))
        return [*findings, *files.result(), *(each for group in groups for each in group), _gpu(machine, gpus.result())]


def blocking(findings: list[Finding]) -> list[Finding]:
    """The findings that must be fixed first."""
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


def _settings(path: Path) -> tuple[Settings, str, list[Finding]]:
    findings = []
    values, project = Settings.model_validate({}), "labelpod"
    try:
        project = settings.compose_project(path)
        values = settings.load(path)
        for contradiction in contradictions.on_one_machine(dict(values), settings.PREFIX, path.name):
            findings.append(Finding("warning", "settings", *contradiction))
    except DeployError as error:
        findings.append(Finding("error", "settings", error.message, error.remedy))
        with suppress(DeployError):  # the rest is judged by what can be read
            values = settings.load(path, tolerant=True)
    if path.exists() and path.stat().st_mode & 0o077:
        message = f"{path.name} holds passwords and other users can open it"
        findings.append(Finding("warning", "settings", message, f"chmod 600 {path.name}"))
    good = f"{path.name} is in order" if path.exists() else f"no {path.name} yet; `up` makes it"
    return values, project, findings or [Finding("ok", "settings", good)]


def _engine(machine: Machine) -> list[Finding]:
    subject, version = "Docker engine", str(machine.info.get("ServerVersion", ""))
    problem = str(machine.info.get("problem", ""))
    if not shutil.which("docker"):
        return [Finding("error", subject, "Docker is not installed", _INSTALL)]
    if "permission denied" in problem.lower():
        remedy = "sudo usermod -aG docker $USER, then log out and in again"
        return [Finding("error", subject, "this user may not use Docker: permission denied", remedy)]
    if unfit := engine.unfit(machine.info):
        return [Finding("error", subject, *unfit)]
    if not machine.answers and (choice := engine.chosen(machine.info)):
        remedy = f"start that engine; or, for this machine's own, {choice[1]}"
        return [Finding("error", subject, f"{choice[0]} does not answer: {problem}", remedy)]
    if not machine.answers:
        remedy = "`sudo systemctl start docker`, or `python3 deploy.py up --yes`, which starts it"
        return [Finding("error", subject, f"Docker does not answer: {problem}", remedy)]
    untried = [Finding("warning", subject, *words) for words in engine.untried(machine.info)]
    return [_at_least(subject, version, (23, 0)), *untried]


def _plugins(machine: Machine) -> list[Finding]:
    plugins = (machine.info.get("ClientInfo") or {}).get("Plugins") or []
    versions = {plugin.get("Name"): str(plugin.get("Version", "")) for plugin in plugins}
    return [
        _at_least("Docker Compose", versions.get("compose", ""), (2, 20)),
        _at_least("Docker Buildx", versions.get("buildx", ""), (0, 10)),
    ]


def _owner(machine: Machine) -> list[Finding]:
    """Whether another folder has the stack of this name, be it stopped."""
    try:
        if machine.answers:
            ownership.check(machine.project, Project(machine.folder))
    except DeployError as error:
        return [Finding("error", "stack", error.message, error.remedy)]
    return []


def _at_least(subject: str, version: str, needed: tuple[int, int]) -> Finding:
    wanted = ".".join(map(str, needed))
    found = re.search(r"(\d+)\.(\d+)", version)
    if not found:
        return Finding("error", subject, f"not installed; {wanted} or newer is needed", _INSTALL)
    if tuple(map(int, found.groups())) < needed:
        return Finding("error", subject, f"{version} is too old; {wanted} or newer is needed", _INSTALL)
    return Finding("ok", subject, version)


def _disk(machine: Machine) -> list[Finding]:
    root = Path(machine.info.get("DockerRootDir") or "/")
    built = LABEL_SERVER_TAG in machine.images
    needs, has = RUN_GIB if built else BUILD_GIB, free_gib(root)
    message = f"{root}: needs {needs} GB, has {has:.1f} GB free"
    if has >= needs:
        return [Finding("ok", "disk space", message)]
    remedy = "free space there; `docker system df` shows what Docker holds, `docker system prune` frees it"
    return [Finding("error", "disk space", message, remedy)]


def _memory(machine: Machine) -> list[Finding]:
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    has = (machine.info.get("MemTotal") or pages) / 1e9
    message = f"needs {MIN_MEMORY_GB} GB, better {GOOD_MEMORY_GB} GB; has {has:.1f} GB"
    if has >= GOOD_MEMORY_GB:
        return [Finding("ok", "memory", message)]
    level: Literal["warning", "error"] = "warning" if has >= MIN_MEMORY_GB else "error"
    remedy = "use a machine with more memory, or serve fewer LABELPOD_MODELS in .env"
    return [Finding(level, "memory", message, remedy)]


def _gpu(machine: Machine, found: list[gpu.Gpu]) -> Finding:
    device, runtime = machine.settings.DEVICE, gpu.runtime_available(machine.info)
    if found and device != "cpu" and not machine.answers:
        return Finding("ok", "GPU", f"{found[0]}; whether containers can use it shows once Docker answers")
    try:
        choice = gpu.choose(device, found, runtime)
    except DeployError as error:
        return Finding("error", "GPU", error.message, error.remedy)
    if choice.warning:
        return Finding("warning", "GPU", choice.warning, "set LABELPOD_DEVICE=cpu in .env if memory runs out")
    if found and not choice.use_gpu and device == "auto":
        problem = gpu.obstacle(found, runtime)
        remedy = problem.remedy if problem else "set LABELPOD_DEVICE=gpu in .env to use it anyway"
        return Finding("warning", "GPU", choice.reason, remedy)
    return Finding("ok", "GPU", choice.reason)

"""`deploy.py test`: the tests, in tiers, with what they need: an engine, and some of Debian's packages."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time

from labelpod.config.settings import PREFIX, Settings
from labelpod.console import confirmed, say
from labelpod.errors import DeployError
from labelpod.host import apt, docker_install
from labelpod.project import Project

# In the order in which they run: what is quick to fail comes first.
TIERS = {
    "unit": "settings, rendering, DICOM checks and code style; no engine",
    "contract": "what the files promise each other; no engine",
    "image": "what must be true of the built images",
    "stack": "the running stack, with a throw-away Orthanc",
    "clients": "3D Slicer's core with the MONAI Label plugins as shipped, at a running stack",
    "kubernetes": "a real API server with nodes of paper, and the programs of other clouds; not by default",
}
DEFAULT = [tier for tier in TIERS if tier != "kubernetes"]
# They need no engine, start nothing that could be in another's way, and run on all cores.
_SIDE_BY_SIDE = {"unit", "contract"}
_WITHOUT_ENGINE = {*_SIDE_BY_SIDE, "kubernetes"}
# Program -> Debian package. Tests that miss one skip, and say so.
_PROGRAMS = {name: name for name in ("shellcheck", "docker-registry", "chromium", "firefox-esr", "openssl")} | {
    "Xvfb": "xvfb",
    "promtool": "prometheus",
    "dcmsend": "dcmtk",
    "ssh": "openssh-client",
    "dciodvfy": "dicom3tools",
    "haproxy": "haproxy",
}
# Where Debian has programs that not everybody's PATH names.
_PLACES = f"{os.environ.get('PATH', '')}:/usr/sbin"


def run(project: Project, tiers: list[str], yes: bool) -> int:
    """Run the tiers, those of DEFAULT by default.

    Returns:
        pytest's exit code; "no test ran" counts as a failure.

    """
    if unknown := [tier for tier in tiers if tier not in TIERS]:
        raise DeployError(f"there is no test tier {unknown[0]!r}", f"one of: {', '.join(TIERS)}")
    if importlib.util.find_spec("pytest") is None:
        raise DeployError("the tests' packages are not installed here", "python3 deploy.py test --yes")
    chosen = [tier for tier in TIERS if tier in (tiers or DEFAULT)]
    _install_programs(yes)
    if not _WITHOUT_ENGINE.issuperset(chosen):
        _start_engine(yes)
    started = time.monotonic()
    code = _pytest(project, [tier for tier in chosen if tier in _SIDE_BY_SIDE], "-n", "auto")
    code = code or _pytest(project, [tier for tier in chosen if tier not in _SIDE_BY_SIDE])
    say(f"Tests took {time.monotonic() - started:.0f} s")
    return code


def _pytest(project: Project, tiers: list[str], *options: str) -> int:
    if not tiers:
        return 0
    command = [sys.executable, "-m", "pytest", *options, *(str(project.root / "tests" / tier) for tier in tiers)]
    return subprocess.run(command, cwd=project.root, env=_clean_environment(), check=False).returncode


def _clean_environment() -> dict[str, str]:
    """The user's own settings must not decide what the tests see."""
    return {key: value for key, value in os.environ.items() if key.removeprefix(PREFIX) not in Settings.model_fields}


def _install_programs(yes: bool) -> None:
    missing = [package for program, package in _PROGRAMS.items() if not shutil.which(program, path=_PLACES)]
    if not missing or not apt.usable():
        return
    if not confirmed(f"Some tests need {', '.join(missing)}. Install them with apt-get?", yes):
        return
    try:
        apt.install(*missing)
    except DeployError as error:
        say(f"{error.message}; the tests that need {', '.join(missing)} skip")


def _start_engine(yes: bool) -> None:
    try:
        docker_install.ensure(yes)
    except DeployError as error:
        say(f"{error.message}: {error.remedy}; the tests that need Docker Engine skip")

#!/usr/bin/env python3
"""Starts labelpod: makes .venv from the locked packages where it is missing or old, then hands over to labelpod.

Standard library only, because this runs before anything is installed.
"""

# An old Python must get as far as being refused: before 3.9 it cannot evaluate `list[str]`.
from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
OLDEST = (3, 11)
STARTED_IN = "LABELPOD_STARTED_IN"


class CannotStart(Exception):
    """What is missing, and what to type."""


def main(arguments: list[str]) -> None:
    """Bring .venv up to date and replace this process by the driver."""
    if sys.version_info < OLDEST:
        raise CannotStart(f"Python {sys.version.split()[0]} is too old", "run this with Python 3.11, 3.12 or 3.13")
    locks = [ROOT / "requirements.lock"]
    if _verb(arguments) == "test" and not {"-h", "--help"} & set(arguments):
        locks.append(ROOT / "tests" / "requirements.lock")
    _update(locks, yes="--yes" in arguments)
    python = VENV / "bin" / "python"
    # The driver is imported from its own folder, whatever lies in the user's, and then goes back there.
    os.environ[STARTED_IN] = _folder()
    os.chdir(ROOT)
    os.execv(python, [str(python), "-m", "labelpod", *arguments])


def _folder() -> str:
    """Where the user stands, which relative paths begin at."""
    try:
        return str(Path.cwd())
    except OSError:
        raise CannotStart("the folder that you are in is gone", "cd to another one, then run this again") from None


def _verb(arguments: list[str]) -> str:
    return next((word for word in arguments if not word.startswith("-")), "")


def _update(locks: list[Path], yes: bool) -> None:
    """Install the locks that .venv does not carry the mark of; an interrupted install is done again."""
    # pip comes last: where it is missing, making .venv was interrupted.
    if not all((VENV / "bin" / name).exists() for name in ("python", "pip")):
        _make_venv(yes)
    for lock in locks:
        mark = VENV / f"{lock.parent.name if lock.parent != ROOT else 'driver'}.installed"
        digest = hashlib.sha256(lock.read_bytes()).hexdigest()
        if not mark.exists() or mark.read_text() != digest:
            _say(f"Installing the packages of {lock.relative_to(ROOT)} into .venv (once)")
            mark.unlink(missing_ok=True)
            _install(lock)
            mark.write_text(digest)


def _make_venv(yes: bool) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        _install_venv_module(yes)
    _say("Making .venv (once)")
    shutil.rmtree(VENV, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(VENV)], "check the disk and the rights on this folder, then run this again")


def _install_venv_module(yes: bool) -> None:
    """Debian splits Python's venv module off into a package of its own."""
    command = ["apt-get", "install", "-qy", "--no-install-recommends", "python3-venv"]
    remedy = f"run: sudo {' '.join(command)}"
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise CannotStart("this Python has no venv module", remedy)
    if not yes:
        if not sys.stdin.isatty():
            raise CannotStart("this Python has no venv module; --yes would install it", remedy)
        if input(f"Python's venv module is missing. Run `{' '.join(command)}`? [y/N] ").lower() not in ("y", "yes"):
            raise CannotStart("this Python has no venv module", remedy)
    _say("Installing python3-venv")
    _run(["apt-get", "update", "-q"], "fix apt's package sources")
    _run(command, remedy)


def _install(lock: Path) -> None:
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    without_dependencies = lock.with_name("no-deps.lock")
    remedy = "check the network, pip's index and proxy (`pip config list`), then run this again"
    _run([*pip, "--require-hashes", "-r", str(lock)], remedy)
    if without_dependencies.exists() and lock.parent != ROOT:
        _run([*pip, "--require-hashes", "--no-deps", "-r", str(without_dependencies)], remedy)


def _run(command: list[str], remedy: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        lines = [line for line in (result.stderr or result.stdout).splitlines() if line.strip()]
        reason = lines[-1].strip() if lines else f"exit code {result.returncode}"
        raise CannotStart(f"{' '.join(command[:5])} failed: {reason}", remedy)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except CannotStart as error:
        message, remedy = error.args
        sys.exit(f"Error: {message}\n       {remedy}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; run the same command again to go on.")

"""Makes .venv from the locked packages where it is missing or old, then hands over to the driver.

Standard library only, because this runs before anything is installed.
"""

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STARTED_IN = "LABELPOD_STARTED_IN"
INTERRUPTED = 130


class CannotStart(Exception):
    """What is missing, and what to type."""


def start(arguments: list[str]) -> int:
    """Hand over to the driver; if that cannot be, say why.

    Returns:
        1 an error that the user can fix, 130 interrupted.

    """
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        main(arguments)
    except CannotStart as error:
        message, remedy = error.args
        _say(f"Error: {message}\n       {remedy}")
    except OSError as error:
        _say(f"Error: {error.filename or VENV}: {error.strerror}\n       check the disk and the rights on {ROOT}")
    except KeyboardInterrupt:
        _say("\nInterrupted; run the same command again to go on.")
        return INTERRUPTED
    return 1


def main(arguments: list[str]) -> None:
    """Bring .venv up to date and replace this process by the driver."""
    if os.pathsep in str(ROOT):
        raise CannotStart(f"Python and Docker cannot work in a folder with {os.pathsep!r} in its path", f"move {ROOT}")
    locks = [ROOT / "requirements.lock"]
    if _verb(arguments) == "test" and not {"-h", "--help"} & set(arguments):
        locks.append(ROOT / "tests" / "requirements.lock")
    _update(locks, yes="--yes" in arguments)
    python = VENV / "bin" / "python"
    # The driver is imported from its own folder, whatever lies in the user's, and then goes back there.
    os.environ[STARTED_IN] = _folder()
    os.chdir(ROOT)
    # It would keep Python from finding the driver in this folder.
    os.environ.pop("PYTHONSAFEPATH", None)
    options = ["-B"] if _for_another() else []  # root's bytecode would be in the user's way
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # until the driver can answer it
    os.execv(python, [str(python), *options, "-m", "labelpod", *arguments])


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
    if not _whole():
        _make_venv(yes)
    for lock in locks:
        mark = VENV / f"{lock.parent.name if lock.parent != ROOT else 'driver'}.installed"
        digest = hashlib.sha256(lock.read_bytes()).hexdigest()
        if not mark.exists() or mark.read_text() != digest:
            _say(f"Installing the packages of {lock.relative_to(ROOT)} into .venv (once)")
            mark.unlink(missing_ok=True)
            _install(lock)
            mark.write_text(digest)
            if user := _for_another():
                os.chown(mark, user["user"], user["group"])


def _whole() -> bool:
    """Whether .venv is there, can be run, and was made by this version of Python."""
    try:
        configuration = (VENV / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
        # pip comes last: where it is missing, making .venv was interrupted.
        there = all((VENV / "bin" / name).exists() for name in ("python", "pip"))
    except OSError:
        return False
    made_by = re.search(r"^version\w* = (\d+)\.(\d+)", configuration, flags=re.MULTILINE)
    return there and made_by is not None and tuple(map(int, made_by.groups())) == sys.version_info[:2]


def _make_venv(yes: bool) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        _install_venv_module(yes)
    _check_python()
    _say("Making .venv (once)")
    if VENV.is_symlink():  # what it leads to is somebody else's
        VENV.unlink()
    shutil.rmtree(VENV, ignore_errors=True)
    remedy = "check the disk and the rights on this folder, then run this again"
    if VENV.exists() and not os.access(VENV, os.W_OK):
        owner = VENV.stat().st_uid
        raise CannotStart(f".venv belongs to another user (number {owner})", f"sudo rm -r {VENV}")
    _run([sys.executable, "-m", "venv", str(VENV)], remedy, **_for_another())


def _for_another() -> dict[str, Any]:
    """The user whose folder this is, if root works in it, as under sudo: what is made here must be theirs."""
    status = ROOT.stat()
    if os.geteuid() != 0 or status.st_uid == 0:
        return {}
    return {"user": status.st_uid, "group": status.st_gid, "extra_groups": []}


def _check_python() -> None:
    """Refuse a Python that only root can run."""
    user = _for_another()
    if not user:
        return
    try:
        subprocess.run([sys.executable, "-c", ""], check=True, cwd="/", stderr=subprocess.DEVNULL, **user)
    except (OSError, subprocess.CalledProcessError):
        raise CannotStart(
            f"the owner of this folder (user number {user['user']}) cannot run {sys.executable}",
            "run this with a Python for everybody: sudo /usr/bin/python3 deploy.py ...",
        ) from None


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
    _run([*pip, "--require-hashes", "-r", str(lock)], remedy, **_for_another())
    if without_dependencies.exists() and lock.parent != ROOT:
        _run([*pip, "--require-hashes", "--no-deps", "-r", str(without_dependencies)], remedy, **_for_another())


def _run(command: list[str], remedy: str, **user: Any) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if user:
        environment["HOME"] = _home(user["user"])
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **user)
    if result.returncode != 0:
        lines = [line for line in (result.stderr or result.stdout).splitlines() if line.strip()]
        reason = lines[-1].strip() if lines else f"exit code {result.returncode}"
        raise CannotStart(f"{' '.join(command[:5])} failed: {reason}", remedy)


def _home(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return "/"


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)

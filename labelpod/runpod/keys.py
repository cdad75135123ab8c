"""The SSH key that pods accept: made on first use, only for pods."""

import shutil
from pathlib import Path

from labelpod import files, process
from labelpod.errors import DeployError

PRIVATE = "runpod_ssh_key"


def public_key(folder: Path) -> str:
    """The public half, in OpenSSH's one line.

    Raises:
        DeployError: ssh-keygen is missing, or the folder cannot be written.

    """
    private = folder / PRIVATE
    public = private.with_name(f"{PRIVATE}.pub")
    if not private.exists():
        files.folder(folder, 0o700)
        _make(private)
    if not public.exists():
        raise DeployError(f"{public} is missing", f"remove {private} as well; the next launch makes both")
    return public.read_text(encoding="utf-8").strip()


def known(folder: Path) -> str | None:
    """The public half if it was made already; None otherwise, or if it cannot be read."""
    try:
        return (folder / f"{PRIVATE}.pub").read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _make(private: Path) -> None:
    if not shutil.which("ssh-keygen"):
        raise DeployError("ssh-keygen is not installed", "sudo apt-get install openssh-client")
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "labelpod", "-f", str(private)]
    result = process.run(*command)
    if result.returncode != 0:
        raise DeployError(f"ssh-keygen: {process.last_line(result.stderr)}", f"look at {private.parent}")

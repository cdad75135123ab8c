"""Commands in throw-away containers of the label server's image."""

import subprocess

IMAGE = "labelpod/label-server:local"


def docker(*arguments: str) -> str:
    result = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def run(*command: str, options: tuple[str, ...] = ()) -> str:
    """A command in a throw-away container, as locked up as in compose.yaml."""
    locked = ("--rm", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/tmp", "--network", "none")
    return docker("run", *locked, *options, IMAGE, *command)

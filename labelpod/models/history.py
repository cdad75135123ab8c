"""What became of the trainings: for people, for programs, and as a picture."""

import json
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from labelpod import console, files
from labelpod.clients.label_server import LabelServer
from labelpod.docker.stack import LABEL_SERVER, Stack
from labelpod.errors import DeployError
from labelpod.models import training
from labelpod.process import last_line
from labelpod.text import counted

_KEYS = (
    *("run", "started", "studies", "epochs", "epoch", "loss", "dice", "best_dice", "published", "seconds", "problem"),
    "left_out",
)


def runs(server: LabelServer, model: str | None) -> list[dict[str, Any]]:
    """The trainings that ended, of one model or of all, oldest first; the keys are stable.

    Raises:
        DeployError: there is no such trainer.

    """
    info = server.info()
    if model:
        training.check_trainer(info, model)
    found = [
        {"model": name} | {key: run.get(key) for key in _KEYS}
        for name, stats in info["train_stats"].items()
        for run in stats.get("history", [])
        if model in (None, name)
    ]
    return sorted(found, key=lambda run: str(run["started"]))


def table(found: list[dict[str, Any]]) -> str:
    """One line for each training, for people."""
    if not found:
        return "Nothing has been trained yet"
    head = f"{'date':<18}{'model':<16}{'studies':>7}{'epochs':>10}{'best Dice':>11}{'duration':>10}  outcome"
    return "\n".join([head, *map(_row, found)])


def plot(stack: Stack, found: list[dict[str, Any]], path: Path) -> None:
    """Draw the last training and the best Dice of all, in the label server's container, which has matplotlib.

    Raises:
        DeployError: there is nothing to draw, the container does not run, or the file cannot be written.

    """
    if not found:
        raise DeployError("there is no training to draw", "`python3 deploy.py train MODEL` starts one")
    container = stack.containers().get(LABEL_SERVER)
    if container is None or not container.state.running:
        raise DeployError("the label server does not run, and the picture is made in it", "python3 deploy.py up")
    command = ["docker", "exec", "-i", container.name, "python", "-m", "label_server.models.training_plot"]
    console.say_command(*command)
    result = subprocess.run(command, input=json.dumps(found).encode(), capture_output=True, check=False)
    if result.returncode != 0:
        reason = last_line(result.stderr.decode(errors="replace"))
        raise DeployError(f"the picture cannot be made: {reason}", "python3 deploy.py history shows the numbers")
    files.write(path, result.stdout, 0o644)


def _row(run: dict[str, Any]) -> str:
    date = datetime.fromisoformat(run["started"]).astimezone().strftime("%Y-%m-%d %H:%M")
    dice = "-" if run["best_dice"] is None else f"{run['best_dice']:.3f}"
    took = timedelta(seconds=round(run["seconds"] or 0))
    outcome = run["problem"] or ("published" if run["published"] else "not published")
    if run["left_out"]:
        outcome += f", {counted(len(run['left_out']), 'study')} left out: {run['left_out'][0]['reason']}"
    epochs = f"{run['epoch']}/{run['epochs']}"
    return f"{date:<18}{run['model']:<16}{run['studies']:>7}{epochs:>10}{dice:>11}{took!s:>10}  {outcome}"

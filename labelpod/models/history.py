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
from labelpod_common.text import counted

_KEYS = (
    *("run", "started", "studies", "epochs", "epoch", "loss", "dice", "best_dice", "published", "seconds", "problem"),
    *("batch_size", "val_split", "patients", "study", "iteration", "iterations", "left_out"),
)


def runs(server: LabelServer, model: str | None) -> list[dict[str, Any]]:
    """The trainings of one model or of all, oldest first, and with `running` the one that runs; the keys are stable.

    Raises:
        DeployError: there is no such trainer.

    """
    info = server.info()
    if model:
        training.check_trainer(info, model)
    found = [
        {"model": name} | {key: run.get(key) for key in _KEYS} | {"running": run is stats.get("progress")}
        for name, stats in info["train_stats"].items()
        for run in _all(stats)
        if model in (None, name)
    ]
    return sorted(found, key=lambda run: str(run["started"]))


def _all(stats: dict[str, Any]) -> list[dict[str, Any]]:
    running = stats.get("progress")
    return [*stats.get("history", []), *([running] if running else [])]


def table(found: list[dict[str, Any]]) -> str:
    """One line for each training, for people."""
    if not found:
        return "Nothing has been trained yet"
    head = f"{'date':<18}{'model':<16}{'studies':>7}{'epochs':>10}{'batch':>7}{'split':>7}{'measured on':>14}"
    head += f"{'best Dice':>11}{'duration':>10}  outcome"
    return "\n".join([head, *map(_row, found)])


def plot(stack: Stack, found: list[dict[str, Any]], path: Path) -> None:
    """Draw the last training that ended and the best Dice of all, in the label server's container: it has matplotlib.

    Raises:
        DeployError: there is nothing to draw, the container does not run, or the file cannot be written.

    """
    found = [run for run in found if not run.get("running")]
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
    outcome = _runs(run) if run["running"] else run["problem"] or ("published" if run["published"] else "not published")
    if run["study"] and run["problem"]:
        outcome += f" (study {run['study']})"
    if run["left_out"]:
        outcome += f", {counted(len(run['left_out']), 'study')} left out: {run['left_out'][0]['reason']}"
    epochs, batch = f"{run['epoch']}/{run['epochs']}", run["batch_size"] or "-"
    split = "-" if run["val_split"] is None else f"{run['val_split']:g}"
    measured = counted(len(run["patients"] or ()), "patient") if run["patients"] else "-"
    return (
        f"{date:<18}{run['model']:<16}{run['studies']:>7}{epochs:>10}{batch:>7}{split:>7}{measured:>14}"
        f"{dice:>11}{took!s:>10}  {outcome}"
    )


def _runs(run: dict[str, Any]) -> str:
    return "runs, is prepared" if not run["iterations"] else f"runs, batch {run['iteration']} of {run['iterations']}"

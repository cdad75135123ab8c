"""Trains a model on the labelled studies: starts a training, shows how far it is, stops it."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from labelpod import console
from labelpod.clients.label_server import LabelServer, RefusedError
from labelpod.errors import DeployError
from labelpod.process import last_line
from labelpod_common.text import counted

_ACTIVE = ("SUBMITTED", "RUNNING")
_POLL_SECONDS = 1.0
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception)\b.*")
LOOK_AGAIN = "`python3 deploy.py train --watch` shows it, `python3 deploy.py train --stop` stops it"


@dataclass(frozen=True)
class Training:
    """A training of a model, and the names of the runs that ended before it."""

    model: str
    earlier: frozenset[str]


def start(
    server: LabelServer,
    model: str,
    epochs: int | None = None,
    val_split: float | None = None,
    batch_size: int | None = None,
) -> Training:
    """Start a training; what is None is the trainer's own.

    Args:
        server: the label server.
        model: that is to be trained.
        epochs: how often all labels are gone through.
        val_split: share of the labels that is not trained on, to measure Dice.
        batch_size: slices or regions that are worked on at once.

    Raises:
        DeployError: there is no such trainer, nothing is labelled, or a training runs already.

    """
    info = server.info()
    check_trainer(info, model)
    wanted = {
        "max_epochs": epochs,
        "val_split": val_split,
        "train_batch_size": batch_size,
        "val_batch_size": batch_size,
    }
    parameters = {name: value for name, value in wanted.items() if value is not None}
    labelled = _labelled(info, model)
    if labelled < 2 and (info["trainers"][model].get("config", {}) | parameters).get("val_split"):
        console.say("One study is labelled: it is trained on, and nothing will be validated. Dice takes two patients.")
    try:
        server.ask("POST", f"train/{model}", json=parameters)
    except RefusedError as error:
        if error.status == 429 and (task := _active(server)):
            raise DeployError(f"a training of {_model(task)} runs already", LOOK_AGAIN) from None
        raise
    console.say(f"Training of {model} started on {counted(labelled, 'labelled study')}")
    return Training(model, _ended(info, model))


def running(server: LabelServer) -> Training:
    """The training that runs.

    Raises:
        DeployError: none does.

    """
    task, info = _active(server), server.info()
    if not task:
        names = ", ".join(info["trainers"])
        raise DeployError(
            "no training runs",
            f"`python3 deploy.py train MODEL` starts one, of {names}; `python3 deploy.py history` shows earlier ones",
        )
    return Training(_model(task), _ended(info, _model(task)))


def stop(server: LabelServer, model: str | None) -> str:
    """Stop the training that runs; if a model is named, only if it is its.

    Returns:
        What that means, in words.

    Raises:
        DeployError: no such training runs.

    """
    current = running(server)
    if model and model != current.model:
        raise DeployError(
            f"the training that runs is one of {current.model}", f"python3 deploy.py train {current.model} --stop"
        )
    if not server.ask("DELETE", "train/"):
        raise DeployError("the training has just ended", "`python3 deploy.py history` shows what became of it")
    return f"The training of {current.model} is stopped; the weights that were published last go on serving"


def watch(server: LabelServer, training: Training) -> str:
    """Show a training until it ends; Ctrl-C leaves it running.

    Returns:
        What became of it, in words.

    Raises:
        DeployError: it failed or was stopped.

    """
    try:
        task, record = _follow(server, training)
    except KeyboardInterrupt:
        return f"\nThe training keeps running: {LOOK_AGAIN}"
    if task["status"] == "DONE":
        return _summary(training.model, record)
    if task["status"] == "STOPPED":
        raise DeployError(
            f"the training of {training.model} was stopped", "`python3 deploy.py history` shows how far it was"
        )
    raise DeployError(
        f"the training of {training.model} failed: {_reason(record, task)}",
        "`python3 deploy.py logs label-server` shows all that it said",
    )


def check_trainer(info: dict[str, Any], model: str) -> None:
    """Raise a DeployError unless the server can train this model."""
    if model not in info["trainers"]:
        names = ", ".join(info["trainers"]) or "none: LABELPOD_MODELS in .env names no model that can be trained"
        raise DeployError(f"there is no trainer {model!r}", f"those that there are: {names}")


def _follow(server: LabelServer, training: Training) -> tuple[dict[str, Any], dict[str, Any]]:
    """The training's task and record after its end, with what happens until then on the terminal."""
    said: list[str] = []

    def tell(state: dict[str, Any]) -> None:
        for line in _events(state):
            if line not in said:
                console.say(line)
                said.append(line)

    with console.progress(f"Preparing the training of {training.model}", total=1) as bar:
        while True:
            # In this order: once the task has ended, the record is there.
            task = _last(server) or {"status": "ERROR", "details": ["the label server has been restarted"]}
            stats = server.info()["train_stats"].get(training.model, {})
            if task["status"] not in _ACTIVE:
                new = [run for run in stats.get("history", []) if run["run"] not in training.earlier]
                record = new[-1] if new else {}
                tell(record)
                return task, record
            if state := stats.get("progress"):
                tell(state)
                bar.update(bar.task_ids[0], description=_now(training.model, state), total=state["epochs"])
                # While an epoch is validated, its iterations are over and it does not count yet.
                bar.update(bar.task_ids[0], completed=max(bar.tasks[0].completed, _epochs_done(state)))
            time.sleep(_POLL_SECONDS)


def _events(state: dict[str, Any]) -> Iterator[str]:
    for name, digits in (("loss", 4), ("dice", 3)):
        for epoch, value in state.get(name, []):
            words = "loss" if name == "loss" else "Dice"
            yield f"Epoch {epoch} of {state['epochs']}: {words} {value:.{digits}f}"


def _now(model: str, state: dict[str, Any]) -> str:
    if not state["iterations"]:
        return f"Preparing {model}"
    batch = f"  batch {state['iteration']} of {state['iterations']}"
    loss = f"  loss {state['last_loss']:.4f}" if "last_loss" in state else ""
    dice = f"  Dice {state['dice'][-1][1]:.3f}" if state["dice"] else ""
    return f"Training {model}{batch}{loss}{dice}"


def _epochs_done(state: dict[str, Any]) -> float:
    done, of = state["iteration"], state["iterations"]
    return float(state["epoch"]) + (done / of if done < of else 0)


def _summary(model: str, record: dict[str, Any]) -> str:
    if not record:  # upstream's other trainers keep none
        return f"The training of {model} is done"
    loss = f", loss {record['loss'][-1][1]:.4f}" if record["loss"] else ""
    dice = "not validated" if record["best_dice"] is None else f"best Dice {record['best_dice']:.3f}"
    weights = "its weights serve from now on" if record["published"] else "its weights were not published"
    took = f"{record['seconds']:.0f} s"
    return f"{model}: {record['epoch']} of {record['epochs']} epochs in {took}{loss}, {dice}; {weights}"


def _reason(record: dict[str, Any], task: dict[str, Any]) -> str:
    """Why a training failed: the record's word, and what Python said last."""
    lines = list(task.get("details", []))
    exceptions = [line for line in lines if _EXCEPTION.match(line)]
    last, problem = exceptions[-1] if exceptions else last_line("\n".join(lines)), record.get("problem", "")
    return last if problem in last else f"{problem} ({last})"


def _labelled(info: dict[str, Any], model: str) -> int:
    numbers = info["datastore"]
    if not (labelled := int(numbers["completed"])):
        raise DeployError(
            f"{model} needs 1 labelled study to train on, and 0 of {numbers['total']} are labelled",
            "label one in 3D Slicer and submit it; about ten make a training worth its time",
        )
    return labelled


def _ended(info: dict[str, Any], model: str) -> frozenset[str]:
    return frozenset(run["run"] for run in info["train_stats"].get(model, {}).get("history", []))


def _last(server: LabelServer) -> dict[str, Any] | None:
    """The last training since the server's start."""
    try:
        return dict(server.ask("GET", "train/"))
    except RefusedError as error:
        if error.status == 404:
            return None
        raise


def _active(server: LabelServer) -> dict[str, Any] | None:
    task = _last(server)
    return task if task and task["status"] in _ACTIVE else None


def _model(task: dict[str, Any]) -> str:
    return str(task["request"]["model"])

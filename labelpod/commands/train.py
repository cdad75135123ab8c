"""`train` and `history`: trainings that run, and what became of the past ones."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from labelpod import console
from labelpod.clients.label_server import LabelServer
from labelpod.commands.options import AsJson, path, project, show
from labelpod.config import settings
from labelpod.docker.stack import Stack
from labelpod.models import history, training


def _share(value: float | None) -> float | None:
    if value is not None and not 0 <= value < 1:
        raise typer.BadParameter(f"{value:g} is not from 0 to less than 1")
    return value


def train(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Default: the one that is trained now.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, metavar="N", help="How often to go through all labels.")] = None,
    val_split: Annotated[
        float | None,
        typer.Option(callback=_share, metavar="F", help="Share of the labels to measure Dice on, for example 0.2."),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Slices or regions at once; fewer take less memory.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it until it ends; Ctrl-C leaves it running.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the training that runs.")] = False,
) -> None:
    """Train a model on the labelled studies."""
    if watch and stop:
        raise typer.BadParameter("--watch and --stop exclude each other")
    with LabelServer(settings.load(project(context).env_file)) as server:
        if stop:
            console.out.print(training.stop(server, model))
            return
        current = training.start(server, model, epochs, val_split, batch_size) if model else training.running(server)
        console.out.print(training.watch(server, current) if watch else training.LOOK_AGAIN)


def show_history(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Default: all.")] = None,
    plot: Annotated[Path | None, typer.Option(parser=path, metavar="FILE.png", help="Draw loss and Dice.")] = None,
    as_json: AsJson = False,
) -> None:
    """List trainings and their results; the one that runs, too."""
    stack = Stack.load(project(context))
    with LabelServer(stack.values) as server:
        found = history.runs(server, model)
    show(as_json, found, lambda: Text(history.table(found)))
    if plot:
        history.plot(stack, found, plot)
        console.say(f"{plot} written")

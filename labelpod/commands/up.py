"""`up`, `down`, `build` and `render`."""

import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer

from labelpod import console, kubernetes, lifecycle, render, status
from labelpod.clients.orthanc import Orthanc
from labelpod.commands.options import Yes, path, project
from labelpod.config import settings
from labelpod.docker.stack import Stack


def up(
    context: typer.Context,
    yes: Yes = False,
    sample: Annotated[
        bool, typer.Option("--sample", help="Load a synthetic chest CT, to have something to look at.")
    ] = False,
    cpu: Annotated[bool, typer.Option("--cpu", help="Do not use a GPU.")] = False,
    gpu: Annotated[bool, typer.Option("--gpu", help="Use the GPU, or say why not.")] = False,
) -> None:
    """Start everything; install and build what is missing."""
    if cpu and gpu:
        raise typer.BadParameter("--cpu and --gpu exclude each other")
    stack = lifecycle.up(project(context), device="cpu" if cpu else "gpu" if gpu else None, yes=yes)
    if sample:
        _push_sample(stack)
    state = status.collect(stack)
    console.out.print(status.text(state))
    if names := status.untrained(state):
        console.say(
            f"No pretrained weights for: {', '.join(names)}. These models run, but give random results until they are "
            "trained."
        )


def down(
    context: typer.Context,
    yes: Yes = False,
    volumes: Annotated[bool, typer.Option("--volumes", help="Delete labels, models and studies as well.")] = False,
) -> None:
    """Stop everything; labels, models and studies stay."""
    lifecycle.down(project(context), volumes=volumes, yes=yes)


def build(context: typer.Context, yes: Yes = False) -> None:
    """Get or build the images."""
    lifecycle.build(project(context), yes=yes)


def render_files(
    context: typer.Context,
    target: Annotated[Literal["compose", "kubernetes"], typer.Option("--for", help="What they are for.")] = "compose",
    output: Annotated[
        Path | None,
        typer.Option(parser=path, metavar="DIR", help="Folder for Kubernetes; build/kubernetes by default."),
    ] = None,
) -> None:
    """Write the generated files into build/."""
    place = project(context)
    values = settings.load(place.env_file)
    if target == "kubernetes":
        written = kubernetes.write(values, place, output or place.build / "kubernetes")
    elif output:
        raise typer.BadParameter("--output is for --for kubernetes; Compose reads build/")
    else:
        written = [*render.write(values, place), *render.copy_mounted(place)]
    for file in written:
        console.out.print(f"{place.shown(file)} written")


def _push_sample(stack: Stack) -> None:
    from labelpod.dicom import phantom  # numpy and pydicom take a third of a start
    from labelpod.studies import push

    with tempfile.TemporaryDirectory() as folder:
        with console.progress("Making a synthetic chest CT with three nodules; it is not a patient"):
            phantom.write(Path(folder))
        outcome = push.push([Path(folder)], Orthanc.of(stack.values), stack.values.STUDIES_MODALITY)
    console.out.print(push.outcome_table(outcome))

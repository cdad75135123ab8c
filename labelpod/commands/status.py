"""`status`, `logs`, `doctor` and `slicer`: what runs, and what is wrong."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from labelpod import console, slicer, status
from labelpod.commands.options import AsJson, Follow, ended, path, project, show
from labelpod.config import settings
from labelpod.docker.stack import SERVICES, Stack
from labelpod.doctor import examine, told


def show_status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what runs, its addresses and passwords, models and studies; ends with 1 if a service does not answer."""
    state = status.collect(Stack.load(project(context)))
    show(as_json, state, lambda: status.text(state))
    ended(status.well(state))


def logs(
    context: typer.Context,
    service: Annotated[
        str | None, typer.Argument(metavar="SERVICE", help=f"{' or '.join(SERVICES)}; all by default.")
    ] = None,
    follow: Follow = False,
) -> None:
    """Show the services' logs."""
    for line in Stack.load(project(context)).logs(service, follow):
        sys.stdout.write(line)  # as it is: a table's tabs, a line of any length
        sys.stdout.flush()


def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what is wrong with this machine, and what to do about it."""
    place = project(context)
    findings = examine.examine(place.env_file)
    told.keep(findings, place.secrets)
    show(as_json, examine.to_json(findings), lambda: examine.text(findings))
    ended(not examine.blocking(findings))


def connect_slicer(
    context: typer.Context,
    output: Annotated[Path, typer.Option(parser=path, metavar="FILE", help="The script.")] = Path("connect.py"),
) -> None:
    """Write a script that connects 3D Slicer to the label server."""
    slicer.write(settings.load(project(context).env_file), output)
    console.out.print(
        f"{output} written; run it once by: Slicer --python-script {output}\n"
        "It holds the token of admin: no other user of this machine can read it, and no other person should get it."
    )

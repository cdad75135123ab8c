"""`models`: models as files, on this machine's label server or on a rented pod's."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from labelpod import console
from labelpod.clients.label_server import LabelServer
from labelpod.commands import runpod
from labelpod.commands.options import AsJson, ended, group, path, project, show
from labelpod.config.settings import Settings
from labelpod.docker.stack import Stack
from labelpod.errors import DeployError
from labelpod.models import archive

app = group("List, export, import and verify models.")
Pod = Annotated[bool, typer.Option("--pod", help="Those of the rented pod, over SSH.")]


@app.command("list", epilog="Example: deploy.py models list")
def list_models(context: typer.Context, as_json: AsJson = False, pod: Pod = False) -> None:
    """List the models: trained or not, checksum, where they came from."""
    found = archive.listing(_prefix(context, pod))
    show(as_json, found, lambda: Text(archive.table(found)))


@app.command(epilog="Example: deploy.py models export deepgrow_3d deepgrow_3d.tar.zst")
def export(
    context: typer.Context,
    names: Annotated[
        list[str], typer.Argument(metavar="MODEL FILE", help="A model as `models list` names it; NAME.tar.zst.")
    ],
    all_models: Annotated[bool, typer.Option("--all", help="All models that have weights.")] = False,
    pod: Pod = False,
) -> None:
    """Write an archive of one model, or of all; the file must not exist yet."""
    if len(names) != (1 if all_models else 2):
        raise typer.BadParameter("name one MODEL and a FILE, or give --all and a FILE")
    *model, file = names
    target = path(file)
    archive.export(_prefix(context, pod), model[0] if model else None, target)
    console.out.print(f"{file} written")


@app.command("import", epilog="Example: deploy.py models import deepgrow_3d.tar.zst")
def import_models(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(parser=path, metavar="FILE", help="An archive of `models export`.")],
    pod: Pod = False,
) -> None:
    """Import models from an archive, after checking all of them."""
    console.out.print(archive.imported(archive.take(_prefix(context, pod), file)))


@app.command(epilog="Example: deploy.py models verify deepgrow_3d.tar.zst")
def verify(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(parser=path, metavar="FILE", help="Default: the models in use.")
    ] = None,
    as_json: AsJson = False,
    pod: Pod = False,
) -> None:
    """Check whether models are sound; changes nothing."""
    verdict = archive.verify(_prefix(context, pod), file)
    show(as_json, verdict, lambda: Text(archive.verified(verdict)))
    ended(verdict["ok"])


def _prefix(context: typer.Context, pod: bool) -> list[str]:
    place = project(context)
    if pod:
        return runpod.exec_prefix(place)
    stack = Stack.load(place)
    return stack.exec_prefix(_trainer(stack.values))


def _trainer(values: Settings) -> str:
    """The host of the one that trains, "" if there is one only: there it is seen that a model is being trained."""
    if values.several_servers:
        with suppress(DeployError), LabelServer(values) as server:
            return str(server.info().get("server", ""))
    return ""

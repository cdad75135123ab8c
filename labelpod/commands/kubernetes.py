"""`kubernetes`: the stack in a cluster."""

import typer

from labelpod import console, kubectl
from labelpod.commands.options import AsJson, Yes, ended, group, project, show
from labelpod.config import settings

app = group("Start, show and stop the stack in the cluster that kubectl is set to.")


@app.command(epilog="Example: deploy.py kubernetes up --yes")
def up(context: typer.Context, yes: Yes = False) -> None:
    """Render, bring secrets and all else into the cluster, and wait until it runs."""
    place = project(context)
    kubectl.up(settings.load(place.env_file), place, yes)


@app.command(epilog="Example: deploy.py kubernetes status --json")
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show how many pods are ready; ends with 1 if one is not."""
    found = kubectl.status(settings.load(project(context).env_file))
    rows = [f"{name:<14}{each['ready']} of {each['wanted']} ready" for name, each in found.items()]
    show(as_json, found, lambda: "\n".join(rows))
    ended(all(each["ready"] == each["wanted"] for each in found.values()))


@app.command(epilog="Example: deploy.py kubernetes down")
def down(context: typer.Context, yes: Yes = False) -> None:
    """Stop everything in the cluster; volumes and secrets stay."""
    kubectl.down(settings.load(project(context).env_file), yes)
    console.out.print("Stopped; images, labels and models are in their volumes")

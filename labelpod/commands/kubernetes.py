"""`kubernetes`: the stack in a cluster."""

import typer

from labelpod import console, kubectl
from labelpod.cluster import Cluster
from labelpod.commands.options import AsJson, Yes, ended, group, project, show
from labelpod.config import settings
from labelpod.errors import DeployError

app = group("Start, show and stop the stack in the cluster that kubectl is set to.")


@app.command(epilog="Example: deploy.py kubernetes up --yes")
def up(context: typer.Context, yes: Yes = False) -> None:
    """Render, bring secrets and all else into the cluster, and wait until it runs."""
    place = project(context)
    kubectl.up(settings.load(place.env_file), place, yes)


@app.command(epilog="Example: deploy.py kubernetes status --json")
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show how many pods are ready; ends with 1 if one is not."""
    place = project(context)
    found = kubectl.status(settings.load(place.env_file), place)
    rows = [f"{name:<14}{each['ready']} of {each['wanted']} ready" for name, each in found.items()]
    show(as_json, found, lambda: "\n".join(rows))
    ended(all(each["ready"] == each["wanted"] for each in found.values()))


@app.command(epilog="Example: deploy.py kubernetes test")
def test(context: typer.Context, as_json: AsJson = False) -> None:
    """Ask the label server in the cluster, as an annotator would who is past the Ingress."""
    place = project(context)
    info = kubectl.test(settings.load(place.env_file), place)
    models, studies = sorted(info["models"]), info["datastore"]
    found = {"models": models, "studies": studies["total"], "labelled": studies["completed"]}
    show(
        as_json,
        found,
        lambda: f"It answers: {', '.join(models)}; {found['studies']} studies, {found['labelled']} of them labelled",
    )


@app.command(epilog="Example: deploy.py kubernetes down")
def down(context: typer.Context, yes: Yes = False) -> None:
    """Stop everything in the cluster; volumes and secrets stay."""
    place = project(context)
    kubectl.down(settings.load(place.env_file), place, yes)
    console.out.print("Stopped; images, labels and models are in their volumes")


@app.command(epilog="Example: deploy.py kubernetes users")
def users(context: typer.Context) -> None:
    """Bring the users into the cluster again; `users add` and `revoke` do it by themselves."""
    place = project(context)
    cluster = Cluster.recorded(place)
    if cluster is None:
        raise DeployError("this folder was started in no cluster", "python3 deploy.py kubernetes up")
    kubectl.tell_users(settings.load(place.env_file), place)
    console.out.print(f"The users are in {cluster}")

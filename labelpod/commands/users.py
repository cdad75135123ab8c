"""`users`: who may use the label server."""

from typing import Annotated, Literal

import typer

from labelpod import console
from labelpod.commands.options import AsJson, group, project, show
from labelpod.config import addresses, settings
from labelpod.security import users

app = group("Add, list and revoke users of the label server.")
Name = Annotated[str, typer.Argument(metavar="NAME")]
Role = Literal["annotator", "reviewer", "admin"]


@app.command(epilog="Example: deploy.py users add anna --role reviewer")
def add(
    context: typer.Context,
    name: Name,
    role: Annotated[Role, typer.Option(help="What the user may do.")] = "annotator",
    as_json: AsJson = False,
) -> None:
    """Add a user, and print their URL once."""
    place = project(context)
    values = settings.load(place.env_file)
    token = users.add(name, role, place.secrets)
    url = addresses.label_server(values, token)
    data = {"name": name, "role": role, "url": url, "token": token}
    show(as_json, data, lambda: f"{url}  ({name}, {role})\nThis URL is the user's login. It cannot be shown again.")


@app.command("list", epilog="Example: deploy.py users list")
def list_users(context: typer.Context, as_json: AsJson = False) -> None:
    """List names and roles."""
    known = users.known(project(context).secrets)
    show(as_json, known, lambda: "\n".join(f"{each['role']:<11}{each['name']}" for each in known))


@app.command(epilog="Example: deploy.py users revoke anna")
def revoke(context: typer.Context, name: Name) -> None:
    """Revoke a user's access."""
    users.revoke(name, project(context).secrets)
    console.out.print(f"Access of {name} revoked")

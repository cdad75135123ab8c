"""`users`: who may use the label server."""

from typing import Annotated, Any, Literal

import typer

from labelpod import audit, console, kubectl
from labelpod.cluster import Cluster
from labelpod.commands.options import AsJson, group, project, show
from labelpod.config import addresses, settings
from labelpod.security import users
from labelpod_common import text

app = group("Add, list and revoke users of the label server.")
Name = Annotated[str, typer.Argument(metavar="NAME")]
Role = Literal["annotator", "reviewer", "admin", "monitor"]


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
    in_cluster = bool(Cluster.recorded(place) and values.KUBERNETES_HOST)
    token = users.add(name, role, place.secrets)
    url = (addresses.in_cluster if in_cluster else addresses.label_server)(values, token)
    data = {"name": name, "role": role, "url": url, "token": token}
    show(as_json, data, lambda: f"{url}  ({name}, {role})\nThis URL is the user's login. It cannot be shown again.")
    if not in_cluster and addresses.only_here(values):
        console.say(
            "It works on this machine only: LABELPOD_BIND_ADDRESS in .env lets others in, see docs/security.md; "
            "or they come through SSH."
        )
    kubectl.tell_users(values, place)


@app.command("list", epilog="Example: deploy.py users list")
def list_users(context: typer.Context, as_json: AsJson = False) -> None:
    """List names and roles, when each was last seen, and how many labels they stored."""
    place = project(context)
    seen = audit.users(place)
    nothing = {"last_seen": None, "labels_stored": None}
    known = [each | (nothing | seen.get(each["name"], {})) for each in users.known(place.secrets)]
    show(as_json, known, lambda: "\n".join(map(_row, known)))


@app.command(epilog="Example: deploy.py users revoke anna")
def revoke(context: typer.Context, name: Name) -> None:
    """Revoke a user's access."""
    place = project(context)
    values = settings.load(place.env_file)
    try:
        users.revoke(name, place.secrets)
    except users.UnknownUserError:
        kubectl.tell_users(values, place)  # an earlier try may not have come so far
        raise
    kubectl.tell_users(values, place)
    console.out.print(f"Access of {name} revoked")


def _row(user: dict[str, Any]) -> str:
    time = audit.shown_time(user["last_seen"]) if user["last_seen"] else "-"
    labels = "-" if user["labels_stored"] is None else text.counted(user["labels_stored"], "label")
    return f"{user['role']:<11}{user['name']:<24} last seen {time:<21}{labels}"

"""`runpod volumes`: what network volumes there are, what they cost, and an end to those that nobody needs."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from labelpod import console
from labelpod.commands.options import AsJson, Yes, project
from labelpod.config import settings
from labelpod.errors import DeployError
from labelpod.runpod import account, pods, volumes
from labelpod.runpod.volumes import Volume

# Without a verb it lists.
app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True, epilog="Example: deploy.py runpod volumes")
def show(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the account's network volumes, what they cost and who uses them, or delete one."""
    if context.invoked_subcommand is None:
        found = _all(context)
        console.out.print(json.dumps([asdict(volume) for volume in found], indent=2) if as_json else _table(found))


@app.command("delete", epilog="Example: deploy.py runpod volumes delete nodules")
def delete(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the volume, or its id.")],
    force: Annotated[bool, typer.Option("--force", help="Even if it is not known to be this stack's.")] = False,
    yes: Yes = False,
) -> None:
    """Delete a network volume, and all models and images that are on it."""
    place = project(context)
    found = [volume for volume in _all(context) if name in (volume.name, volume.id)]
    if not found:
        raise DeployError(f"there is no network volume {name}", "python3 deploy.py runpod volumes")
    if len(found) > 1:
        ids = ", ".join(f"{volume.id} ({volume.data_center})" for volume in found)
        raise DeployError(f"there are {len(found)} volumes {name}: {ids}", "give the id instead of the name")
    (volume,) = found
    if not (volume.ours or force):
        raise DeployError(
            f"the volume {volume.words} was not made from here, and no pod of this stack has had it",
            "--force deletes it all the same",
        )
    volumes.see_that_it_is_unused(volume)
    if not console.confirmed(f"Delete the volume {volume.words}, and all that is on it?", yes):
        raise DeployError("nothing was deleted", "--yes deletes it without asking")
    with account.api(settings.load(place.env_file)) as client:
        volumes.delete(client, volume.id, place.pods_record)
    console.out.print(f"The volume {volume.words} is deleted")


def _all(context: typer.Context) -> list[Volume]:
    place = project(context)
    values = settings.load(place.env_file)
    with account.api(values) as client:
        return volumes.all_of(client, values, place, pods.of_stack(client, values, place))


def _table(found: list[Volume]) -> str:
    if not found:
        return "No network volume: nothing is billed"
    lines = [f"{'name':<20}{'id':<16}{'GB':>6}  {'place':<12}{'a month':>9}  used by"]
    for each in found:
        used = ", ".join(each.used_by) or ("nothing" if each.ours else "nothing; not made from here")
        price = f"${each.usd_per_month:.2f}"
        lines.append(f"{each.name:<20}{each.id:<16}{each.size:>6}  {each.data_center:<12}{price:>9}  {used}")
    return "\n".join(lines)

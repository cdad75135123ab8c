"""`audit`: who did what."""

import json
from datetime import datetime
from typing import Annotated

import typer

from labelpod import audit, console
from labelpod.commands.options import AsJson, project


def _since(text: str | None) -> str:
    try:
        return audit.since(text, datetime.now().astimezone()) if text else ""
    except (ValueError, OverflowError):
        raise typer.BadParameter("for example 2h, 30m, 7d, 2026-11-01 or 2026-11-01T08:30") from None


def show_audit(
    context: typer.Context,
    user: Annotated[str, typer.Option(metavar="NAME", help="Only what this user did.")] = "",
    study: Annotated[str, typer.Option(metavar="UID", help="Only what was done with this study or series.")] = "",
    since: Annotated[str, typer.Option(callback=_since, metavar="TIME", help="From 2h ago, or from 2026-11-01.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show who did what at the label server."""
    found = audit.records(project(context), since, user, study)
    if as_json:
        for record in found:
            print(json.dumps(record))
    else:
        console.out.print(audit.table(found))

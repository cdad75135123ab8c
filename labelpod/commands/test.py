"""`test`: the project's own tests."""

from typing import Annotated

import typer

from labelpod import testing
from labelpod.commands.options import Yes, project

_TIERS = f"All but kubernetes by default. {'; '.join(f'{name}: {what}' for name, what in testing.TIERS.items())}."


def test(
    context: typer.Context,
    tiers: Annotated[list[str] | None, typer.Argument(metavar="TIER", help=_TIERS)] = None,
    yes: Yes = False,
) -> None:
    """Run the tests."""
    raise typer.Exit(testing.run(project(context), tiers or [], yes))

"""Options and arguments that several verbs share, and how a verb shows its result."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from labelpod import console
from labelpod.project import Project

_MOST = 100_000


def path(text: str) -> Path:
    """A path of the user's; typer would take an empty one for the folder that they are in."""
    if not text.strip():
        raise typer.BadParameter("an empty path: is a variable not set?")
    return Path(text)


def amount(number: float | None) -> float | None:
    """A number of the user's to count with: inf is one without an end, and nan is above and below none."""
    if number is not None and not 0 <= number <= _MOST:
        raise typer.BadParameter(f"{number:g} is not from 0 to {_MOST:g}")
    return number


Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Paths = Annotated[list[Path], typer.Argument(parser=path, metavar="PATH", help="Files or folders of any depth.")]
Follow = Annotated[bool, typer.Option("--follow", help="Go on showing new lines.")]


def group(words: str) -> typer.Typer:
    """A verb that has actions."""
    return typer.Typer(help=words, no_args_is_help=True, rich_markup_mode=None)


def project(context: typer.Context) -> Project:
    """The folder that this command works on."""
    found: Project = context.obj
    return found


def show(as_json: bool, data: Any, text: Callable[[], Any]) -> None:
    """Print JSON for programs, or a table for people."""
    if as_json:
        print(json.dumps(data, indent=2))
    else:
        console.out.print(text())


def ended(ok: bool) -> None:
    """End with exit code 1 unless all went well."""
    if not ok:
        raise typer.Exit(1)

"""What the user sees while something takes long, and the echo of every docker command."""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

# Results go to stdout, all else to stderr, so that `--json` can be piped.
# Neither markup nor emoji codes: passwords and headers may hold brackets and colons.
out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = Console(highlight=False, soft_wrap=True, markup=False, emoji=False, stderr=True)


def show_what_a_terminal_can() -> None:
    """Show a question mark for what the terminal has no letter for, instead of ending."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def say_command(*words: str) -> None:
    """Show a command as it is run."""
    print(f"$ {_short(' '.join(words))}", file=sys.stderr, flush=True)


def say(message: str) -> None:
    """One line about what is being done."""
    err.print(message)


def confirmed(question: str, yes: bool) -> bool:
    """Ask on a terminal; elsewhere only `--yes` is a yes."""
    if yes:
        return True
    if not sys.stdin.isatty():
        return False
    try:
        return err.input(f"{question} [y/N] ", markup=False, emoji=False).strip().lower() in ("y", "yes")
    except EOFError:
        return False


@contextmanager
def progress(description: str, total: float | None = None, in_bytes: bool = False) -> Iterator[Progress]:
    """A progress line with the elapsed time on a terminal; elsewhere only the description.

    Args:
        description: what takes long.
        total: number of steps; None if it is not known beforehand.
        in_bytes: whether the steps are bytes.

    """
    columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
    counted: list[ProgressColumn] = [BarColumn(), MofNCompleteColumn()] if total is not None else []
    if in_bytes:
        counted[1:] = [DownloadColumn()]
    bar = Progress(*columns, *counted, TimeElapsedColumn(), console=err, transient=True)
    bar.add_task(description, total=total)
    if not err.is_terminal:
        say(description)
        yield bar
        return
    with bar:
        yield bar


def verbose(wanted: bool) -> None:
    """Show the docker commands that change something as they are run; if `wanted` the others too."""
    logger = logging.getLogger("python_on_whales")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.handlers = [_Echo(wanted)]


def is_verbose() -> bool:
    """Whether the user wants to see everything."""
    return any(isinstance(each, _Echo) and each.verbose for each in logging.getLogger("python_on_whales").handlers)


_QUERIES = {"info", "inspect", "container", "ps", "config", "version", "images"}
_QUERIES |= {"image inspect", "image list", "volume inspect"}


class _Echo(logging.Handler):
    def __init__(self, verbose: bool) -> None:
        super().__init__()
        self.verbose = verbose

    def emit(self, record: logging.LogRecord) -> None:
        command = record.getMessage().removeprefix("Running command: ")
        words = command.split()[1:]
        if words[:1] == ["compose"]:
            words = _without_options(words[1:])
        query = " ".join(words[:2]) in _QUERIES or (words[:1] and words[0] in _QUERIES)
        if self.verbose or not query:
            say_command(command)


def _without_options(words: list[str]) -> list[str]:
    """A Compose command from its verb on; each option before that has a value."""
    while words and words[0].startswith("--"):
        words = words[2:]
    return words


def _short(command: str) -> str:
    """The command with `docker` for its full path."""
    path, _, rest = command.partition(" ")
    return f"{path.rpartition('/')[2]} {rest}".strip()

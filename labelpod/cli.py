"""The command line: the verbs, and the one place where errors become words and exit codes."""

import signal
import sys
import traceback
from json import JSONDecodeError
from typing import Annotated

import typer
from python_on_whales.client_config import ClientNotFoundError, ParsingError
from python_on_whales.exceptions import DockerException

from labelpod import console, os_errors
from labelpod.commands import audit, kubernetes, models, runpod, status, studies, test, train, up, users
from labelpod.errors import DeployError
from labelpod.process import last_line
from labelpod.project import Project
from labelpod_common import __version__

_DOCKER = (DockerException, ClientNotFoundError, ParsingError)
_INTERRUPTED = 130  # typer's own answer to Ctrl-C

app = typer.Typer(
    help="MONAI Label and Orthanc, set up for your labels.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog="Example: deploy.py up --yes")(up.up)
app.command(epilog="Example: deploy.py down")(up.down)
app.command("status", epilog="Example: deploy.py status --json")(status.show_status)
app.command(epilog="Example: deploy.py logs label-server --follow")(status.logs)
app.command(epilog="Example: deploy.py doctor")(status.doctor)
app.command("render", epilog="Example: deploy.py render")(up.render_files)
app.command(epilog="Example: deploy.py build --yes")(up.build)
app.add_typer(studies.app, name="studies")
app.add_typer(users.app, name="users")
app.command("audit", epilog="Example: deploy.py audit --user anna --since 2h")(audit.show_audit)
app.command(epilog="Example: deploy.py train deepgrow_3d --epochs 50 --watch")(train.train)
app.command("history", epilog="Example: deploy.py history --plot history.png")(train.show_history)
app.add_typer(models.app, name="models")
app.command("slicer", epilog="Example: deploy.py slicer --output connect.py")(status.connect_slicer)
app.add_typer(runpod.app, name="runpod")
app.add_typer(kubernetes.app, name="kubernetes")
app.command(epilog="Example: deploy.py test --yes unit")(test.test)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"labelpod {__version__}")
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", help="Show every docker command, and tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """MONAI Label and Orthanc, set up for your labels."""
    console.verbose(verbose)


def main(arguments: list[str] | None = None, project: Project | None = None, name: str = "deploy.py") -> int:
    """Run one verb.

    Args:
        arguments: the command line; this process's own by default.
        project: the stack's folder; this checkout by default.
        name: what the program is called.

    Returns:
        0 done, 1 an error that the user can fix, 2 wrong usage, 130 interrupted.

    """
    console.show_what_a_terminal_can()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # held back while this was loaded
        found = project or Project.of_this_checkout()
        code = int(app(arguments, prog_name=name, standalone_mode=False, obj=found) or 0)
    except typer.TyperException as error:
        return _misused(error)
    except (BrokenPipeError, SystemExit):
        return 0  # typer's answer to a reader that has gone, as `| head`, is SystemExit
    except (DeployError, OSError, JSONDecodeError, UnicodeError, *_DOCKER) as error:
        return _failed(error)
    except (typer.Abort, KeyboardInterrupt):
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        console.say("\nInterrupted; the same command resumes where this one stopped.")
    return code


def _failed(error: Exception) -> int:
    """Say what went wrong and what to do, whichever room it comes from."""
    if console.is_verbose():
        traceback.print_exc()
    shown = _explained(error)
    console.say(f"Error: {shown.message}\n       {shown.remedy}")
    return 1


def _explained(error: Exception) -> DeployError:
    if isinstance(error, DeployError):
        return error
    if isinstance(error, OSError):
        return os_errors.explained(error)
    if isinstance(error, _DOCKER):
        said = error.stderr if isinstance(error, DockerException) else str(error)
        return DeployError(f"docker: {last_line(said or '')}", "python3 deploy.py doctor")
    return DeployError(f"what was read is broken: {error}", "python3 deploy.py --verbose ... shows where")


def _misused(error: typer.TyperException) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error)
    else:
        error.show()  # type: ignore[attr-defined]  # the base that typer names has none, each that it raises does
    return int(getattr(error, "exit_code", 2))


if __name__ == "__main__":
    sys.exit(main())

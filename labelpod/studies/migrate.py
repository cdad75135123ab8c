"""Migrates the studies to the database that ORTHANC_DB names, from the other one, which keeps them.

Each database has volumes of its own. The other one's Orthanc runs meanwhile beside the stack's, in a container that is
removed again, and can be reached only from this machine. What is there already is not sent again.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from python_on_whales import Container

from labelpod.clients.orthanc import Connection, Orthanc
from labelpod.console import progress
from labelpod.docker.client import explained
from labelpod.docker.stack import LABEL_SERVER, Stack, last_word
from labelpod.docker.tags import ORTHANC_TAG
from labelpod.errors import DeployError
from labelpod.studies import copy
from labelpod_common.text import counted

NAMES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
# The first of them holds Orthanc's files.
_VOLUMES = {"sqlite": ("orthanc-db",), "postgres": ("orthanc-files", "postgres-db")}
_FOLDER = "/var/lib/orthanc/db"
# In a store whose studies have all been migrated to the other one.
_MARK = f"{_FOLDER}/moved"
# Orthanc keeps each file in two levels of folders.
_LOOK = f"[[ -e {_MARK} ]] || compgen -G '{_FOLDER}/??/??/*' | head -n 1"
_PORT = 8042
_START_SECONDS = 90


def guard(stack: Stack) -> None:
    """Refuse to start beside studies that were not migrated: a user would believe that they are gone.

    Raises:
        DeployError: the other database holds some.

    """
    if pending(stack):
        old, new = _other(stack).values.ORTHANC_DB, stack.values.ORTHANC_DB
        raise DeployError(
            f"the studies are in {NAMES[old]}, and would not be seen with LABELPOD_ORTHANC_DB={new}",
            f"`python3 deploy.py studies migrate` migrates them; or set LABELPOD_ORTHANC_DB={old} in .env",
        )


def pending(stack: Stack) -> bool:
    """Whether the other database holds studies that have not been migrated."""
    docker = stack.docker
    files, own = _volumes(_other(stack))[0], _volumes(stack)[0]
    with explained("python3 deploy.py doctor"):
        _remove_source(stack)  # of a run that was killed
        if not docker.volume.exists(files):
            return False
        # If the store is gone that the studies were migrated to, they are only in the old one.
        look = _LOOK if docker.volume.exists(own) else f"rm -f {_MARK}; {_LOOK}"
        return bool(
            docker.run(
                ORTHANC_TAG,
                ["-c", look],
                entrypoint="bash",
                volumes=[(files, _FOLDER)],
                networks=["none"],
                pull="never",
                remove=True,
            )
        )


def run(stack: Stack) -> str:
    """Copy everything, compare, and mark the other store as moved; the stack's Orthanc runs then.

    Returns:
        What was done, and how the old store is removed.

    Raises:
        DeployError: something is not in the new database; the same call resumes with that.

    """
    with explained("python3 deploy.py doctor"):
        stack.docker.compose.stop([LABEL_SERVER])  # it would take absent labels for deleted ones
    stack.up(*(name for name in stack.services if name != LABEL_SERVER))
    before = _other(stack)
    with _source(before) as (container, address):
        with Connection(address) as old, Connection(Orthanc.of(stack.values)) as new:
            outcome = copy.everything(old, new)
        if outcome.lacking:
            raise _incomplete(outcome, NAMES[stack.values.ORTHANC_DB])
        with explained("python3 deploy.py logs orthanc"):
            stack.docker.compose.execute("orthanc", ["rm", "-f", _MARK], tty=False)
            container.execute(["touch", _MARK])
    return _words(outcome, stack, before)


# --- for people ---


def _incomplete(outcome: copy.Outcome, name: str) -> DeployError:
    instance, problem = next(iter(outcome.lacking.items()))
    return DeployError(
        f"{len(outcome.lacking)} of {outcome.instances} instances were not copied correctly to {name}, "
        f"for example {instance}: {problem}",
        "nothing is lost, the old store is as it was: see `python3 deploy.py logs orthanc`, fix it, run the same again",
    )


def _words(outcome: copy.Outcome, stack: Stack, before: Stack) -> str:
    old, new = NAMES[before.values.ORTHANC_DB], NAMES[stack.values.ORTHANC_DB]
    return (
        f"All {outcome.instances} instances of {counted(outcome.studies, 'study')} are in {new}, compared one by one; "
        f"{outcome.sent} were sent just now.\n"
        f"The {old} copy is kept. To delete it: docker volume rm {' '.join(_volumes(before))}"
    )


# --- the old store ---


def _other(stack: Stack) -> Stack:
    return stack.with_database("sqlite" if stack.values.postgres else "postgres")


def _volumes(stack: Stack) -> list[str]:
    return [f"{stack.name}_{name}" for name in _VOLUMES[stack.values.ORTHANC_DB]]


def _source_name(stack: Stack) -> str:
    return f"{stack.name}-orthanc-before"


def _remove_source(stack: Stack) -> None:
    if stack.docker.container.exists(_source_name(stack)):
        stack.docker.container.stop(_source_name(stack))
        stack.docker.container.remove(_source_name(stack))


@contextmanager
def _source(stack: Stack) -> Iterator[tuple[Container, Orthanc]]:
    """The Orthanc of this stack once more, with a port that only this machine can reach."""
    try:
        with explained("python3 deploy.py doctor"), progress(f"Starting Orthanc on {NAMES[stack.values.ORTHANC_DB]}"):
            stack.docker.compose.run(
                "orthanc", name=_source_name(stack), detach=True, tty=False, publish=[("127.0.0.1:", _PORT)]
            )
            container = _healthy(stack)
        (published,) = (container.network_settings.ports or {})[f"{_PORT}/tcp"]
        address = replace(Orthanc.of(stack.values), url=f"{stack.values.scheme}://127.0.0.1:{published['HostPort']}")
        yield container, address
    finally:
        with explained("docker ps"):
            _remove_source(stack)


def _healthy(stack: Stack) -> Container:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        container = stack.docker.container.inspect(_source_name(stack))
        state = container.state
        if state.health and state.health.status == "healthy":
            return container
        if not state.running or time.monotonic() > deadline:
            raise DeployError(
                f"Orthanc does not start on the old store: {last_word(container)}",
                f"set LABELPOD_ORTHANC_DB={stack.values.ORTHANC_DB} in .env, `python3 deploy.py up`, and look there",
            )
        time.sleep(0.5)

"""`up`, `build` and `down` from start to end, in the order: look, ask, then change."""

from typing import Literal

from labelpod import credentials, doctor, engine, env_file, gpu, images, machine, migration, settings
from labelpod.console import confirmed, say
from labelpod.errors import DeployError
from labelpod.settings import Settings
from labelpod.stack import ENV_FILE, Stack


def up(device: Literal["cpu", "gpu"] | None, yes: bool) -> Stack:
    """Everything from a bare machine to a healthy stack; what is there already is left alone.

    Args:
        device: overrides the setting DEVICE.
        yes: do not ask before installing Docker Engine.

    Raises:
        DeployError: something is missing or wrong; nothing was changed unless a build or start had begun.

    """
    stack = _ready(device, yes)
    migration.guard(stack)
    stack.up()
    return stack


def migrate(yes: bool) -> str:
    """Bring the studies into the database that the settings name, and start everything; what became of it."""
    stack = _ready(None, yes)
    if not migration.pending(stack):
        return f"Nothing to take over: ORTHANC_DB={stack.values.ORTHANC_DB}, and the other database holds no studies."
    words = migration.run(stack)
    stack.up()
    return words


def _ready(device: Literal["cpu", "gpu"] | None, yes: bool) -> Stack:
    """Settings, secrets and images are there; nothing is started."""
    values = _prepared(device, yes)
    choice = gpu.choose(values.DEVICE, gpu.find(), gpu.runtime_available(machine.docker_info()))
    say(f"Device: {choice.reason}")
    if choice.warning:
        say(f"Warning: {choice.warning}")
    values = _configured(values, device)
    stack = Stack(values, choice.use_gpu)
    images.ensure(stack.compose, values)
    return stack


def build(yes: bool) -> None:
    """Write the settings, get or build the images, start nothing; say what is in them and known against them."""
    from labelpod import advisories, sbom  # here, because no other verb should wait for the SBOM library to load

    values = _configured(_prepared(None, yes), None)
    compose = Stack(values).compose
    images.ensure(compose, values, ask_buildkit=True)
    sbom.write(compose, values)
    advisories.check()


def down(volumes: bool, yes: bool) -> None:
    """Stop and remove the containers; with `volumes` all that they stored as well, after asking."""
    stack = Stack(settings.load(ENV_FILE))
    name = settings.project(ENV_FILE)
    question = f"Delete all studies, labels and trained models of {name}? This cannot be undone."
    if volumes and not confirmed(question, yes):
        raise DeployError("nothing was deleted", "python3 deploy.py down --volumes --yes deletes without asking")
    if not engine.answers():
        raise DeployError("Docker does not answer", "python3 deploy.py doctor")
    stack.down(volumes)


def _prepared(device: Literal["cpu", "gpu"] | None, yes: bool) -> Settings:
    """The settings, on a machine that can run them: an engine answers and nothing stands in the way."""
    values = _load(device)
    engine.ensure(yes)
    if errors := doctor.obstacles(ENV_FILE):
        for finding in errors[1:]:
            say(f"Error: {finding.subject}: {finding.message}\n       {finding.remedy}")
        raise DeployError(f"{errors[0].subject}: {errors[0].message}", errors[0].remedy)
    return values


def _configured(values: Settings, device: Literal["cpu", "gpu"] | None) -> Settings:
    """The settings with every secret that was missing; `.env` and the containers' secrets are written."""
    if env_file.ensure(ENV_FILE):
        say(f"{ENV_FILE.name} written, with passwords made for this machine")
        values = _load(device)
    credentials.write(values)
    return values


def _load(device: Literal["cpu", "gpu"] | None) -> Settings:
    values = settings.load(ENV_FILE)
    return values.model_copy(update={"DEVICE": device}) if device else values

"""Brings the stack up and down, from start to end, in the order: look, ask, then change."""

from typing import Literal

from labelpod import files
from labelpod.config import contradictions, env_file, settings
from labelpod.config.settings import PREFIX, Settings
from labelpod.console import confirmed, say
from labelpod.docker import engine, ownership
from labelpod.docker.info import docker_info
from labelpod.docker.stack import Stack
from labelpod.doctor import examine
from labelpod.errors import DeployError
from labelpod.host import docker_install, gpu
from labelpod.images import build as images
from labelpod.project import Project
from labelpod.security import secret_files
from labelpod.studies import migrate as migration

Device = Literal["cpu", "gpu"] | None


def up(project: Project, device: Device, yes: bool) -> Stack:
    """Everything from a bare machine to a healthy stack; what exists already is not touched.

    Args:
        project: the stack's folder.
        device: overrides the setting DEVICE.
        yes: do not ask before installing Docker Engine.

    Raises:
        DeployError: something is missing or wrong; nothing was changed unless a build or start had begun.

    """
    with files.locked(project.lock):
        stack = _ready(project, device, yes)
        stack.claim()
        migration.guard(stack)
        _tell_compose(stack)
        stack.up()
    return stack


def migrate(project: Project, yes: bool) -> str:
    """Bring the studies into the database that the settings name, and start everything; what became of it."""
    with files.locked(project.lock):
        stack = _ready(project, None, yes)
        if not migration.pending(stack):
            name = f"LABELPOD_ORTHANC_DB={stack.values.ORTHANC_DB}"
            return f"Nothing to migrate: {name}, and the other database holds no studies."
        stack.claim()
        words = migration.run(stack)
        _tell_compose(stack)
        stack.up()
    return words


def build(project: Project, yes: bool) -> None:
    """Write the settings, get or build the images, start nothing; say what is in them and known against them."""
    from labelpod.images import advisories, sbom  # here, because no other verb should wait for the SBOM library

    with files.locked(project.lock):
        values = configured(project, _prepared(project, None, yes), None)
        stack = Stack(project, values, _has_gpu(values))
        images.ensure(stack.docker, values, project, ask_buildkit=True)
        if not migration.pending(stack):
            _tell_compose(stack)
        sbom.write(stack.docker, values, project)
        advisories.check(project)


def down(project: Project, volumes: bool, yes: bool) -> None:
    """Stop and remove the containers; with `volumes` all that they stored as well, after asking."""
    stack = Stack.load(project)
    question = f"Delete all studies, labels and trained models of {stack.name}? This cannot be undone."
    if volumes and not confirmed(question, yes):
        raise DeployError("nothing was deleted", "python3 deploy.py down --volumes --yes deletes without asking")
    if not docker_install.answers():
        choice = engine.chosen(docker_info())
        raise DeployError(f"{choice[0] if choice else 'Docker'} does not answer", "python3 deploy.py doctor")
    with files.locked(project.lock):
        ownership.settle(stack.name, project, yes)
        stack.down(volumes)


def _ready(project: Project, device: Device, yes: bool) -> Stack:
    """Settings, secrets and images are there; nothing is started."""
    for contradiction in contradictions.on_one_machine(dict(_load(project, device)), PREFIX, project.env_file.name):
        raise DeployError(*contradiction)
    values = _prepared(project, device, yes)
    choice = gpu.choose(values.DEVICE, gpu.find(), gpu.runtime_available(docker_info()))
    say(f"Device: {choice.reason}")
    if choice.warning:
        say(f"Warning: {choice.warning}")
    values = configured(project, values, device)
    stack = Stack(project, values, choice.use_gpu)
    images.ensure(stack.docker, values, project)
    return stack


def _tell_compose(stack: Stack) -> None:
    """Let plain `docker compose` start what this driver starts."""
    env_file.put(stack.project.env_file, "COMPOSE_FILE", ":".join(stack.compose_files))


def _has_gpu(values: Settings) -> bool:
    """Whether the label server would get a GPU here; an image can be built without one, whatever the setting says."""
    try:
        return gpu.choose(values.DEVICE, gpu.find(), gpu.runtime_available(docker_info())).use_gpu
    except DeployError:
        return False


def _prepared(project: Project, device: Device, yes: bool) -> Settings:
    """The settings, on a machine that can run them: an engine answers and nothing stands in the way."""
    values = _load(project, device)
    docker_install.ensure(yes)
    ownership.settle(settings.compose_project(project.env_file), project, yes)
    if errors := examine.obstacles(project.env_file):
        for finding in errors[1:]:
            say(f"Error: {finding.subject}: {finding.message}\n       {finding.remedy}")
        raise DeployError(f"{errors[0].subject}: {errors[0].message}", errors[0].remedy)
    return values


def configured(project: Project, values: Settings, device: Device = None) -> Settings:
    """The settings with every secret that was missing; `.env` and the containers' secrets are written."""
    if env_file.ensure(project.env_file):
        say(f"{project.env_file.name} written, with passwords made for this machine")
        values = _load(project, device)
    secret_files.write(values, project.secrets)
    return values


def _load(project: Project, device: Device) -> Settings:
    values = settings.load(project.env_file)
    return values.model_copy(update={"DEVICE": device}) if device else values

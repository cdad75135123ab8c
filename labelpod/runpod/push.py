"""Puts the label server's image where RunPod pulls it from."""

from python_on_whales import DockerClient

from labelpod.console import progress, say_command
from labelpod.docker import tags
from labelpod.docker.client import explained
from labelpod.errors import DeployError
from labelpod_common import __version__


def push(docker: DockerClient, mine: str, repository: str) -> str:
    """Push the image that was built.

    Args:
        docker: the engine that has it.
        mine: the tag that this checkout's stack runs it by.
        repository: REGISTRY/NAME, with or without a tag.

    Returns:
        The image by its digest in that registry.

    Raises:
        DeployError: no repository is set, nothing was built, or the registry does not take it.

    """
    if not repository:
        raise DeployError(
            "it is not known where to push the image", "LABELPOD_RUNPOD_IMAGE=REGISTRY/YOU/labelpod in .env"
        )
    if docker.image.exists(mine):
        docker.image.tag(mine, tags.LABEL_SERVER_TAG)  # another checkout may have built since
    if not docker.image.exists(tags.LABEL_SERVER_TAG):
        raise DeployError("the image has not been built", "python3 deploy.py build")
    name = repository.rpartition("/")[2]
    tag = repository if ":" in name else f"{repository}:{__version__}"
    host = repository.partition("/")[0]
    with explained(f"`docker login {host}` with an account that may write to {repository}"):
        docker.image.tag(tags.LABEL_SERVER_TAG, tag)
        say_command("docker", "push", tag)
        with progress(f"Pushing {tag}"):
            docker.image.push(tag, quiet=True)
        digests = docker.image.inspect(tag).repo_digests or []
    plain = tag.rpartition(":")[0]
    found = [digest for digest in digests if digest.startswith(f"{plain}@")]
    if not found:
        raise DeployError(f"the registry gave no digest for {tag}", "python3 deploy.py runpod publish --verbose")
    return found[-1]

"""Signs a published image and attests what is in it, with a key of this machine's and without any service.

cosign keeps both in the registry, beside the image; `cosign verify --key secrets/cosign.pub` tells whether it is ours.
"""

import os
import shutil
from pathlib import Path

from labelpod import files, process
from labelpod.console import say, say_command
from labelpod.errors import DeployError

KEY, PUBLIC = "cosign.key", "cosign.pub"
_SECONDS = 300
# The public log of signatures would have to be reached, and would tell everybody of the image.
_PRIVATELY = ("--tlog-upload=false", "--yes")


def possible() -> bool:
    """Whether there is cosign; says so if not."""
    if shutil.which("cosign"):
        return True
    say("The image is not signed: there is no cosign (Debian 13 and later: sudo apt-get install cosign)")
    return False


def sign(image: str, sbom: Path, folder: Path) -> None:
    """Sign an image by its digest and attach its SBOM.

    Args:
        image: NAME@sha256:..., in its registry.
        sbom: what is in it, CycloneDX.
        folder: of the key, which is made at the first time.

    Raises:
        DeployError: cosign fails, or the registry does not take it.

    """
    key = folder / KEY
    if not key.exists():
        files.folder(folder, 0o700)
        _cosign("generate-key-pair", "--output-key-prefix", str(folder / Path(KEY).stem))
    _cosign("sign", "--key", str(key), *_PRIVATELY, image)
    _cosign("attest", "--key", str(key), *_PRIVATELY, "--type", "cyclonedx", "--predicate", str(sbom), image)


def _cosign(*words: str) -> None:
    say_command("cosign", *words)
    # The key has no password: it would have to lie beside it.
    result = process.run("cosign", *words, seconds=_SECONDS, env={**os.environ, "COSIGN_PASSWORD": ""})
    if result.returncode != 0:
        raise DeployError(
            f"cosign {words[0]}: {process.last_line(result.stderr)}",
            "the image is pushed; see that `docker login` may write to its registry, and publish again",
        )

"""Docker's images as a store that Podman only reads: nothing is copied, where `podman load` takes 38 GB for a while.

Both keep a layer as a folder for overlayfs, and below it the same files `link` and `lower`; what differs are the lists.
"""

import base64
import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


def asked(*words: str) -> Any:
    """What Docker answers, as JSON."""
    return json.loads(subprocess.run(["docker", *words], capture_output=True, check=True).stdout)


def folder() -> Path | None:
    """Where Docker keeps its layers; None if it keeps them in another way."""
    told = asked("info", "--format", "{{json .}}")
    return Path(told["DockerRootDir"]) / "overlay2" if told["Driver"] == "overlay2" else None


def write_store(images: Mapping[str, str], layers: Path, store: Path) -> None:
    """Write the lists of a store; its folder `overlay` is for Docker's layers, to be mounted there.

    Args:
        images: the names that Podman knows them by, and Docker's.
        layers: Docker's.
        store: the new folder.

    """
    listed: dict[str, dict[str, Any]] = {}
    named = [_image(name, asked("inspect", of)[0], layers, store, listed) for name, of in images.items()]
    for kind, entries in (("images", named), ("layers", list(listed.values()))):
        place = store / f"overlay-{kind}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{kind}.json").write_text(json.dumps(entries))
        (place / f"{kind}.lock").touch()
    (store / "overlay").mkdir()


def _image(
    name: str, told: dict[str, Any], layers: Path, store: Path, listed: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """One entry of the images' list; its layers go into theirs, and its files below the store."""
    identity, digests = str(told["Id"]).removeprefix("sha256:"), told["RootFS"]["Layers"]
    below = told["GraphDriver"]["Data"].get("LowerDir", "").split(":")
    folders = [Path(each).parent.name for each in (told["GraphDriver"]["Data"]["UpperDir"], *below) if each][::-1]
    for number, (layer, digest) in enumerate(zip(folders, digests, strict=True)):
        parent = {"parent": folders[number - 1]} if number else {}
        listed[layer] = {"id": layer, "diff-digest": digest, "compressed-diff-digest": digest, **parent}
        listed[layer] |= {"created": told["Created"], "diff-size": 1, "compressed-size": 1}
    content = layers.parent / "image" / "overlay2" / "imagedb" / "content" / "sha256" / identity
    described = [{"mediaType": _LAYER, "digest": digest, "size": 1} for digest in digests]
    config = {"mediaType": _CONFIG, "digest": told["Id"], "size": content.stat().st_size}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": described}).encode()
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    data = {told["Id"]: content.read_bytes(), "manifest": manifest, f"manifest-{digest}": manifest}
    place = store / "overlay-images" / identity
    place.mkdir(parents=True)
    for key, value in data.items():
        (place / (key if key == "manifest" else f"={base64.b64encode(key.encode()).decode()}")).write_bytes(value)
    sizes = {key: len(value) for key, value in data.items()}
    sums = {key: f"sha256:{hashlib.sha256(value).hexdigest()}" for key, value in data.items()}
    entry = {"id": identity, "digest": digest, "names": [name], "layer": folders[-1], "metadata": "{}"}
    entry |= {"big-data-names": list(data), "big-data-sizes": sizes, "big-data-digests": sums}
    return entry | {"created": told["Created"]}

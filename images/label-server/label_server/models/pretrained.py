"""Pretrained weights: which file each model wants, and fetching them within a bounded time.

Upstream downloads while it starts, without a time limit, and does not start if the download fails.
Here what cannot be had is left out: the model starts untrained and /info says so. Standard library only,
so that the image can run it before anything else is installed.
"""

import argparse
import hashlib
import http.client
import json
import sys
import threading
import time
import urllib.request
from pathlib import Path

# Name in the release (MONAI Label 0.8.5, sample-apps/radiology/lib/configs) and name in the model folder.
_RELEASE = "https://github.com/Project-MONAI/MONAILabel/releases/download/pretrained"
_SAM2 = "https://dl.fbaipublicfiles.com/segment_anything_2/072824"
FILES: dict[str, dict[str, str]] = {
    model: {f"pretrained_{local or model}.pt": f"{_RELEASE}/radiology_{remote}.pt"}
    for model, remote, local in (
        ("deepgrow_2d", "deepgrow_2d_bunet", ""),
        ("deepgrow_3d", "deepgrow_3d_bunet", ""),
        ("deepedit", "deepedit_dynunet_multilabel", "deepedit_dynunet"),
        ("segmentation", "segmentation_segresnet_multilabel", ""),
        ("segmentation_spleen", "segmentation_unet_spleen_total_seg", ""),
        ("localization_spine", "segmentation_segresnet_localization_spine", ""),
        ("localization_vertebra", "segmentation_segresnet_localization_vertebra", ""),
        ("segmentation_vertebra", "segmentation_segresnet_vertebra", ""),
        ("sw_fastedit", "segmentation_sw_fastedit_pet", ""),
    )
}
# Not its configuration, which names what to call: that is the installed package's own, see startup.py.
FILES["sam2"] = {"sam2_hiera_large.pt": f"{_SAM2}/sam2_hiera_large.pt"}
# What is fetched must have it. MONAI publishes none of its own files': what came first is recorded, and holds.
SHA256 = {"sam2_hiera_large.pt": "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b"}
RECORD = "weights.json"


def fetch(models: list[str], folder: Path, seconds: float) -> list[str]:
    """Fetch what is missing, all files at once.

    Args:
        models: keys of FILES; others have no pretrained weights.
        folder: where the files go; `weights.json` there records source and SHA-256 of each.
        seconds: bound on the whole, by the clock.

    Returns:
        One line for each file that could not be had, with the reason.

    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {name: url for model in models for name, url in FILES.get(model, {}).items()}
    missing = {name: url for name, url in wanted.items() if not (folder / name).exists()}
    deadline = time.monotonic() + seconds
    problems = {name: f"{name}: not finished within {seconds:g} s ({url})" for name, url in missing.items()}
    threads = [
        # Daemons: a download that hangs must not keep the start waiting.
        threading.Thread(target=_fetch, args=(name, url, folder, deadline, problems), daemon=True)
        for name, url in missing.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    # A download that hangs cannot clean up before the process ends, and its folder may be an image's layer.
    for name in missing:
        _part(folder, name).unlink(missing_ok=True)
    return sorted(problems.values())


def _fetch(name: str, url: str, folder: Path, deadline: float, problems: dict[str, str]) -> None:
    part = _part(folder, name)
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 (FILES)
            if time.monotonic() > deadline:
                return
            with part.open("wb") as file:
                while chunk := response.read(1 << 20):
                    if time.monotonic() > deadline:
                        return
                    digest.update(chunk)
                    file.write(chunk)
                size = response.headers.get("Content-Length")
                # http.client takes a connection that ends early for the end of the file.
                if size and file.tell() != int(size):
                    raise OSError(f"the connection ended after {file.tell()} of {size} bytes")
        expected = SHA256.get(name) or _known(folder).get(name, {}).get("sha256")
        if expected not in (None, digest.hexdigest()):
            raise ValueError(f"its SHA-256 is {digest.hexdigest()}, where {expected} is expected: it is another file")
        part.replace(folder / name)
        _record(folder, name, url, digest.hexdigest())
        problems.pop(name)
    except (OSError, ValueError, http.client.HTTPException) as error:
        problems[name] = f"{name}: {' '.join(str(error).split())} ({url})"
    finally:
        part.unlink(missing_ok=True)


def _part(folder: Path, name: str) -> Path:
    return folder / f"{name}.part"


_record_lock = threading.Lock()


def _known(folder: Path) -> dict[str, dict[str, str]]:
    """What was fetched so far: name -> `url` and `sha256`."""
    try:
        return dict(json.loads((folder / RECORD).read_text()))
    except (OSError, ValueError, TypeError):  # none yet, or one that a killed download left half written
        return {}


def _record(folder: Path, name: str, url: str, sha256: str) -> None:
    with _record_lock:
        known = _known(folder) | {name: {"url": url, "sha256": sha256}}
        draft = (folder / RECORD).with_suffix(".draft")
        draft.write_text(json.dumps(known, indent=2, sort_keys=True))
        draft.replace(folder / RECORD)


def main() -> None:
    """`python pretrained.py FOLDER SECONDS MODEL...`: fetch, and say what is missing; never fails a build."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("seconds", type=float)
    parser.add_argument("models", nargs="+")
    arguments = parser.parse_args()
    for line in fetch(arguments.models, arguments.folder, arguments.seconds):
        print(f"no pretrained weights: {line}", file=sys.stderr)


if __name__ == "__main__":
    main()

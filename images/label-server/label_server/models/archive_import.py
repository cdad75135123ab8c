"""Looks at weights, and lets those of an archive serve: only where all are sound, and what they replace is kept.

Each function can be given what makes the network of a model.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from label_server.errors import Refused
from label_server.models import architectures, provenance, registry, training_runs, upload
from label_server.models.architectures import Network
from label_server.models.archive_format import Packed
from label_server.models.registry import Model

_Maker = Callable[[Model], Network]


def take(archived: list[Packed], folder: Path, make: _Maker = architectures.make) -> list[dict[str, Any]]:
    """Let models of an archive serve.

    Args:
        archived: what the archive says of them.
        folder: into which it has been unpacked.
        make: makes the network of a model.

    Returns:
        What became of each; as what the weights before it are kept, and what to know about it.

    Raises:
        Refused: one is not sound, or is being trained; none has been replaced.

    """
    if not (verdict := verify_archive(archived, folder, make))["ok"]:
        raise Refused("; ".join(verdict["problems"]))
    own = registry.own()
    for packed in archived:
        if training_runs.progress(own[packed.name].runs):
            raise Refused(f"{packed.name} is being trained, and what comes of that would replace it: wait, or stop it")
    return [_take(own[packed.name], packed, folder, make) for packed in archived]


def verify_archive(archived: list[Packed], folder: Path, make: _Maker = architectures.make) -> dict[str, Any]:
    """Look at all models of an archive, as `take` does; nothing is changed."""
    return _verdict([packed.name for packed in archived], list(_problems(archived, folder, make)))


def verify(make: _Maker = architectures.make) -> dict[str, Any]:
    """Look at the weights that serve: whether they can be read, fit, and are known."""
    serving = {model: path for model in registry.own().values() if (path := model.serving())}
    problems = [f"{model.name}: {problem}" for model, path in serving.items() for problem in _faults(model, path, make)]
    return _verdict([model.name for model in serving], problems)


def _verdict(names: list[str], problems: list[str]) -> dict[str, Any]:
    return {"ok": not problems, "models": names, "problems": problems}


def _faults(model: Model, path: Path, make: _Maker) -> Iterator[str]:
    if registry.digest(path) not in provenance.on_record(model):
        yield f"nobody knows where {path.name} comes from: its checksum is on no record"
    network = make(model)
    try:
        upload.check(path, network.module, network.key)
    except upload.NotWeights as problem:
        yield str(problem)


def _problems(archived: list[Packed], folder: Path, make: _Maker) -> Iterator[str]:
    for packed in archived:
        network = make(registry.own()[packed.name])
        if problem := _other_labels(packed, network) or _other_network(packed, network, folder / packed.file):
            yield f"{packed.name}: {problem}"


def _other_labels(packed: Packed, network: Network) -> str:
    if packed.labels is None or network.labels is None:
        return "" if packed.labels == network.labels else "one tells labels apart, the other does not"
    there, here = len(packed.labels), len(network.labels)
    if there == here:
        return ""
    return f"it was trained on {there} labels, and has {here} on this server: both need the same list of labels"


def _other_network(packed: Packed, network: Network, path: Path) -> str:
    try:
        upload.check(path, network.module, network.key)
    except upload.NotWeights as problem:
        return str(problem)
    # What the manifest says is for programs that read no weights; it must be true.
    return "" if packed.architecture == network.architecture else "its manifest says another network"


def _take(model: Model, packed: Packed, folder: Path, make: _Maker) -> dict[str, Any]:
    provenance.record_import(model.folder, packed.sha256, packed.origin)
    kept = registry.put(folder / packed.file, model.published)
    note = _other_names(packed, make(model))
    return {"name": model.name, "outcome": "imported", "kept": kept.name if kept else None, "note": note}


def _other_names(packed: Packed, network: Network) -> str | None:
    if packed.labels == network.labels:
        return None
    there, here = (", ".join(labels or ()) for labels in (packed.labels, network.labels))
    return f"it was trained on {there}; this server calls them {here}"

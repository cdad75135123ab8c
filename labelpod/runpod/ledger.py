"""What this machine has ordered and rented at RunPod: so that nothing is forgotten which is not listed, or is gone.

`{"pods": {id: what it was}, "volumes": {id: what it is}, "orders": {name: since when}, "volume_orders": ..., "starts":
{id: since when}}`, times in seconds since 1970. An order is written before RunPod is asked: whatever becomes of the
answer, what was made is known by its name, and what may yet start by its id.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labelpod import files
from labelpod.console import say
from labelpod.runpod import polling

Json = dict[str, Any]

# A pod's environment: what GPU it was rented for.
WISH = "LABELPOD_WISH"
_A_DAY = 86400
_ORDERED = ("orders", "volume_orders", "starts")


def read(file: Path) -> dict[str, Json]:
    """Pod id -> what it was; empty if the file cannot be read."""
    return _read(file)["pods"]


def volumes(file: Path) -> dict[str, Json]:
    """Volume id -> name and since when, of those that were made from here."""
    return _read(file)["volumes"]


def orders(file: Path) -> set[str]:
    """The names under which a pod was ordered of which it is not known whether it was made."""
    return set(_read(file)["orders"])


def volume_orders(file: Path) -> set[str]:
    """The names under which a volume was ordered of which it is not known whether it was made."""
    return set(_read(file)["volume_orders"])


def awaited(file: Path) -> set[str]:
    """The names of pods that were ordered so recently that RunPod may not list them yet."""
    known = _read(file)
    rented = {pod["name"] for pod in known["pods"].values() if not pod.get("ended") and recent(pod)}
    return rented | {name for name, since in known["orders"].items() if _recent(since)}


def awaits_volume(name: str, file: Path) -> bool:
    """Whether a volume was ordered so recently that RunPod may not list it yet."""
    known = _read(file)
    made = any(volume["name"] == name and recent(volume) for volume in known["volumes"].values())
    return made or _recent(known["volume_orders"].get(name))


def order(name: str, file: Path, kind: str = "orders") -> None:
    """Remember that RunPod is about to be asked for a pod, or for one of `volume_orders` or `starts`."""
    with _changing(file) as known:
        kept = {each: since for each, since in known[kind].items() if time.time() - since < _A_DAY}
        known[kind] = kept | {name: time.time()}


def forget(name: str, file: Path, kind: str = "orders") -> None:
    """Forget an order that RunPod has refused."""
    with _changing(file) as known:
        known[kind].pop(name, None)


def add(pod: Json, file: Path) -> None:
    """Remember a pod."""
    network = (pod.get("mounts") or {}).get("network") or []
    entry = {
        "name": pod["name"],
        "gpu": (pod.get("gpu") or {}).get("id"),
        "created": pod.get("createdAt"),
        "cost": pod.get("cost") or None,  # a stopped pod may show 0
        "volume": network[0]["volumeId"] if network else None,
        "wish": (pod.get("env") or {}).get(WISH),
    }
    with _changing(file) as known:
        since = known["orders"].pop(pod["name"], time.time())
        before = known["pods"].get(pod["id"], {"at": since})
        known["pods"][pod["id"]] = before | {key: value for key, value in entry.items() if value is not None}


def end(pod_id: str, file: Path) -> None:
    """Remember that a pod is gone; it stays on the bill."""
    with _changing(file) as known:
        if pod_id in known["pods"]:
            known["pods"][pod_id]["ended"] = True


def add_volume(volume: Json, file: Path) -> None:
    """Remember a volume that was made from here."""
    with _changing(file) as known:
        since = known["volume_orders"].pop(volume["name"], time.time())
        known["volumes"][volume["id"]] = {"name": volume["name"], "at": since}


def end_volume(volume_id: str, file: Path) -> None:
    """Remember that a volume is gone; it stays on the bill."""
    with _changing(file) as known:
        if volume_id in known["volumes"]:
            known["volumes"][volume_id]["at"] = 0


def may_start(pod_id: str, file: Path) -> bool:
    """Whether a pod was asked to start so recently that it may still do so."""
    since = _read(file)["starts"].get(pod_id)
    return isinstance(since, int | float) and 0 <= time.time() - since < polling.LAG_SECONDS


def recent(entry: Json) -> bool:
    """Whether an entry is so young that RunPod may not know the pod or volume yet."""
    return _recent(entry.get("at"))


def _recent(since: object) -> bool:
    return isinstance(since, int | float) and 0 <= time.time() - since < 2 * polling.LAG_SECONDS


def _read(file: Path) -> dict[str, Json]:
    try:
        known = _dict(_parsed(file))
    except (OSError, ValueError):
        known = {}
    return _whole(known)


def _whole(known: Json) -> dict[str, Json]:
    entries = {kind: _dict(known.get(kind)) for kind in ("pods", "volumes", *_ORDERED)}
    for kind in ("pods", "volumes"):
        entries[kind] = {each: entry for each, entry in entries[kind].items() if "name" in _dict(entry)}
    return entries


def _dict(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _parsed(file: Path) -> object:
    return json.loads(file.read_text(encoding="utf-8"))


def _set_aside(file: Path) -> None:
    """Keep a record that cannot be read under another name, before another takes its place."""
    try:
        good = isinstance(_parsed(file), dict)
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        good = False
    if not good:
        aside = file.with_name(f"{file.name}.unreadable-{int(time.time())}")
        file.rename(aside)
        say(f"{file} cannot be read: it is {aside.name} now; `runpod status` and RunPod's console show what there is")


@contextmanager
def _changing(file: Path) -> Iterator[dict[str, Json]]:
    with files.locked(file.with_suffix(".lock")):
        _set_aside(file)
        known = _read(file)
        yield known
        files.write(file, json.dumps(known, indent=2).encode(), 0o600)

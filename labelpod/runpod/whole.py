"""RunPod's answers made whole: what labelpod reads is there and is what it should be, whatever was sent."""

from typing import Any

Json = dict[str, Any]

# What a pod may do that does not say it: everything is tried.
_ALL_ACTIONS = ["start", "stop", "restart", "terminate"]


def entries(found: object) -> list[Json] | None:
    """Those of a list's entries that say which they are; None if it is no list."""
    if not isinstance(found, list):
        return None
    return [entry for each in found if (entry := _entry(each))]


def pod(told: Json) -> Json:
    """A pod that says its id; UNKNOWN if it does not say its status."""
    known = _told(told)
    return known | {
        "name": _text(known.get("name")),
        "status": _text(known.get("status")) or "UNKNOWN",
        "actions": _list(known["actions"], str) if isinstance(known.get("actions"), list) else _ALL_ACTIONS,
        "env": {name: value for name, value in _dict(known.get("env")).items() if isinstance(value, str)},
        "mounts": {"network": _mounts(_dict(known.get("mounts")).get("network"))},
        "gpu": {"id": _text(_dict(known.get("gpu")).get("id")) or None},
        "template": _text(known.get("template")) or None,
        "runtime": _runtime(known.get("runtime")),
    }


def volume(told: Json) -> Json:
    """A network volume that says its id."""
    size = told.get("size")
    return told | {
        "name": _text(told.get("name")),
        "size": size if isinstance(size, int) else 0,
        "dataCenter": _text(told.get("dataCenter")),
    }


def template(told: Json) -> Json:
    """A template that says its id."""
    return told | {
        "name": _text(told.get("name")),
        "image": _text(told.get("image")),
        "env": _dict(told.get("env")),
    }


def made(answer: Json, order: Json) -> Json | None:
    """What was made by an order, which holds what the answer leaves out; None if it has no id."""
    return _entry(order | _told(answer))


def _entry(told: object) -> Json | None:
    return told if isinstance(told, dict) and told.get("id") and isinstance(told["id"], str) else None


def _told(answer: Json) -> Json:
    return {name: value for name, value in answer.items() if value is not None}


def _mounts(told: object) -> list[Json]:
    return [each for each in _list(told, dict) if _text(each.get("volumeId"))]


def _runtime(told: object) -> Json | None:
    """None as long as it does not run."""
    if not isinstance(told, dict) or not told:
        return None
    uptime = told.get("uptime")
    known = {"uptime": uptime} if isinstance(uptime, int | float) else {}
    return {name: value for name, value in told.items() if name != "uptime"} | known | {"ports": _ports(told)}


def _ports(runtime: Json) -> list[Json]:
    return [each for each in _list(runtime.get("ports"), dict) if str(each.get("public")).isdecimal()]


def _list(told: object, kind: type) -> list[Any]:
    return [each for each in told if isinstance(each, kind)] if isinstance(told, list) else []


def _dict(told: object) -> Json:
    return told if isinstance(told, dict) else {}


def _text(told: object) -> str:
    return told if isinstance(told, str) else ""

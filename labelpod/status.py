"""What runs, where, and what is in it: for people, and as JSON for programs."""

from collections.abc import Iterator
from typing import Any

from python_on_whales import Container

from labelpod.clients.label_server import LabelServer
from labelpod.clients.orthanc import Connection, Orthanc
from labelpod.config import addresses
from labelpod.config.settings import Settings
from labelpod.docker import published
from labelpod.docker.stack import DOOR, LABEL_SERVER, ORTHANC, POSTGRES, SECOND_ORTHANC, Stack, end_reason, numbered
from labelpod.errors import DeployError
from labelpod_common import labels
from labelpod_common.text import clean, counted

# Longer than that, and `status` says that the server is busy.
_INFO_SECONDS = 10


def collect(stack: Stack) -> dict[str, Any]:
    """The state of the stack; the keys are stable, tests and scripts rely on them."""
    containers = stack.containers()
    running = {name: container.state.status or "" for name, container in containers.items()}
    values = published.in_use(stack.values, {name: containers[name] for name in running if running[name] == "running"})
    url = addresses.label_server(values, values.LABEL_SERVER_TOKEN.get_secret_value())
    info, problem = _info(values)
    ends = {name: reason for name, container in containers.items() if (reason := end_reason(container))}
    problem = ends.get(LABEL_SERVER) or problem
    if not info and _starts(containers.get(LABEL_SERVER)):
        running[LABEL_SERVER], problem = "starting", "it has not answered yet; ask again in some seconds"
    datastore = info.get("datastore", {})
    orthancs = _servers(running, ORTHANC, *([SECOND_ORTHANC] if stack.values.two_orthancs else []))
    return {
        "label_server": {
            "url": url,
            "ready": bool(info),
            "state": running.get(LABEL_SERVER, "not started"),
            "problem": problem,
            "servers": _servers(running, *numbered(LABEL_SERVER, stack.values.LABEL_SERVERS)),
            "device": info.get("device"),
            "models": [
                {"name": name, "trained": model.get("trained"), "description": model.get("description", "")}
                for name, model in sorted(info.get("models", {}).items())
            ],
        },
        "ohif": {"url": f"{url}ohif/"},
        "orthanc": {
            "url": addresses.orthanc(values),
            **_said(ORTHANC, running, ends),
            **(_answer(values) if "running" in orthancs else {"answers": False}),
            "username": values.ORTHANC_USERNAME,
            "password": values.ORTHANC_PASSWORD.get_secret_value(),
            "dicom": addresses.dicom(values),
            "database": values.ORTHANC_DB,
            "servers": orthancs,
        },
        **({POSTGRES: _said(POSTGRES, running, ends)} if values.postgres else {}),
        **({DOOR: _said(DOOR, running, ends)} if stack.values.door else {}),
        "studies": {
            "total": datastore.get("total"),
            "labelled": datastore.get("completed"),
            "unread_labels": datastore.get("unread_labels", []),
            "left_out": datastore.get("left_out", {}),
        },
        "trainings": [
            {"model": model, "epoch": now["epoch"], "epochs": now["epochs"]}
            for model, stats in sorted(info.get("train_stats", {}).items())
            if (now := stats.get("progress"))
        ],
        "labels": info.get("labels") or [label.name for label in labels.parse(values.LABELS)],
    }


def well(state: dict[str, Any]) -> bool:
    """Whether every service answers that should: none should before the first `up`, and after `down`."""
    services = [state[name] for name in (ORTHANC, POSTGRES, DOOR) if name in state]
    if all(each["state"] == "not started" for each in (state["label_server"], *services)):
        return True
    runs = all(each["state"] == "running" for each in services)
    runs &= all(each == "running" for name in ("label_server", ORTHANC) for each in state[name]["servers"])
    return bool(state["label_server"]["ready"] and state[ORTHANC]["answers"] and runs)


def text(state: dict[str, Any]) -> str:
    """The state for people: lines that can be copied, whatever the width of the terminal."""
    server, orthanc, studies = state["label_server"], state["orthanc"], state["studies"]
    health = f"ready, on {server['device']}" if server["ready"] else f"{server['state']}: {server['problem']}"
    rows = [
        ("Label server", f"{server['url']}  (open in the browser; paste into 3D Slicer, module MONAI Label)"),
        ("", health),
        *_counted(server["servers"]),
        ("OHIF", f"{state['ohif']['url']}  (the study list)"),
        ("Orthanc", f"{orthanc['url']}  user {orthanc['username']}, password {orthanc['password']}"),
        ("", f"{_state(orthanc)}; DICOM {orthanc['dicom']}"),
        *_counted(orthanc["servers"]),
    ]
    if "postgres" in state:
        rows.append(("PostgreSQL", _state(state[POSTGRES])))
    if DOOR in state:
        rows.append(("Door", _state(state[DOOR])))
    if server["ready"]:
        rows += [
            ("Labels", ", ".join(state["labels"])),
            ("Models", ", ".join(map(_model, server["models"]))),
            ("Studies", f"{studies['total']}, {studies['labelled']} of them labelled"),
        ]
        rows += [("", f"{words} (`python3 deploy.py studies list` names all)") for words in _left_out(studies)]
    rows += [("Training", _training(each)) for each in state["trainings"]]
    return "\n".join(f"{name:<14}{words}" for name, words in rows)


def _left_out(studies: dict[str, Any]) -> Iterator[str]:
    if images := list(studies["left_out"].values()):
        yield f"{len(images)} more not offered: {clean(images[0])}"
    if unread := studies["unread_labels"]:
        yield f"{counted(len(unread), 'label')} of other programs cannot be read: {clean(unread[0]['reason'])}"


def untrained(state: dict[str, Any]) -> list[str]:
    """Names of the models that have no weights."""
    return [model["name"] for model in state["label_server"]["models"] if model["trained"] is False]


def _training(training: dict[str, Any]) -> str:
    done = f"epoch {training['epoch']} of {training['epochs']}"
    return f"{training['model']}, {done} (`python3 deploy.py train --watch` shows it)"


def _model(model: dict[str, Any]) -> str:
    return model["name"] if model["trained"] else f"{model['name']} (untrained)"


def _starts(container: Container | None) -> bool:
    """Whether it runs and Docker still waits for its first sign of health."""
    state = container.state if container else None  # each look asks Docker again
    return bool(state and state.status == "running" and state.health and state.health.status == "starting")


def _servers(running: dict[str, str], *names: str) -> list[str]:
    """What each of these does; none if there is none at all."""
    states = [running.get(name, "not started") for name in names]
    return states if set(states) != {"not started"} else []


def _counted(servers: list[str]) -> list[tuple[str, str]]:
    """How many of several run."""
    return [("", f"{servers.count('running')} of {len(servers)} servers run")] if len(servers) > 1 else []


def _said(name: str, running: dict[str, str], ends: dict[str, str]) -> dict[str, str]:
    """What a service does, and why it does not run if Docker knows."""
    return {"state": running.get(name, "not started")} | ({"problem": ends[name]} if name in ends else {})


def _state(service: dict[str, Any]) -> str:
    return ": ".join(clean(service[key]) for key in ("state", "problem") if key in service)


def _answer(values: Settings) -> dict[str, Any]:
    """Whether Orthanc answers; if not, why."""
    try:
        with Connection(Orthanc.of(values), _INFO_SECONDS) as connection:
            connection.greet()
    except DeployError as error:
        return {"answers": False, "problem": f"{error.message}; {error.remedy}"}
    return {"answers": True}


def _info(values: Settings) -> tuple[dict[str, Any], str]:
    """The label server's /info/; if there is none, why."""
    try:
        with LabelServer(values, _INFO_SECONDS) as server:
            return server.info(), ""
    except DeployError as error:
        return {}, f"{error.message}; {error.remedy}"

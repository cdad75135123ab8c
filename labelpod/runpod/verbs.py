"""The verbs of `deploy.py runpod`: options, and what they call; no logic."""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from labelpod import addresses, console, settings
from labelpod.errors import DeployError
from labelpod.runpod import catalog, cost, launching, overview, pods, pushing, ready, reaping, ssh, template, tunnel
from labelpod.runpod.client import Client
from labelpod.settings import Settings
from labelpod.stack import ENV_FILE, Stack

_MINUTES = 20.0


def add(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs; `verb(name, run, words)` makes the parser of one."""
    publish = verb("publish", _publish, "push the image and make or change the template")
    publish.add_argument("--dry-run", action="store_true", help="show the requests instead of sending them")
    publish.add_argument("--image", metavar="NAME@sha256:...", help="one that is pushed already")
    publish.add_argument("--public", action="store_true", help="let everybody use the template")

    launch = verb("launch", _launch, "rent the cheapest GPU that fits, and wait until the label server answers")
    launch.add_argument("--max-price", type=float, metavar="USD", help="an hour")
    launch.add_argument("--min-vram", type=int, default=catalog.MIN_VRAM, metavar="GB", help="default: %(default)s")
    launch.add_argument("--gpu", default="", metavar="PATTERN", help="part of the GPU's name, as 4090")
    launch.add_argument("--data-center", action="append", default=[], metavar="ID", help="as EU-RO-1; may be repeated")
    launch.add_argument("--community", action="store_true", help="cheaper hosts of others; not for patients' images")
    launch.add_argument("--volume", default="", metavar="NAME", help="network volume that keeps models and labels")
    launch.add_argument("--create-volume", type=int, default=0, metavar="GB", help="make the volume; it is billed")
    launch.add_argument("--force", action="store_true", help="although the stack has a pod")
    launch.add_argument("--yes", action="store_true", help="do not ask")
    _patience(launch)

    for name, run, words in (
        ("status", _status, "the template, the pod, and what it costs"),
        ("cost", _cost, "what was billed, by day"),
    ):
        verb(name, run, words).add_argument("--json", action="store_true", help="for programs")
    connect = verb("connect", _connect, "the tunnel: 3D Slicer to the pod, the pod to the studies on this machine")
    connect.add_argument("--port", type=int, metavar="N", help="of this machine; default: LABEL_SERVER_PORT if free")
    connect.add_argument("--direct", action="store_true", help="3D Slicer through RunPod's proxy instead; 100 s limit")
    verb("url", _url, "the label server's URL through RunPod's proxy, with the token")
    logs = verb("logs", _logs, "what the pod says")
    logs.add_argument("--system", action="store_true", help="what the host says: pulling, starting")
    logs.add_argument("--follow", action="store_true", help="go on showing what is new")
    verb("stop", _stop, "stop the pod: its GPU is given back, its address is kept")
    _patience(verb("resume", _resume, "start the stopped pod; on another host where its own is full"))
    terminate = verb("terminate", _terminate, "end the pod for good; a network volume stays")
    terminate.add_argument("pod", nargs="?", metavar="POD", help="default: the stack's one pod")
    terminate.add_argument("--yes", action="store_true", help="do not ask")
    terminate.add_argument("--force", action="store_true", help="although what was trained on it is lost with it")
    verb("reap", _reap, "stop pods of this stack that run longer than MAX_HOURS; for cron")


def _patience(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--minutes", type=float, default=_MINUTES, metavar="N", help="how long to wait; default: %(default)g"
    )


@contextmanager
def _api(values: Settings, dry_run: bool = False) -> Iterator[Client]:
    key = values.RUNPOD_API_KEY
    if not key and values.RUNPOD_API_KEY_FILE:
        try:
            key = Path(values.RUNPOD_API_KEY_FILE).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise DeployError(f"RUNPOD_API_KEY_FILE cannot be read: {error}", "name a file of yours") from None
    if not key:
        raise DeployError("there is no API key of RunPod's", "RUNPOD_API_KEY in .env, or RUNPOD_API_KEY_FILE")
    show = console.out.print if dry_run else None
    with Client(key, values.RUNPOD_API_URL, (lambda text: show(text, markup=False)) if show else None) as client:
        yield client


def inside() -> list[str]:
    """What comes before a command that is to run in the stack's pod."""
    values = _values()
    with _api(values) as client:
        return ssh.command(client, pods.running(client, values))


def _values() -> Settings:
    values = settings.load(ENV_FILE)
    if not values.LABEL_SERVER_TOKEN:
        raise DeployError("LABEL_SERVER_TOKEN is not set", "`python3 deploy.py up` makes one")
    return values


def _publish(options: argparse.Namespace) -> None:
    values = _values()
    with _api(values, options.dry_run) as client:
        template.find(client, values.RUNPOD_STACK)  # before the long push: is the key good?
        image = options.image or _pushed(values, options.dry_run)
        said = template.publish(client, template.wanted(values, image, options.public))
    console.out.print(f"Template {values.RUNPOD_STACK} {said}; image {image}", markup=False)


def _pushed(values: Settings, dry_run: bool) -> str:
    if dry_run:
        return f"{values.RUNPOD_IMAGE or 'RUNPOD_IMAGE'}@sha256:{'0' * 64}"
    return pushing.push(Stack(values).compose, values.RUNPOD_IMAGE)


def _launch(options: argparse.Namespace) -> None:
    values = _values()
    wish = catalog.Wish(
        options.max_price,
        options.min_vram,
        options.gpu,
        options.community,
        tuple(center.upper() for center in options.data_center),
    )
    with _api(values) as client:
        pod = launching.launch(
            client, values, wish, options.volume, options.create_volume, another=options.force, yes=options.yes
        )
        _await(client, values, pod, options.minutes)


def _await(client: Client, values: Settings, pod: pods.Pod, minutes: float) -> None:
    ready.wait(client, values, pod["id"], minutes, ready.lets_in(values))
    console.out.print(f"Pod {pod['id']} is ready; next: python3 deploy.py runpod connect", markup=False)


def _status(options: argparse.Namespace) -> None:
    values = _values()
    with _api(values) as client:
        state = overview.collect(client, values)
    console.out.print(json.dumps(state, indent=2) if options.json else overview.text(state), markup=False)


def _cost(options: argparse.Namespace) -> None:
    values = _values()
    with _api(values) as client:
        found = cost.bill(client, values)
    console.out.print(json.dumps(asdict(found), indent=2) if options.json else cost.table(found), markup=False)


def _connect(options: argparse.Namespace) -> None:
    values = _values()
    here = tunnel.studies(values)
    tunnel.check(here)
    with _api(values) as client:
        pod = pods.running(client, values)
        port = None if options.direct else tunnel.free_port(options.port or values.LABEL_SERVER_PORT)
        base = f"http://127.0.0.1:{port}/" if port else pods.url(pod, values)
        url = addresses.with_token(base, values.LABEL_SERVER_TOKEN)

        def ready() -> None:
            console.out.print(f"{url}\nThis is the server for 3D Slicer, with your token.", markup=False)
            if options.direct:
                console.say("RunPod's proxy ends what takes longer than 100 s, and large uploads.")
            console.say(
                "Ctrl-C ends the connection; the pod goes on, and costs, until `runpod stop` or until it is idle."
            )

        tunnel.keep(lambda: ssh.command(client, pods.running(client, values)), here, port, url, ready)


def _url(options: argparse.Namespace) -> None:
    values = _values()
    with _api(values) as client:
        base = pods.url(pods.the_pod(client, values), values)
    console.out.print(addresses.with_token(base, values.LABEL_SERVER_TOKEN), markup=False)


def _logs(options: argparse.Namespace) -> None:
    values = _values()
    source, patience = "system" if options.system else "container", None if options.follow else 5.0
    with _api(values) as client:
        pod = pods.the_pod(client, values)
        for line in client.get_pod_logs(pod["id"], source, 500, patience):
            console.out.print(line, markup=False)


def _stop(options: argparse.Namespace) -> None:
    values = _values()
    with _api(values) as client:
        pod = pods.act(client, pods.the_pod(client, values), "stop")
    kept = "its volume keeps models and labels" if pods.keeps_its_data(pod) else "what was trained on it is gone"
    console.out.print(f"Pod {pod['id']} is {pod['status']}; {kept}", markup=False)


def _resume(options: argparse.Namespace) -> None:
    values = _values()

    def relaunch(pod: pods.Pod) -> pods.Pod:
        wish = catalog.Wish(community=False)
        volume: str = pod["mounts"]["network"][0]["volumeId"]
        return launching.launch(client, values, wish, volume, yes=True)

    with _api(values) as client:
        _await(client, values, launching.resume(client, values, relaunch), options.minutes)


def _terminate(options: argparse.Namespace) -> None:
    values = _values()
    with _api(values) as client:
        pod = client.get_pod(options.pod) if options.pod else pods.the_pod(client, values)
        if not (pods.keeps_its_data(pod) or options.force):
            raise DeployError(
                f"pod {pod['id']} has no volume: the models that were trained on it would be lost",
                "`python3 deploy.py runpod terminate --force` ends it all the same",
            )
        if not console.confirmed(f"End pod {pod['id']} ({pod['name']})? A volume stays.", options.yes):
            raise DeployError("nothing was ended", "--yes ends it without asking")
        pods.terminate(client, pod["id"])
    console.out.print(f"Pod {pod['id']} is ended", markup=False)


def _reap(options: argparse.Namespace) -> None:
    values = _values()
    with _api(values) as client:
        for line in reaping.reap(client, values):
            console.out.print(line, markup=False)

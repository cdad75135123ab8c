"""`runpod`: the same label server on a rented GPU."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from labelpod import console
from labelpod.commands import runpod_volumes
from labelpod.commands.options import AsJson, Follow, Yes, amount, group, project
from labelpod.config import addresses, settings
from labelpod.config.settings import Settings
from labelpod.docker.stack import Stack
from labelpod.docker.tags import LABEL_SERVER_TAG
from labelpod.errors import DeployError
from labelpod.images import build
from labelpod.project import Project
from labelpod.runpod import (
    account,
    actions,
    catalog,
    cost,
    launch,
    pods,
    push,
    reap,
    resume,
    signing,
    ssh,
    status,
    template,
    tokens,
    tunnel,
    volumes,
    wait,
)
from labelpod.runpod.client import Client
from labelpod_common.text import counted
from labelpod_common.users_file import ADMIN

app = group("Rent a GPU at RunPod, and run the label server on it.")
app.add_typer(runpod_volumes.app, name="volumes")
_MINUTES = 20.0
_LOG_SECONDS = 5.0
PodId = Annotated[str | None, typer.Argument(metavar="POD", help="Default: the stack's one pod.", show_default=False)]
Minutes = Annotated[
    float | None,
    typer.Option(metavar="N", callback=amount, help=f"How long to wait; default: {_MINUTES:g}.", show_default=False),
]


def exec_prefix(place: Project) -> list[str]:
    """Command prefix that runs a program in the stack's pod."""
    values = _values(place)
    with account.api(values) as client:
        return ssh.command(client, pods.running(client, values, place), place.secrets)


@app.command("publish", epilog="Example: deploy.py runpod publish")
def publish(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the requests instead of sending them.")] = False,
    image: Annotated[
        str | None, typer.Option(metavar="NAME@sha256:...", help="An image that has been pushed already.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Let everybody use the template.")] = False,
) -> None:
    """Push the image and create or change the template."""
    place = project(context)
    values = _values(place)
    with account.api(values, console.out.print if dry_run else None) as client:
        template.find(client, values.RUNPOD_STACK)  # before the long push: is the key good?
        image = image or _pushed(place, values, dry_run)
        said = template.publish(client, template.wanted(values, image, public))
    console.out.print(f"Template {values.RUNPOD_STACK} {said}; image {image}")


@app.command("launch", epilog="Example: deploy.py runpod launch --max-price 0.40 --volume nodules")
def launch_pod(
    context: typer.Context,
    max_price: Annotated[float | None, typer.Option(metavar="USD", callback=amount, help="An hour.")] = None,
    min_vram: Annotated[int, typer.Option(metavar="GB", min=0, help="Memory of the GPU.")] = catalog.MIN_VRAM,
    gpu: Annotated[str, typer.Option(metavar="PATTERN", help="Part of the GPU's name, for example 4090.")] = "",
    data_center: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="For example EU-RO-1; may be repeated.")
    ] = None,
    community: Annotated[
        bool, typer.Option("--community", help="Cheaper hosts of others; not for patients' images.")
    ] = False,
    volume: Annotated[str, typer.Option(metavar="NAME", help="Network volume that keeps models and labels.")] = "",
    create_volume: Annotated[
        int | None,
        typer.Option(
            metavar="GB",
            min=volumes.SMALLEST,
            max=volumes.LARGEST,
            help="Create the volume; it is billed. Without --volume it has the stack's name.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Rent another pod even if one exists.")] = False,
    yes: Yes = False,
    minutes: Minutes = None,
) -> None:
    """Rent the cheapest GPU that fits, and wait until the label server answers."""
    place = project(context)
    values = _values(place)
    centers = tuple(center.upper() for center in data_center or ())
    wish = catalog.Wish(max_price, min_vram, gpu, community, centers)
    with account.api(values) as client:
        pod = launch.launch(client, values, place, wish, volume, create_volume or 0, another=force, yes=yes)
        _ready(client, values, pod, minutes)
        stays = launch.confirm(client, values, place, pod, another=force, max_price=max_price)
        if stays["id"] != pod["id"]:
            _ready(client, values, stays, minutes)
    _say_ready(stays)


@app.command("status", epilog="Example: deploy.py runpod status --json")
def show_status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the template, the pod, and what it costs."""
    place = project(context)
    values = _values(place)
    with account.api(values) as client:
        state = status.collect(client, values, place)
    console.out.print(json.dumps(state, indent=2) if as_json else status.text(state))


@app.command("cost", epilog="Example: deploy.py runpod cost")
def show_cost(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what was billed, by day."""
    place = project(context)
    values = _values(place)
    with account.api(values) as client:
        found = cost.bill(client, values, place)
    console.out.print(json.dumps(asdict(found), indent=2) if as_json else cost.table(found))


@app.command("connect", epilog="Example: deploy.py runpod connect")
def connect(
    context: typer.Context,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=65535, help="Of this machine; default: LABELPOD_LABEL_SERVER_PORT if free."
        ),
    ] = None,
    direct: Annotated[
        bool, typer.Option("--direct", help="Let 3D Slicer use RunPod's proxy instead; it has a limit of 100 s.")
    ] = False,
) -> None:
    """Open the tunnel: 3D Slicer to the pod, the pod to the studies on this machine."""
    place = project(context)
    values = _values(place)
    here = tunnel.studies(values, place.secrets)
    tunnel.check(here)
    with account.api(values) as client:
        pod = pods.running(client, values, place)
        token = tokens.of(pod, values)[ADMIN]
        local = None if direct else tunnel.free_port(port or values.LABEL_SERVER_PORT)
        base = f"http://127.0.0.1:{local}/" if local else pods.url(pod, values)
        url = addresses.with_token(base, token)

        def ready() -> None:
            console.out.print(f"{url}\nThis is the server for 3D Slicer, with your token.")
            if direct:
                console.say("RunPod's proxy ends what takes longer than 100 s, and large uploads.")
            console.say(
                "Ctrl-C ends the connection; the pod keeps running, and costs, until `runpod stop` or until it is idle."
            )

        with tunnel.ending_by_signal():
            tunnel.keep(
                lambda: ssh.command(client, pods.running(client, values, place), place.secrets), here, local, url, ready
            )


@app.command("url", epilog="Example: deploy.py runpod url")
def url(
    context: typer.Context,
    user: Annotated[str, typer.Option(metavar="NAME", help="Whose token is in it.")] = ADMIN,
) -> None:
    """Show the label server's URL through RunPod's proxy, with the token that a user has at the pod."""
    place = project(context)
    values = _values(place)
    with account.api(values) as client:
        pod = pods.the_pod(client, values, place)
    known = tokens.of(pod, values)
    if user not in known:
        raise DeployError(
            f"pod {pod['id']} has no user {user}: {', '.join(known)}",
            "a pod has the users that `python3 deploy.py users list` shows when it is launched",
        )
    console.out.print(addresses.with_token(pods.url(pod, values), known[user]))


@app.command("logs", epilog="Example: deploy.py runpod logs --system")
def logs(
    context: typer.Context,
    system: Annotated[bool, typer.Option("--system", help="The host's: pulling, starting.")] = False,
    follow: Follow = False,
) -> None:
    """Show the pod's logs."""
    place = project(context)
    values = _values(place)
    source, patience = "system" if system else "container", None if follow else _LOG_SECONDS
    with account.api(values) as client:
        pod = pods.the_pod(client, values, place)
        for line in client.get_pod_logs(pod["id"], source, 500, patience):
            console.out.print(line)


@app.command("stop", epilog="Example: deploy.py runpod stop")
def stop(context: typer.Context, pod_id: PodId = None) -> None:
    """Stop the pod: its GPU is given back, its address is kept."""
    place = project(context)
    values = _values(place)
    with account.api(values) as client:
        pod = actions.stop(client, pods.the_pod(client, values, place, pod_id), place.pods_record)
    kept = "its volume keeps models and labels" if pods.keeps_its_data(pod) else "what was trained on it is gone"
    console.out.print(f"Pod {pod['id']} is {pod['status']}; {kept}")


@app.command("resume", epilog="Example: deploy.py runpod resume")
def resume_pod(context: typer.Context, pod_id: PodId = None, yes: Yes = False, minutes: Minutes = None) -> None:
    """Start the stopped pod; if its own host is full, ask for another that costs no more."""
    place = project(context)
    values = _values(place)
    with account.api(values) as client:
        pod = resume.resume(client, values, place, pod_id, yes)
        _ready(client, values, pod, minutes)
        resume.see_price(client, pods.seen(client, pod), place.pods_record)
    _say_ready(pod)


@app.command("terminate", epilog="Example: deploy.py runpod terminate")
def terminate(
    context: typer.Context,
    pod_id: PodId = None,
    yes: Yes = False,
    force: Annotated[bool, typer.Option("--force", help="Even if what was trained on it is lost with it.")] = False,
) -> None:
    """End the pod for good; a network volume stays."""
    place = project(context)
    values = _values(place)
    with account.api(values) as client:
        pod = pods.the_pod(client, values, place, pod_id)
        if not (pods.keeps_its_data(pod) or force):
            raise DeployError(
                f"pod {pod['id']} has no volume: the models that were trained on it would be lost",
                "`python3 deploy.py runpod terminate --force` ends it anyway",
            )
        if not console.confirmed(f"End pod {pod['id']} ({pod['name']})? A volume stays.", yes):
            raise DeployError("nothing was ended", "--yes ends it without asking")
        left = actions.left(pods.of_stack(client, values, place))
        actions.terminate(client, pod, place.pods_record)
        console.out.print(f"Pod {pod['id']} is ended")
        for each in left:
            if each["id"] != pod["id"]:
                actions.terminate(client, each, place.pods_record)


@app.command("reap", epilog="Example: deploy.py runpod reap")
def reap_pods(context: typer.Context) -> None:
    """Stop pods of this stack that run longer than LABELPOD_MAX_HOURS; for cron."""
    place = project(context)
    values = _values(place)
    left = 0
    with account.api(values) as client:
        for line, done in reap.reap(client, values, place):
            console.out.print(line)
            left += not done
    if left:
        raise DeployError(
            f"{counted(left, 'pod')} of {values.RUNPOD_STACK} STILL COST MONEY, for longer than LABELPOD_MAX_HOURS",
            "`python3 deploy.py runpod status` shows them; stop or terminate them, here or in RunPod's console",
        )


def _values(place: Project) -> Settings:
    values = settings.load(place.env_file)
    if not values.LABEL_SERVER_TOKEN:
        raise DeployError("LABELPOD_LABEL_SERVER_TOKEN is not set", "`python3 deploy.py up` makes one")
    return values


def _pushed(place: Project, values: Settings, dry_run: bool) -> str:
    if dry_run:
        return f"{values.RUNPOD_IMAGE or 'LABELPOD_RUNPOD_IMAGE'}@sha256:{'0' * 64}"
    docker = Stack(place, values).docker
    image = push.push(docker, build.own(place), values.RUNPOD_IMAGE)
    if signing.possible():
        from labelpod.images import sbom  # here, because no other verb should wait for the SBOM library

        sbom.write_one(docker, place, LABEL_SERVER_TAG)
        signing.sign(image, sbom.file(place, LABEL_SERVER_TAG), place.secrets)
    return image


def _ready(client: Client, values: Settings, pod: pods.Pod, minutes: float | None) -> None:
    token = tokens.of(pod, values)[ADMIN]
    wait.wait(client, values, pod, _MINUTES if minutes is None else minutes, wait.lets_in(token))


def _say_ready(pod: pods.Pod) -> None:
    console.out.print(f"Pod {pod['id']} is ready; next: python3 deploy.py runpod connect")

"""The command line: verbs, options and the one place where errors become words; no logic."""

import argparse
import functools
import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.text import Text

from labelpod import (
    addresses,
    console,
    doctor,
    history,
    lifecycle,
    models,
    render,
    settings,
    slicer,
    status,
    testing,
    training,
    users,
)
from labelpod.errors import DeployError
from labelpod.label_server import LabelServer
from labelpod.orthanc import Orthanc
from labelpod.runpod import verbs as runpod
from labelpod.stack import ENV_FILE, SERVICES, Stack

# phantom, preflight and studies are imported where they are used: pydicom and numpy take a third of a start.
from labelpod_common import __version__
from labelpod_common.users_file import ROLES


def main(arguments: list[str] | None = None) -> int:
    """Run one verb.

    Returns:
        0 done, 1 an error that the user can mend, 2 wrong usage (by argparse), 130 interrupted.

    """
    options = _parser().parse_args(arguments)
    console.echo_docker(options.verbose)
    try:
        return int(options.run(options) or 0)
    except DeployError as error:
        if options.verbose:
            traceback.print_exc()
        console.say(f"Error: {error.message}\n       {error.remedy}")
        return 1
    except KeyboardInterrupt:
        console.say("\nInterrupted; the same command goes on where this one stopped.")
        return 130
    except BrokenPipeError:
        return 0


def _up(options: argparse.Namespace) -> None:
    stack = lifecycle.up(device=options.device, yes=options.yes)
    if options.sample:
        _push_sample(stack, options)
    state = status.collect(stack)
    console.out.print(status.text(state))
    if names := status.untrained(state):
        console.say(
            f"Untrained, for want of pretrained weights: {', '.join(names)}. They answer, but know nothing yet."
        )


def _push_sample(stack: Stack, options: argparse.Namespace) -> None:
    from labelpod import phantom

    with tempfile.TemporaryDirectory() as folder:
        with console.progress("Making a synthetic chest CT with three nodules; it is not a patient"):
            phantom.write(Path(folder))
        options.paths, options.force, options.json = [Path(folder)], False, False
        _push(options, stack)


def _down(options: argparse.Namespace) -> None:
    lifecycle.down(volumes=options.volumes, yes=options.yes)


def _status(options: argparse.Namespace) -> None:
    state = status.collect(_stack())
    _show(options, state, lambda: status.text(state))


def _logs(options: argparse.Namespace) -> None:
    for line in _stack().logs(options.service, options.follow):
        console.out.print(line, markup=False, end="")


def _doctor(options: argparse.Namespace) -> int:
    findings = doctor.examine(ENV_FILE)
    _show(options, doctor.to_json(findings), lambda: doctor.text(findings))
    return 1 if doctor.blocking(findings) else 0


def _render(options: argparse.Namespace) -> None:
    for path in render.write(settings.load(ENV_FILE)):
        console.out.print(f"{path.relative_to(render.ROOT)} written", markup=False)


def _build(options: argparse.Namespace) -> None:
    lifecycle.build(yes=options.yes)


def _push(options: argparse.Namespace, stack: Stack | None = None) -> int:
    from labelpod import studies

    values = (stack or _stack()).values
    outcome = studies.push(options.paths, Orthanc.of(values), values.STUDIES_MODALITY, force=options.force)
    _show(options, studies.outcome_json(outcome), lambda: studies.outcome_table(outcome))
    return 0 if outcome.ok else 1


def _list(options: argparse.Namespace) -> None:
    from labelpod import studies

    found = studies.list_studies(Orthanc.of(settings.load(ENV_FILE)))
    _show(options, studies.studies_json(found), lambda: studies.studies_table(found))


def _migrate(options: argparse.Namespace) -> None:
    console.out.print(lifecycle.migrate(yes=options.yes), markup=False)


def _check(options: argparse.Namespace) -> int:
    from labelpod import preflight

    report = preflight.scan(options.paths, settings.load(ENV_FILE).STUDIES_MODALITY)
    _show(options, preflight.to_json(report), lambda: preflight.table(report))
    return 0 if report.ok else 1


def _train(options: argparse.Namespace) -> None:
    with LabelServer(settings.load(ENV_FILE)) as server:
        if options.stop:
            console.out.print(training.stop(server, options.model), markup=False)
            return
        if options.model:
            current = training.start(server, options.model, options.epochs, options.val_split, options.batch_size)
        else:
            current = training.running(server)
        words = training.watch(server, current) if options.watch else training.LOOK_AGAIN
        console.out.print(words, markup=False)


def _history(options: argparse.Namespace) -> None:
    stack = _stack()
    with LabelServer(stack.values) as server:
        found = history.runs(server, options.model)
    _show(options, found, lambda: Text(history.table(found)))
    if options.plot:
        history.plot(stack, found, options.plot)
        console.say(f"{options.plot} written")


def _list_models(options: argparse.Namespace) -> None:
    found = models.listing(_inside(options))
    _show(options, found, lambda: Text(models.table(found)))


def _export_models(options: argparse.Namespace) -> None:
    if bool(options.model) == options.all:
        options.usage("name one MODEL, or give --all")
    models.export(_inside(options), options.model, options.file)
    console.out.print(f"{options.file} written", markup=False)


def _import_models(options: argparse.Namespace) -> None:
    console.out.print(models.imported(models.take(_inside(options), options.file)), markup=False)


def _verify_models(options: argparse.Namespace) -> int:
    verdict = models.verify(_inside(options), options.file)
    _show(options, verdict, lambda: Text(models.verified(verdict)))
    return 0 if verdict["ok"] else 1


def _slicer(options: argparse.Namespace) -> None:
    slicer.write(settings.load(ENV_FILE), options.output)
    console.out.print(
        f"{options.output} written; run it once by: Slicer --python-script {options.output}\n"
        "It holds the token of admin: no other user of this machine can read it, and no other person should get it.",
        markup=False,
    )


def _add_user(options: argparse.Namespace) -> None:
    values = settings.load(ENV_FILE)
    token = users.add(options.name, options.role)
    url = addresses.label_server(values, token)
    data = {"name": options.name, "role": options.role, "url": url, "token": token}
    words = f"{url}  ({options.name}, {options.role})\nThis URL lets its owner in. It cannot be shown again."
    _show(options, data, lambda: words)


def _list_users(options: argparse.Namespace) -> None:
    known = users.known()
    _show(options, known, lambda: "\n".join(f"{each['role']:<11}{each['name']}" for each in known))


def _revoke_user(options: argparse.Namespace) -> None:
    users.revoke(options.name)
    console.out.print(f"{options.name} is let in no more", markup=False)


def _test(options: argparse.Namespace) -> int:
    return testing.run(options.tiers, options.yes)


def _inside(options: argparse.Namespace) -> list[str]:
    return runpod.inside() if options.pod else _stack().inside()


def _stack() -> Stack:
    return Stack(settings.load(ENV_FILE))


def _show(options: argparse.Namespace, data: Any, text: Callable[[], Any]) -> None:
    """JSON for programs, or a table for people."""
    if options.json:
        print(json.dumps(data, indent=2))
    else:
        console.out.print(text())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deploy.py", description="MONAI Label and Orthanc, set up for your labels.")
    parser.add_argument("--verbose", action="store_true", help="show every docker command, and tracebacks")
    parser.add_argument("--version", action="version", version=f"labelpod {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    up = _verb(verbs, "up", _up, "start everything; install and build what is missing")
    _yes(up)
    up.add_argument("--sample", action="store_true", help="load a synthetic chest CT, to have something to look at")
    device = up.add_mutually_exclusive_group()
    device.add_argument("--cpu", dest="device", action="store_const", const="cpu", help="do not use a GPU")
    device.add_argument("--gpu", dest="device", action="store_const", const="gpu", help="use the GPU, or say why not")

    down = _verb(verbs, "down", _down, "stop everything; labels, models and studies stay")
    _yes(down)
    down.add_argument("--volumes", action="store_true", help="delete labels, models and studies as well")

    _json(_verb(verbs, "status", _status, "what runs, its addresses and passwords, models, studies"))
    logs = _verb(verbs, "logs", _logs, "what the services say")
    logs.add_argument("service", nargs="?", metavar="SERVICE", help=" or ".join(SERVICES))
    logs.add_argument("--follow", action="store_true", help="go on showing what is new")
    _json(_verb(verbs, "doctor", _doctor, "what is wrong with this machine, and what to do about it"))
    _verb(verbs, "render", _render, "write the generated files into build/")
    _yes(_verb(verbs, "build", _build, "get or build the images"))

    actions = _verb(verbs, "studies", None, "DICOM studies").add_subparsers(metavar="ACTION", required=True)
    push = _paths(_verb(actions, "push", _push, "check DICOM files and send them to Orthanc"))
    push.add_argument("--force", action="store_true", help="send series that the check refuses, too")
    _json(_verb(actions, "list", _list, "the studies in Orthanc"))
    _paths(_verb(actions, "check", _check, "check DICOM files for what MONAI Label would mis-read"))
    _yes(_verb(actions, "migrate", _migrate, "take the studies over into the database that ORTHANC_DB names"))

    actions = _verb(verbs, "users", None, "who may use the label server").add_subparsers(
        metavar="ACTION", required=True
    )
    add = _verb(actions, "add", _add_user, "let somebody in, and print their URL once")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--role", choices=ROLES, default=ROLES[0], help="default: %(default)s")
    _json(add)
    _json(_verb(actions, "list", _list_users, "names and roles"))
    _verb(actions, "revoke", _revoke_user, "let somebody in no more").add_argument("name", metavar="NAME")

    train = _verb(verbs, "train", _train, "train a model on the labelled studies")
    train.add_argument("model", nargs="?", metavar="MODEL", help="default: the one that is being trained")
    train.add_argument("--epochs", type=_count, metavar="N", help="how often all labels are gone through")
    train.add_argument("--val-split", type=_share, metavar="F", help="share of the labels to measure Dice on, as 0.2")
    train.add_argument(
        "--batch-size", type=_count, metavar="N", help="slices or regions at once; less takes less memory"
    )
    then = train.add_mutually_exclusive_group()
    then.add_argument("--watch", action="store_true", help="show it until it ends; Ctrl-C leaves it running")
    then.add_argument("--stop", action="store_true", help="stop the training that runs")
    past = _verb(verbs, "history", _history, "what became of the trainings")
    past.add_argument("model", nargs="?", metavar="MODEL", help="default: all")
    past.add_argument("--plot", type=Path, metavar="FILE.png", help="draw loss and Dice")
    _json(past)
    actions = _verb(verbs, "models", None, "models as files").add_subparsers(metavar="ACTION", required=True)
    _json(_verb(actions, "list", _list_models, "the models: trained or not, checksum, where they came from"))
    export = _verb(actions, "export", _export_models, "write an archive of one model, or of all")
    export.add_argument("model", nargs="?", metavar="MODEL", help="as `models list` calls it")
    export.add_argument("--all", action="store_true", help="all models that have weights")
    export.add_argument("file", type=Path, metavar="FILE", help="NAME.tar.zst, which must not be there yet")
    export.set_defaults(usage=export.error)
    take = _verb(actions, "import", _import_models, "let the models of an archive serve, if all are sound and fit")
    take.add_argument("file", type=Path, metavar="FILE", help="of `models export`")
    verify = _verb(actions, "verify", _verify_models, "whether models are sound; changes nothing")
    verify.add_argument("file", nargs="?", type=Path, metavar="FILE", help="an archive; default: the models that serve")
    _json(verify)
    for each in actions.choices.values():
        each.add_argument("--pod", action="store_true", help="those of the rented pod, over SSH")
    connect = _verb(verbs, "slicer", _slicer, "write a script that connects 3D Slicer to the label server")
    connect.add_argument("--output", type=Path, default=Path("connect.py"), metavar="FILE", help="default: %(default)s")

    actions = _verb(verbs, "runpod", None, "a rented GPU").add_subparsers(metavar="ACTION", required=True)
    runpod.add(functools.partial(_verb, actions))

    test = _verb(verbs, "test", _test, "run the tests")
    _yes(test)
    tiers = "; ".join(f"{name}: {what}" for name, what in testing.TIERS.items())
    test.add_argument("tiers", nargs="*", metavar="TIER", help=f"default: all. {tiers}")
    return parser


def _verb(
    verbs: Any, name: str, run: Callable[[argparse.Namespace], int | None] | None, words: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
    if run:
        parser.set_defaults(run=run)
    return parser


def _yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to less than 1")
    return number


def _paths(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files or folders of any depth")
    _json(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""The models of this server, from its command line: `python -m app.archive list | export | import | verify`.

An archive is a tar stream on stdout or stdin; other results are JSON on stdout. Words go to stderr, each line behind
`archive: `, and a refusal is the last of them, with exit code 1.
"""

import argparse
import json
import os
import signal
import sys
from typing import Any, BinaryIO

from app import model_files, origins
from app.model_files import Model, Refused
from app.packing import unpacked

_ORIGIN = ("weights", "run", "dice", "studies", "epochs", "imported")


def listing() -> list[dict[str, Any]]:
    """Each model of this server: what serves it, and where that came from; None is what nobody knows."""
    return [_row(model) for model in model_files.served().values()]


def _row(model: Model) -> dict[str, Any]:
    path = model.serving()
    if path is None:
        return {"name": model.name, "size": None, "sha256": None} | dict.fromkeys(_ORIGIN) | {"weights": "untrained"}
    checksum = model_files.digest(path)
    known = origins.of(model, path, checksum).model_dump()
    return {"name": model.name, "size": path.stat().st_size, "sha256": checksum} | {
        key: known.get(key) for key in _ORIGIN
    }


# What needs the networks is imported where it is used: torch takes seconds to load, and a list has no need of it.


def _list(_: argparse.Namespace, out: BinaryIO) -> bool:
    if app := model_files.foreign_app():
        _say(f"APP is {app}: it has no weights of its own models here")
    for words in model_files.left_out():
        _say(f"not listed: {words}")
    _show(listing(), out)
    return True


def _export(arguments: argparse.Namespace, out: BinaryIO) -> bool:
    chosen = model_files.chosen(arguments.models)
    if arguments.all:
        untrained = [f"{name}: untrained" for name, model in model_files.own().items() if model not in chosen]
        for words in untrained + model_files.left_out():
            _say(f"left out: {words}")
    from app import outgoing

    outgoing.export(chosen, out)
    return True


def _import(_: argparse.Namespace, out: BinaryIO) -> bool:
    own = model_files.own()
    with unpacked(sys.stdin.buffer) as (manifest, folder):
        new = [packed for packed in manifest.models if not own[packed.name].serves(packed.sha256)]
        same = [packed.name for packed in manifest.models if packed not in new]
        outcomes: list[dict[str, Any]] = [
            {"name": name, "outcome": "unchanged", "kept": None, "note": None} for name in same
        ]
        if new:
            from app import incoming

            outcomes += incoming.take(new, folder)
    _show(outcomes, out)
    return True


def _verify(arguments: argparse.Namespace, out: BinaryIO) -> bool:
    verdict = _verdict(arguments)
    _show(verdict, out)
    return bool(verdict["ok"])


def _verdict(arguments: argparse.Namespace) -> dict[str, Any]:
    if not arguments.archive:
        from app import incoming

        return incoming.verify()
    try:
        with unpacked(sys.stdin.buffer) as (manifest, folder):
            from app import incoming

            return incoming.verify_archive(manifest.models, folder)
    except Refused as problem:
        return {"ok": False, "models": [], "problems": [str(problem)]}


def _show(result: Any, out: BinaryIO) -> None:
    out.write(json.dumps(result).encode())


def _say(words: str) -> None:
    print(f"archive: {words}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.archive", description=__doc__)
    verbs = parser.add_subparsers(required=True)
    verbs.add_parser("list").set_defaults(run=_list)
    export = verbs.add_parser("export")
    export.add_argument("--all", action="store_true")
    export.add_argument("models", nargs="*")
    export.set_defaults(run=_export)
    verbs.add_parser("import").set_defaults(run=_import)
    verify = verbs.add_parser("verify")
    verify.add_argument("archive", nargs="?", choices=["-"], help="an archive on stdin instead of the server's models")
    verify.set_defaults(run=_verify)
    return parser


def main() -> int:
    """Run one verb; the exit code is 0 where all is well."""
    arguments = _parser().parse_args()
    # Whoever ends it ends it properly: what has been unpacked so far is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # MONAI and torch say things on stdout, which is the result's alone.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        good = arguments.run(arguments, out)
        out.flush()
    except Refused as problem:
        _say(str(problem))
        return 1
    except KeyboardInterrupt:
        _say("interrupted")
        return 1
    except Exception as error:  # the disk is full, whoever reads has gone, or it is a fault of ours
        _say(f"{type(error).__name__}: {error}")
        raise
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

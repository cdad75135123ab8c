"""The models of this server, from its command line: `python -m label_server.models list | export | import | verify`.

An archive is a tar stream on stdout or stdin; other results are JSON on stdout. Words go to stderr, each line behind
`archive: `, and a refusal is the last of them, with exit code 1.
"""

import argparse
import json
import os
import signal
import sys
from typing import Any, BinaryIO

from label_server.errors import Refused
from label_server.models import provenance, registry
from label_server.models.archive_format import unpacked
from label_server.models.registry import Model

_ORIGIN = ("weights", "run", "dice", "studies", "epochs", "imported")


def listing() -> list[dict[str, Any]]:
    """Each model of this server: what serves it, and where that came from; None is what nobody knows."""
    return [_row(model) for model in registry.served().values()]


def _row(model: Model) -> dict[str, Any]:
    path = model.serving()
    if path is None:
        return {"name": model.name, "size": None, "sha256": None} | dict.fromkeys(_ORIGIN) | {"weights": "untrained"}
    checksum = registry.digest(path)
    known = provenance.of(model, path, checksum).model_dump()
    return {"name": model.name, "size": path.stat().st_size, "sha256": checksum} | {
        key: known.get(key) for key in _ORIGIN
    }


# What needs the networks is imported where it is used: torch takes seconds to load, and a list has no need of it.


def _list(_: argparse.Namespace, out: BinaryIO) -> bool:
    if app := registry.foreign_app():
        _say(f"APP is {app}: it has no weights of its own models here")
    for words in registry.left_out():
        _say(f"not listed: {words}")
    _show(listing(), out)
    return True


def _export(arguments: argparse.Namespace, out: BinaryIO) -> bool:
    chosen = registry.chosen(arguments.models)
    if arguments.all:
        untrained = [f"{name}: untrained" for name, model in registry.own().items() if model not in chosen]
        for words in untrained + registry.left_out():
            _say(f"left out: {words}")
    from label_server.models import archive_export

    archive_export.export(chosen, out)
    return True


def _import(_: argparse.Namespace, out: BinaryIO) -> bool:
    own = registry.own()
    with unpacked(sys.stdin.buffer) as (manifest, folder):
        new = [packed for packed in manifest.models if not own[packed.name].serves(packed.sha256)]
        same = [packed.name for packed in manifest.models if packed not in new]
        outcomes: list[dict[str, Any]] = [
            {"name": name, "outcome": "unchanged", "kept": None, "note": None} for name in same
        ]
        if new:
            from label_server.models import archive_import

            outcomes += archive_import.take(new, folder)
    _show(outcomes, out)
    return True


def _verify(arguments: argparse.Namespace, out: BinaryIO) -> bool:
    verdict = _verdict(arguments)
    _show(verdict, out)
    return bool(verdict["ok"])


def _verdict(arguments: argparse.Namespace) -> dict[str, Any]:
    if not arguments.archive:
        from label_server.models import archive_import

        return archive_import.verify()
    try:
        with unpacked(sys.stdin.buffer) as (manifest, folder):
            from label_server.models import archive_import

            return archive_import.verify_archive(manifest.models, folder)
    except Refused as problem:
        return {"ok": False, "models": [], "problems": [str(problem)]}


def _show(result: Any, out: BinaryIO) -> None:
    out.write(json.dumps(result).encode())


def _say(words: str) -> None:
    print(f"archive: {words}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m label_server.models", description=__doc__)
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
    # However it is ended, it ends properly: what has been unpacked so far is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # MONAI and torch say things on stdout, which is only for the result.
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
    except Exception as error:  # the disk is full, the reader has gone, or it is a fault of ours
        _say(f"{type(error).__name__}: {error}")
        raise
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""Models as files: which there are, archives of them, and whether they are sound.

The work is done where the models are, by `python -m label_server.models`; this carries the bytes. A prefix is what
has to be said before such a command for it to be run there: in a container of this machine, or on another.
"""

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zstandard

from labelpod import console, files
from labelpod.errors import DeployError
from labelpod.process import last_line

_COMMAND = ("start_server", "python", "-m", "label_server.models")
_SAYS = "archive: "
_LIST = "`python3 deploy.py models list` shows the models that there are"
_AGAIN = "copy it once more from where it was made"
_PIECE = 2**20
# A few bytes of zstd can stand for a hundred thousand: little is taken in at once.
_BITE = 2**10


@dataclass(frozen=True)
class _Outcome:
    """What a command ended with: its refusal, empty if it succeeded, and its result."""

    refusal: str
    result: bytes


def listing(prefix: list[str]) -> list[dict[str, Any]]:
    """The models of the label server; the keys are stable, and None is what nobody knows."""
    outcome = _run([*prefix, *_COMMAND, "list"])
    if outcome.refusal:
        raise DeployError(outcome.refusal, "python3 deploy.py status")
    return list(json.loads(outcome.result))


def export(prefix: list[str], model: str | None, path: Path) -> None:
    """Write an archive of one model, or of all that have weights.

    Raises:
        DeployError: there is a file of that name, no such model, or it has no weights; no file comes to be.

    """
    if path.exists():
        raise DeployError(f"{path} already exists", "name another file, or remove that one")
    if model and not re.fullmatch(r"[\w.-]+", model):  # over SSH, a shell reads it
        raise DeployError(f"there is no model {model!r}", _LIST)
    with (
        files.draft(path, 0o600) as file,
        zstandard.ZstdCompressor(write_checksum=True).stream_writer(file, closefd=False) as packed,
        console.progress(f"Writing {path}", in_bytes=True) as bar,
    ):

        def save(stream: IO[bytes]) -> bytes:
            while piece := stream.read(_PIECE):
                packed.write(piece)
                bar.advance(bar.task_ids[0], len(piece))
            return b""

        outcome = _run([*prefix, *_COMMAND, "export", model or "--all"], save=save)
        if outcome.refusal:
            raise DeployError(outcome.refusal, _LIST)


def take(prefix: list[str], path: Path) -> list[dict[str, Any]]:
    """Let all models of an archive serve.

    Returns:
        What became of each.

    Raises:
        DeployError: one of them is not sound or does not fit; none has been replaced.

    """
    outcome = _sent(prefix, path, "import")
    if outcome.refusal:
        raise DeployError(f"{path} is not imported: {outcome.refusal}", f"nothing has changed; {_LIST}")
    return list(json.loads(outcome.result))


def verify(prefix: list[str], path: Path | None) -> dict[str, Any]:
    """Whether the models that serve are sound, or those of an archive; nothing is changed.

    Returns:
        `ok`, the names of the `models` that were looked at, and the `problems`, a line each.

    """
    outcome = _sent(prefix, path, "verify", "-") if path else _run([*prefix, *_COMMAND, "verify"])
    if not outcome.result:
        raise DeployError(outcome.refusal, _LIST)
    return dict(json.loads(outcome.result))


def table(models: list[dict[str, Any]]) -> str:
    """One line for each model, for people."""
    if not models:
        return "There is no model that has weights of its own"
    head = f"{'model':<22}{'weights':<22}{'size':>9}  {'checksum':<14}{'run':<18}{'Dice':>5}"
    return "\n".join([head, *map(_row, models)])


def _row(model: dict[str, Any]) -> str:
    weights = model["weights"] + (", imported" if model["imported"] and model["weights"] != "uploaded" else "")
    size = f"{model['size'] / 1e6:.1f} MB" if model["size"] else "-"
    run = model["run"] or ("unknown" if model["weights"] in ("trained", "uploaded") else "-")
    dice = "-" if model["dice"] is None else f"{model['dice']:.3f}"
    return f"{model['name']:<22}{weights:<22}{size:>9}  {(model['sha256'] or '-')[:12]:<14}{run:<18}{dice:>5}"


def imported(outcomes: list[dict[str, Any]]) -> str:
    """What became of the models of an archive, for people."""
    return "\n".join(line for outcome in outcomes for line in _became(outcome))


def _became(outcome: dict[str, Any]) -> Iterator[str]:
    name = outcome["name"]
    if outcome["outcome"] == "unchanged":
        yield f"{name}: unchanged, these weights serve already"
        return
    kept = f"; those before them are kept as {outcome['kept']}" if outcome["kept"] else ""
    yield f"{name}: imported, its weights serve from the next inference on{kept}"
    if outcome["note"]:
        yield f"{name}: {outcome['note']}"


def verified(verdict: dict[str, Any]) -> str:
    """The verdict, for people."""
    sound = f"Sound: {', '.join(verdict['models']) or 'nothing to look at, all models are untrained'}"
    return sound if verdict["ok"] else "\n".join(verdict["problems"])


def _sent(prefix: list[str], path: Path, *verb: str) -> _Outcome:
    """Run a command that reads an archive, which is read through first: no damaged one is sent."""
    with console.progress(f"Reading {path}"):
        size = sum(map(len, _plain(path)))
    with console.progress(f"Looking at {path}", total=size, in_bytes=True) as bar:

        def feed(stream: IO[bytes]) -> None:
            for piece in _plain(path):
                stream.write(piece)
                bar.advance(bar.task_ids[0], len(piece))

        return _run([*prefix, *_COMMAND, *verb], feed=feed)


def _plain(path: Path) -> Iterator[bytes]:
    """What was compressed, piece by piece.

    Raises:
        DeployError: it cannot be read, or is not whole.

    """
    frame = zstandard.ZstdDecompressor().decompressobj()
    try:
        with path.open("rb") as file:
            while not frame.eof and (bite := file.read(_BITE)):
                yield frame.decompress(bite)
            rest = frame.unused_data or file.read(1)
    except OSError as error:
        raise DeployError(f"{path} cannot be read: {error.strerror}", "name an archive of models") from None
    except zstandard.ZstdError:
        raise DeployError(f"{path} is no archive of models, or it is damaged", _AGAIN) from None
    if not frame.eof:
        raise DeployError(f"{path} ends in the middle", _AGAIN)
    if rest:
        raise DeployError(f"{path} is damaged: something follows its end", _AGAIN)


def _run(
    command: list[str],
    feed: Callable[[IO[bytes]], None] | None = None,
    save: Callable[[IO[bytes]], bytes] = lambda stream: stream.read(),
) -> _Outcome:
    """Run a command and show what it says.

    Args:
        command: of the archive.
        feed: writes what it reads.
        save: takes its result in.

    Raises:
        DeployError: it did not come to run.

    """
    console.say_command(*command)
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE if feed else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
            )
        except OSError as error:
            raise DeployError(f"{command[0]}: {error.strerror}", "python3 deploy.py doctor") from None
        with process:
            try:
                if process.stdin and feed:
                    with suppress(BrokenPipeError), process.stdin:  # it has read enough, and says why
                        feed(process.stdin)
                result = save(process.stdout) if process.stdout else b""
            except BaseException:
                process.terminate()
                raise
        said.seek(0)
        words = said.read().decode(errors="replace")
    lines = [line.removeprefix(_SAYS) for line in words.splitlines() if line.startswith(_SAYS)]
    refused = process.returncode == 1 and not result and lines
    if process.returncode and not refused and not result:
        older = "No module named" in words
        raise DeployError(
            f"{command[0]}: {last_line(words)}",
            "it runs an image of an earlier version: use that version's deploy.py, or start the new image there"
            if older
            else "python3 deploy.py up",
        )
    refusal = lines.pop() if refused else ""
    for line in lines:
        console.say(line)
    return _Outcome(refusal, result)

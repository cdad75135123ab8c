"""Who did what: JSON lines in files that are only appended to, and how they are read again.

Changes, reads and refusals have files of their own, each rotated by its size, so that no number of reads or refused
requests makes a change forgotten. `python -m label_server.audit` prints what they say; `deploy.py audit` asks it.
"""

import argparse
import errno
import heapq
import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from label_server import paths

Record = dict[str, Any]

MAX_BYTES, FILES = 10 * 2**20, 10
_NEWEST_BYTES, _NEWEST_SECONDS = 2**18, 30 * 86400
LOST = "audit log resumed"
SUBMIT = "submit label"


class Kind(StrEnum):
    """What sort of request a record is about; the name of its files."""

    CHANGE = "changes"
    READ = "reads"
    REFUSAL = "refusals"


class Trail:
    """The files of a folder, open for appending.

    Args:
        folder: made if it is not there; nobody else can open it.

    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[Kind, int] = {}
        self._lost = 0

    def write(self, kind: Kind, record: Record) -> None:
        """Append one line.

        Raises:
            OSError: it cannot be written, as when the disk is full; a torn line is not read.

        """
        try:
            self._append(kind, f"{json.dumps({'time': now(), **record})}\n".encode())
        except OSError:
            self._lost += 1
            raise

    def works(self) -> bool:
        """Whether a line can be written; tried if the last one could not, which leaves a line about those lost."""
        if not self._lost:
            return True
        lost, self._lost = self._lost, 0
        try:
            self.write(Kind.CHANGE, {"user": "server", "action": LOST, "times": lost})
        except OSError:
            self._lost = lost
        return not self._lost

    def _append(self, kind: Kind, line: bytes) -> None:
        descriptor = self._descriptor(kind)
        if os.write(descriptor, line) < len(line):
            self._close(kind)  # what follows begins on a line of its own
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _descriptor(self, kind: Kind) -> int:
        if kind in self._open:
            status = os.fstat(self._open[kind])
            moved = not _is(_file(self._folder, kind), status)
            if moved or status.st_size >= MAX_BYTES:
                self._close(kind)
            if not moved and status.st_size >= MAX_BYTES:
                _rotate(self._folder, kind)
        if kind not in self._open:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
            descriptor = os.open(_file(self._folder, kind), flags, 0o600)
            self._open[kind] = descriptor
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                os.write(descriptor, b"\n")
        return self._open[kind]

    def _close(self, kind: Kind) -> None:
        os.close(self._open.pop(kind))


def now() -> str:
    """UTC in ISO 8601, with milliseconds; times compare as texts do."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def records(*folders: Path, since: str = "", user: str = "", study: str = "") -> Iterator[Record]:
    """What is recorded, oldest first.

    Args:
        folders: of the files; one for each label server.
        since: time in ISO 8601, as in the records.
        user: only theirs.
        study: only about this study or series.

    """
    kept = (_read(folder, kind) for folder in folders for kind in Kind)
    for record in heapq.merge(*kept, key=lambda record: str(record["time"])):
        about = study in ("", record.get("study"), record.get("series"))
        if record["time"] >= since and user in ("", record.get("user")) and about:
            yield record


def newest(*folders: Path) -> Iterator[tuple[Kind, Record]]:
    """The last records of each kind and folder, for who cannot wait for all of them.

    Not those of folders that nobody has written into for a month: in a cluster each pod leaves one.
    """
    since = time.time() - _NEWEST_SECONDS
    for folder, kind in itertools.product(folders, Kind):
        with suppress(FileNotFoundError), _file(folder, kind).open("rb") as file:
            if os.fstat(file.fileno()).st_mtime < since:
                continue
            file.seek(max(0, file.seek(0, os.SEEK_END) - _NEWEST_BYTES))
            yield from ((kind, record) for line in file if (record := _parsed(line)))


def users(*folders: Path) -> dict[str, Record]:
    """By name: when somebody was last seen, and how many labels they stored."""
    found: dict[str, Record] = {}
    for record in records(*folders):
        if record.get("user") in (None, "-"):
            continue
        known = found.setdefault(record["user"], {"last_seen": "", "labels_stored": 0})
        known["last_seen"] = record["time"]
        known["labels_stored"] += record.get("action") == SUBMIT and record.get("outcome") == 200
    return found


def _read(folder: Path, kind: Kind) -> Iterator[Record]:
    for number in (*range(FILES - 1, 0, -1), 0):
        try:
            with _file(folder, kind, number).open("rb") as file:
                yield from (record for line in file if (record := _parsed(line)))
        except FileNotFoundError:
            continue


def _parsed(line: bytes) -> Record | None:
    """One record; None of a line that was torn."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("time"), str) else None


def _is(file: Path, status: os.stat_result) -> bool:
    """Whether a path still leads to this file; somebody may have moved it away or removed it."""
    try:
        return os.path.samestat(file.lstat(), status)
    except FileNotFoundError:
        return False


def _rotate(folder: Path, kind: Kind) -> None:
    for number in range(FILES - 2, -1, -1):
        if (file := _file(folder, kind, number)).exists():
            file.replace(_file(folder, kind, number + 1))


def _file(folder: Path, kind: Kind, number: int = 0) -> Path:
    return folder / (f"{kind}.{number}.jsonl" if number else f"{kind}.jsonl")


def folder_of(lasting: Path) -> Path:
    """Where a label server has its audit log, in what lasts of it."""
    return lasting / "audit"


def folders() -> list[Path]:
    """The audit logs of all label servers that share a volume."""
    shared = paths.shared()
    return [folder_of(each) for each in (shared, *sorted(shared.glob("servers/*")))]


def _open_many() -> None:
    """Let this process open as many files as it may: records of all folders are merged, and pods leave many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(arguments: list[str] | None = None) -> None:
    """Print the records as JSON lines, or what is known of the users as one JSON object."""
    parser = argparse.ArgumentParser(prog="label_server.audit")
    parser.add_argument("--users", action="store_true")
    for name in ("--since", "--user", "--study"):
        parser.add_argument(name, default="")
    asked = parser.parse_args(arguments)
    _open_many()
    kept = folders()
    if asked.users:
        print(json.dumps(users(*kept)))
        return
    for record in records(*kept, since=asked.since, user=asked.user, study=asked.study):
        sys.stdout.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()

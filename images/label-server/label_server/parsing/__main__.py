"""`python -m label_server.parsing`: reads one job a line, each in a process of its own, and answers each with a line.

This process loads the libraries once and touches no client's file; a fork of it takes some milliseconds, and is thrown
away with whatever the file has made of it.
"""

import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from label_server.errors import Refused
from label_server.parsing import sandbox, volumes
from label_server.parsing.grid import Grid

_MOST_ANSWER = 4096


def main() -> None:
    """Do jobs until there are no more."""
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps({"refused": _refusal(json.loads(line))}), flush=True)


def _refusal(job: dict[str, Any]) -> str:
    """Why the job cannot be done, "" if it was."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work(job, writing)
    os.close(writing)
    try:
        answer = _until_closed(reading, time.monotonic() + job["seconds"])
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)  # nothing that it does afterwards counts
        os.waitpid(child, 0)
    if answer is None:
        return f"it was not read within {job['seconds']} seconds"
    # Out of memory, or a fault of a library that the file made use of.
    return answer.decode(errors="replace").strip() if answer.endswith(b"\n") else str(volumes.unreadable(job["kind"]))


def _until_closed(pipe: int, deadline: float) -> bytes | None:
    answer = b""
    while len(answer) < _MOST_ANSWER:
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        piece = os.read(pipe, _MOST_ANSWER)
        if not piece:
            break
        answer += piece
    return answer


def _work(job: dict[str, Any], answer: int) -> NoReturn:
    refusal = str(volumes.unreadable(job["kind"]))
    try:
        folder = Path(job["folder"])
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):  # the next job's answer goes there
            os.dup2(nothing, standard)
        sandbox.enter(folder, job["memory"], job["seconds"])
        _do(job, folder)
        refusal = ""
    except Refused as refused:
        refusal = str(refused)
    except BaseException:  # noqa: S110, the file may be made to raise anything
        pass
    os.write(answer, f"{refusal}\n".encode())
    os._exit(0)


def _do(job: dict[str, Any], folder: Path) -> None:
    files = [folder / name for name in job["files"]]
    if job["kind"] == volumes.LABEL:
        volumes.label(files[0], Grid(**{key: tuple(value) for key, value in job["grid"].items()}), folder, job["most"])
    elif job["kind"] == volumes.SERIES:
        volumes.series(files[0], folder, job["most"])
    else:
        volumes.image(files, folder, job["most"])


if __name__ == "__main__":
    main()

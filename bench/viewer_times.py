"""How long the viewer takes on this machine and on a slow line: study list, a whole CT, click to mask, save, next CT.

As root: `python3 deploy.py up --yes --sample`, then `.venv/bin/python bench/viewer_times.py`. The slow line is a
network namespace of its own with tc's netem; both it and its interfaces are gone afterwards. It labels what it opens.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docs.tools.screenshot import CHROMIUM, FLAGS
from labelpod import status
from labelpod.docker.stack import Stack
from labelpod.project import Project
from labelpod.studies import push
from tests.support.viewer import MIDDLE, Viewer, viewer

LINE = "labelpod-line"
HERE, THERE, PORT = "10.213.7.1", "10.213.7.2", 18999
RATE, DELAY = "10mbit", "15ms"  # each way: 30 ms there and back
ROUNDS = 3


def main() -> None:
    """Measure both lines, and print a row for each time."""
    stack = Stack.load(Project.of_this_checkout())
    address = status.collect(stack)["label_server"]["url"]
    study = next(each for each in push.list_studies(push.Orthanc.of(stack.values)) if "SYNTHETIC" in str(each))
    series = next(each.uid for each in study.series if each.modality == "CT")
    rows = {}
    with sync_playwright() as driver:
        rows["this machine"] = measured(driver.chromium.launch, CHROMIUM, address, study.uid, series)
        with slow_line(address) as (program, far):
            rows[f"{RATE}, 30 ms"] = measured(driver.chromium.launch, program, far, study.uid, series)
    for line, times in rows.items():
        print(f"{line}: " + ", ".join(f"{what} {statistics.median(took):.1f} s" for what, took in times.items()))


def measured(
    launch: Callable[..., Browser], program: str, address: str, study: str, series: str
) -> dict[str, list[float]]:
    """What was done -> seconds, of each round; every round has a cold cache."""
    times: dict[str, list[float]] = {}

    def took(what: str, action: Callable[[], None]) -> None:
        start = time.monotonic()
        action()
        times.setdefault(what, []).append(time.monotonic() - start)

    browser = launch(executable_path=program, args=FLAGS)
    for _ in range(ROUNDS):
        with viewer(browser, address) as page:
            took("study list", lambda page=page: study_list(page))
            took("CT", lambda page=page: page.open(study, series, "tored"))
            page.press("f")
            took("click to mask", lambda page=page: page.infer(page.place(*MIDDLE)) and None)
            took("save", lambda page=page: page.save("Saved in the archive"))
            took("the CT again", lambda page=page: page.open(study, series, "Stored"))
    browser.close()
    return times


def study_list(page: Viewer) -> None:
    """Open the list, and wait for its first study."""
    page.page.goto(f"{page.address}ohif/")
    page.page.get_by_text("SYNTHETIC").first.wait_for(timeout=120_000)


@contextmanager
def slow_line(address: str) -> Iterator[tuple[str, str]]:
    """A browser behind a slow line: its program, and the address there."""
    url = urlsplit(address)
    run = lambda *words: subprocess.run(words, check=True)  # noqa: E731
    within = ("ip", "netns", "exec", LINE)
    run("ip", "netns", "add", LINE)
    try:
        run("ip", "link", "add", "labelpod-a", "type", "veth", "peer", "name", "labelpod-b", "netns", LINE)
        run("ip", "address", "add", f"{HERE}/30", "dev", "labelpod-a")
        run("ip", "link", "set", "labelpod-a", "up")
        run(*within, "ip", "address", "add", f"{THERE}/30", "dev", "labelpod-b")
        run(*within, "ip", "link", "set", "labelpod-b", "up")
        run("tc", "qdisc", "add", "dev", "labelpod-a", "root", "netem", "rate", RATE, "delay", DELAY)
        run(*within, "tc", "qdisc", "add", "dev", "labelpod-b", "root", "netem", "rate", RATE, "delay", DELAY)
        threading.Thread(target=forward, args=(str(url.hostname), int(url.port or 80)), daemon=True).start()
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder, "chromium")
            program.write_text(f'#!/bin/sh\nexec ip netns exec {LINE} {CHROMIUM} "$@"\n')
            program.chmod(0o755)
            yield str(program), f"http://{HERE}:{PORT}{url.path}"
    finally:
        run("ip", "netns", "delete", LINE)  # and with it both interfaces


def forward(host: str, port: int) -> None:
    """Pass connections at the near end of the line on to the label server, which may listen on loopback only."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(2**16):
            writer.write(piece)
            await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, port)
        await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer), return_exceptions=True)

    async def serve() -> None:
        async with await asyncio.start_server(connected, HERE, PORT) as server:
            await server.serve_forever()

    asyncio.run(serve())


if __name__ == "__main__":
    main()

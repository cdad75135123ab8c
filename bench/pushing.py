"""Sending a study to Orthanc: `deploy.py studies push`, dcmtk's dcmsend, and one connection to its REST interface."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench import data
from bench.report import Row, row
from bench.sizes import Sizes
from bench.stand import Stand, timed


def measure(stand: Stand, sizes: Sizes, folder: Path) -> Iterator[Row]:
    """Seconds for the same study into an empty Orthanc."""
    part = folder / "push"
    data.ct(part, sizes.instances, min(sizes.size, 256), seed=4)
    port = stand.clone.environment["DICOM_PORT"]
    dcmsend = ["dcmsend", "-aec", "LABELPOD", "+sd", "127.0.0.1", port, str(part)]
    times: list[list[float]] = [[], [], []]
    ways = [
        lambda: stand.clone.done("studies", "push", str(part)),
        lambda: subprocess.run(dcmsend, capture_output=True, check=True),
        lambda: stand.pacs.store(part),
    ]
    for _ in range(sizes.runs):
        for way, seconds in zip(ways, times, strict=True):
            stand.pacs.delete_everything()
            if way is not ways[1] or shutil.which("dcmsend"):
                seconds.append(timed(way))
    stand.pacs.delete_everything()
    if times[1]:
        yield row(f"studies push, {sizes.instances} instances, by dcmsend", times[0], times[1], "s", 1)
    yield row("the same, by one connection to Orthanc", times[0], times[2], "s", 1, "each instance is checked as well")

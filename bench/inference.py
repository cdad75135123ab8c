"""Clicks, and how long the others wait meanwhile."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench import data
from bench.report import Row, row
from bench.sizes import Sizes
from bench.stand import Side, Stand, timed
from labelpod.dicom import phantom

# The same weights for both: neither has any of its own here.
_WEIGHTS = Path(__file__).with_name("make_weights.py")
_NETWORK = {"deepgrow_2d": "", "deepgrow_3d": "; nearly all of it is the network's work, the same for both"}
_FOLDERS = {"label-server": "radiology", "upstream": "upstream"}


def measure(stand: Stand, sizes: Sizes, folder: Path) -> Iterator[Row]:
    """One click after the other in one CT, and `/info` while the last of them is worked on."""
    stand.empty()
    data.ct(folder / "clicks", sizes.slices, sizes.size, seed=3)
    stand.pacs.store(folder / "clicks")
    nodule = phantom.nodules(sizes.slices, sizes.size)[0].ijk
    stand.restart()
    for side in stand.sides:
        stand.clone.run_program(side.name, _WEIGHTS, _FOLDERS[side.name])
    stand.restart()
    for side in stand.sides:
        side.annotator.image(str(side.annotator.next_sample()))
        time.sleep(sizes.looking)
    for model, clicks in sizes.clicks:
        times: dict[str, list[float]] = {side.name: [] for side in stand.sides}
        masks: dict[str, list[np.ndarray]] = {side.name: [] for side in stand.sides}
        for number in range(clicks):
            point = [nodule[0] + number, nodule[1], nodule[2]]
            for side in stand.sides:
                started = time.perf_counter()
                masks[side.name].append(_click(side, model, point))
                times[side.name].append(time.perf_counter() - started)
        ours, theirs = times.values()
        same = all(np.array_equal(*pair) for pair in zip(*masks.values(), strict=True))
        note = ("voxel by voxel the same" if same else "NOT the same voxels") + _NETWORK[model]
        yield row(f"{model}, first click", ours[:1], theirs[:1], "s", 0.8, note)
        yield row(f"{model}, later clicks", ours[1:], theirs[1:], "s", 1)
    longest = sizes.clicks[-1][0]
    waits = [_waits(side, longest, sizes.polls, nodule) for side in stand.sides]
    yield Row(f"/info while {longest} runs, 95 % within", waits[0], waits[1], "s", 0.05)


def _click(side: Side, model: str, point: list[int]) -> np.ndarray:
    image = side.annotator.client.next_sample("first", {})["id"]
    return side.annotator.click(model, image, point)


def _waits(side: Side, model: str, polls: int, point: tuple[int, int, int]) -> float:
    """In seconds; asked until the inference has ended or often enough."""
    inference = threading.Thread(target=_click, args=(side, model, list(point)))
    inference.start()
    time.sleep(0.1)
    waits = [timed(lambda: side.get("/info/"))]
    while inference.is_alive() and len(waits) < polls:
        waits.append(timed(lambda: side.get("/info/")))
        time.sleep(0.05)
    inference.join()
    return float(np.percentile(waits, 95))

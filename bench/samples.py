"""Next sample: cold, and fetched ahead; and the memory that the server takes for it."""

import time
from collections.abc import Iterator
from pathlib import Path

import requests

from bench import data
from bench.report import Row, row
from bench.sizes import Sizes
from bench.stand import Side, Stand, timed

_PIECE = 2**20
_WHY_COLD = "of its work, half is compressing the image, which takes half the disk and half the line then"
_WHY_AHEAD = "what is left is sending a file of that length"


def measure(stand: Stand, sizes: Sizes, folder: Path) -> Iterator[Row]:
    """Until the image is in Slicer's hands: next sample, and its download. Slicer reads the same file in both."""
    stand.empty()
    uids = [data.ct(folder / f"sample{seed}", sizes.slices, sizes.size, seed) for seed in (1, 2)]
    stand.pacs.store(folder / "sample1")
    stand.restart()
    ours, theirs, plain = [], [], []
    for _ in range(sizes.runs):
        for side, times in zip(stand.sides, (ours, theirs), strict=True):
            side.forget(uids[0])
            times.append(timed(lambda side=side: _next(side, uids[0], folder)))
            time.sleep(sizes.looking)
        plain.append(timed(lambda: _download_series(stand, uids[0], folder)))
    yield row("next sample, cold", ours, theirs, "s", 0.5)
    yield row("next sample, cold, by one plain WADO-RS download", ours, plain, "s", 2, _WHY_COLD)
    ahead = _ahead(stand, uids, sizes, folder)
    yield row("next sample, fetched ahead, by the same", ahead, plain, "s", 0.3, _WHY_AHEAD)
    yield from _memory(stand, sizes, folder)


def _ahead(stand: Stand, uids: list[str], sizes: Sizes, folder: Path) -> list[float]:
    times = []
    for _ in range(sizes.runs):
        stand.empty()
        for seed in (1, 2):
            stand.pacs.store(folder / f"sample{seed}")
        stand.restart()
        time.sleep(3)
        first = stand.ours.annotator.next_sample()
        (second,) = set(uids) - {first}
        deadline = time.monotonic() + 60
        while not stand.ours.has(second) and time.monotonic() < deadline:
            time.sleep(0.1)
        data.submit(stand.ours, str(first))
        time.sleep(sizes.looking)
        times.append(timed(lambda second=second: _next(stand.ours, second, folder)))
    return times


def _next(side: Side, expected: str, folder: Path) -> None:
    offered = side.annotator.next_sample()
    if offered != expected:
        raise RuntimeError(f"{side.name} offers {offered} instead of {expected}")
    answer = requests.get(f"{side.annotator.url}/datastore/image?image={offered}", stream=True, timeout=600)
    _to_file(answer, folder / "image.nii.gz")


def _download_series(stand: Stand, uid: str, folder: Path) -> None:
    (series,) = stand.pacs.dicomweb.search_for_series(search_filters={"SeriesInstanceUID": uid})
    study = series["0020000D"]["Value"][0]
    url = f"{stand.pacs.url}/dicom-web/studies/{study}/series/{uid}"
    accept = {"Accept": 'multipart/related; type="application/dicom"'}
    _to_file(stand.pacs.session.get(url, headers=accept, stream=True, timeout=600), folder / "series.multipart")


def _to_file(answer: requests.Response, path: Path) -> None:
    answer.raise_for_status()
    with path.open("wb") as file:
        for piece in answer.iter_content(_PIECE):
            file.write(piece)


def _memory(stand: Stand, sizes: Sizes, folder: Path) -> Iterator[Row]:
    stand.empty()
    uids = []
    for number in range(sizes.studies):
        part = folder / "memory"
        uids.append(data.ct(part, sizes.memory_slices, sizes.memory_size, seed=100 + number))
        stand.pacs.store(part)
    stand.restart()
    rest = [side.memory() for side in stand.sides]
    early, late = [], []
    for side in stand.sides:
        for number, uid in enumerate(uids, start=1):
            side.annotator.click("deepgrow_2d", uid, [5, 5, 1])
            if number == len(uids) // 2:
                early.append(side.memory())
        late.append(side.memory())
    yield Row("memory at rest", rest[0], rest[1], "MB", 1)
    yield Row(f"memory after a click in each of {len(uids)} studies", late[0], late[1], "MB", 1)
    yield Row("the same, by the memory at half of them", late[0], early[0], "MB", 1.05)

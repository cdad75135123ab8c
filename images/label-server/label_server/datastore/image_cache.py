"""The images that the label server keeps on disk: whole series or none, as many as fit.

`<series>.nii.gz` is what models and Slicer read, `<series>/*.dcm` what a DICOM SEG takes its references from. All of
it can be had again from the DICOMweb server, so that the longest unused makes way; labels are elsewhere, and stay.
"""

import fcntl
import logging
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from monailabel.interfaces.exception import ImageNotFoundException

from label_server.datastore import ct_to_nifti, dicom_files
from label_server.errors import Refused
from label_server.parsing import dicom_series, readers, scratch
from labelpod_common import atomic_file
from labelpod_common.dicom.header import Header, is_uid

logger = logging.getLogger(__name__)

_WORKERS = 2
_AHEAD = 16  # slices that may wait for a worker: bounds the memory that a fetch takes
# Who was given a path has this long to read the file.
_IN_USE_SECONDS = 3600


class IncompleteSeries(Exception):
    """The server sent fewer slices than it says the series has; asking again later may help."""


class ImageFiles:
    """Images on disk.

    Args:
        folder: where.
        most_bytes: what they may take together.

    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most = most_bytes
        self.incoming = folder / ".incoming"
        self._versions = folder / ".versions"
        self._sizes: dict[tuple[str, int], int] = {}
        for each in (self.incoming, self._versions):
            each.mkdir(parents=True, exist_ok=True)

    def path(self, uid: str) -> Path:
        """Where an image is, or would be."""
        return Path(self._folder, f"{Path(uid).name}.nii.gz").resolve()

    def slices(self, uid: str) -> Path:
        """The folder of its DICOM files, the same way."""
        return Path(self._folder, Path(uid).name).resolve()

    def uids(self) -> set[str]:
        """The series that are on disk."""
        return {path.name.removesuffix(".nii.gz") for path in self._folder.glob("*.nii.gz")}

    def version(self, uid: str) -> str:
        """Of which content of the series the file is, "" if there is none."""
        try:
            return (self._versions / Path(uid).name).read_text() if self.path(uid).exists() else ""
        except FileNotFoundError:
            return ""

    def get(self, uid: str, version: str, fetch: Callable[[Path], None]) -> Path:
        """The image's file; fetched if it is missing, or of another content of the series.

        Args:
            uid: of the series.
            version: of the content that is wanted.
            fetch: called with a folder; leaves `volume.nii.gz` and the folder `slices` in it.

        Raises:
            ImageNotFoundException: that is no series.

        """
        path = self.path(uid)
        if not self._has(uid, version):
            if not is_uid(uid):
                raise ImageNotFoundException(f"there is no image {uid!r}: that is no UID of digits and dots")
            with FileLock(self.incoming / f"{uid}.lock"):
                if not self._has(uid, version):
                    self._bring(uid, version, fetch)
            self.make_room()
        return path

    def _used(self, path: Path) -> bool:
        """Whether the file is there; its time of access says when it was last asked for."""
        try:
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
        except FileNotFoundError:
            return False
        return True

    def _has(self, uid: str, version: str) -> bool:
        return self._used(self.path(uid)) and self.version(uid) == version

    def _bring(self, uid: str, version: str, fetch: Callable[[Path], None]) -> None:
        started = time.monotonic()
        with scratch.folder(self.incoming) as folder:
            fetch(folder)
            # The version comes last: where it stands, the series is whole.
            (self._versions / uid).unlink(missing_ok=True)
            shutil.rmtree(self.slices(uid), ignore_errors=True)
            (folder / "slices").rename(self.slices(uid))
            (folder / "volume.nii.gz").replace(self.path(uid))
            atomic_file.write(self._versions / uid, version.encode())
        logger.info(f"Fetched {uid} in {time.monotonic() - started:.1f} s")

    def remove(self, uid: str) -> None:
        """Remove an image, the NIfTI file first."""
        with FileLock(self.incoming / f"{Path(uid).name}.lock"):
            self.path(uid).unlink(missing_ok=True)
            (self._versions / Path(uid).name).unlink(missing_ok=True)
            shutil.rmtree(self.slices(uid), ignore_errors=True)

    def hold(self) -> None:
        """Keep every image until this process ends: a training reads them again and again."""
        self._held = (self.incoming / "held").open("a")
        fcntl.flock(self._held, fcntl.LOCK_SH)

    def make_room(self) -> None:
        """Remove the longest unused images, until the others fit."""
        with (self.incoming / "held").open("a") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # a training holds them, or somebody makes room already
                return
            self._evict(self._stock())

    def bytes(self) -> int:
        """What the images take together."""
        return sum(size for _, size, _ in self._stock())

    def _stock(self) -> list[tuple[float, int, str]]:
        """When each image was last used, its bytes, and its UID; the longest unused first."""
        stock, sizes = [], {}
        for path in self._folder.glob("*.nii.gz"):
            uid = path.name.removesuffix(".nii.gz")
            with suppress(FileNotFoundError):  # it makes way just now
                status = path.stat()
                content = (uid, status.st_mtime_ns)
                sizes[content] = self._sizes[content] if content in self._sizes else _size(self.slices(uid))
                stock.append((status.st_atime, status.st_size + sizes[content], uid))
        self._sizes = sizes
        return sorted(stock)

    def _evict(self, stock: list[tuple[float, int, str]]) -> None:
        taken = sum(size for _, size, _ in stock)
        for used, size, uid in stock:
            if taken <= self._most:
                return
            if used > time.time() - _IN_USE_SECONDS:
                break
            self.remove(uid)
            taken -= size
            logger.info(f"Removed {uid} from the cache, unused since {time.ctime(used)}")
        if taken > self._most:
            logger.warning(f"The images in use take {taken / 2**30:.1f} GB, more than CACHE_MAX_GB")


def _size(folder: Path) -> int:
    """The bytes of a series' slices. One speaks for all: of tens of thousands, each would keep somebody waiting."""
    slices = list(_entries(folder))
    return len(slices) * slices[0].stat().st_size if slices else 0


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except FileNotFoundError:
        return


@dataclass(frozen=True)
class Kept:
    """How many different instances came, and why nobody is to be given the image to label, "" if somebody may be."""

    instances: int
    unfit: str


def keep(files: Iterator[bytes], folder: Path) -> Kept:
    """Write DICOM files to the folder `slices` and the volume that they make to `volume.nii.gz` in it.

    Args:
        files: as they arrive.
        folder: an empty one.

    Raises:
        Refused: they make no volume, or one that would be read wrongly; with the reason.

    """
    kept = folder / "slices"
    kept.mkdir()
    slices = ct_to_nifti.Slices()
    made: dict[str, _Made] = {}
    waiting: deque[Future[_Made]] = deque()
    with ThreadPoolExecutor(_WORKERS) as pool:
        for content in files:
            waiting.append(pool.submit(_keep_one, content, kept, slices))
            if len(waiting) > _AHEAD:
                _add(made, waiting.popleft().result())
        for each in waiting:
            _add(made, each.result())
    path = folder / "volume.nii.gz"
    unfit = "it has no slices"
    if made:
        unfit = dicom_series.judge([header for header, _ in made.values()])
        if not ct_to_nifti.write([voxels for _, voxels in made.values()], path):
            readers.series(folder, kept.name)
    return Kept(len(made), unfit)


_Made = tuple[Header, ct_to_nifti.Slice | None]


def _add(made: dict[str, _Made], one: _Made) -> None:
    made[one[0].sop_uid] = one


def _keep_one(content: bytes, folder: Path, slices: ct_to_nifti.Slices) -> _Made:
    header, voxels = slices.of(content)
    if voxels is None and (problem := dicom_files.pixel_problem(content)):
        raise Refused(f"{problem.code}: {problem.message}")
    (folder / f"{header.sop_uid}.dcm").write_bytes(content)
    return header, voxels

"""DICOM pre-flight check: what the label server would read wrongly, or not at all, before it is sent."""

import filecmp
import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.text import Text

from labelpod.console import clean
from labelpod.dicom import file_header, slice_geometry
from labelpod.dicom.file_header import FileError, Instance
from labelpod.dicom.problem import Problem
from labelpod.errors import DeployError
from labelpod.parallel import parallel
from labelpod.text import counted

_VOLUME = 3  # slices; fewer are no volume to a 3D model
_STYLES = {"ok": "green", "warn": "yellow", "refuse": "red"}
_LEVELS = {"ok": "ok", "warn": "warning", "refuse": "refused"}


@dataclass(frozen=True)
class Series:
    """The instances of one series, in the order of their files, and what is wrong with them."""

    uid: str
    study_uid: str
    modality: str
    description: str
    files: list[Instance]
    problems: list[Problem]

    @property
    def refused(self) -> bool:
        """Whether it is kept from being sent."""
        return any(problem.level == "refuse" for problem in self.problems)

    @property
    def verdict(self) -> str:
        """`ok`, `warn` or `refuse`."""
        return "refuse" if self.refused else "warn" if self.problems else "ok"


@dataclass(frozen=True)
class Report:
    """What was found: series, DICOM files that cannot be used, how many files are no DICOM or mere copies."""

    series: list[Series]
    errors: list[FileError]
    skipped: int
    copies: int

    @property
    def refused(self) -> list[Series]:
        """The series that are not sent."""
        return [each for each in self.series if each.refused]

    @property
    def accepted(self) -> list[Series]:
        """The series that are sent, some perhaps with a warning."""
        return [each for each in self.series if not each.refused]

    @property
    def ok(self) -> bool:
        """Whether everything that is DICOM can be sent."""
        return not self.refused and not self.errors


def scan(paths: Iterable[Path], modality: str = "CT") -> Report:
    """Check files, and the files of folders at any depth.

    Args:
        paths: files and folders.
        modality: the only one that the label server offers; "" for any.

    Raises:
        DeployError: a path is not there, or nothing in them is DICOM.

    """
    paths, errors = list(paths), list[FileError]()
    files = _files(paths, errors)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, about values that are checked here
        results = parallel(file_header.read, files, f"Checking {counted(len(files), 'file')}")
    found = [each for each in results if isinstance(each, Instance)]
    errors += [each for each in results if isinstance(each, FileError)]
    if not found and not errors:
        places = ", ".join(map(str, paths))
        raise DeployError(f"there is no DICOM file in {places}", "name the files, or the folder that holds them")
    groups = defaultdict[str, list[Instance]](list)
    for each in found:
        groups[each.series_uid or each.study_uid].append(each)
    series = [_series(_without_copies(group), modality) for group in groups.values()]
    copies = len(found) - sum(len(each.files) for each in series)
    return Report(series, errors, skipped=results.count(None), copies=copies)


def _files(paths: Iterable[Path], errors: list[FileError]) -> list[Path]:
    """Every file once, even where paths overlap."""
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise DeployError(f"{path} does not exist", "check the path")
        for file in _walk(path, errors) if path.is_dir() else [path]:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _walk(folder: Path, errors: list[FileError]) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        errors.append(FileError(Path(error.filename), error.strerror or "cannot be read"))

    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders.sort()
        yield from (file for file in (Path(place, name) for name in sorted(names)) if file.is_file())


# --- one series ---


def _without_copies(files: list[Instance]) -> list[Instance]:
    """Of files with the same content, the first one."""
    kept = defaultdict[str, list[Instance]](list)
    for each in files:
        if not any(filecmp.cmp(each.path, other.path, shallow=False) for other in kept[each.sop_uid]):
            kept[each.sop_uid].append(each)
    return [each for same in kept.values() for each in same]


def _series(files: list[Instance], modality: str) -> Series:
    first = files[0]
    problems = [*_of_instances(files, modality), *_of_series(files)] if first.is_image else [_not_an_image(first)]
    return Series(first.series_uid, first.study_uid, first.modality, first.description, files, problems)


def _not_an_image(instance: Instance) -> Problem:
    return Problem(
        "refuse", "not-an-image", f"{instance.modality or 'it'} is no image: the label server does not offer it"
    )


def _of_instances(files: list[Instance], modality: str) -> Iterator[Problem]:
    """Problems of single files, one line for each kind."""
    kinds = defaultdict[str, list[tuple[Instance, Problem]]](list)
    for each in files:
        for problem in _of_instance(each, modality):
            kinds[problem.code].append((each, problem))
    for code, hits in kinds.items():
        (first, problem), share = hits[0], f"{len(hits)} of {len(files)} instances"
        where = "" if len(hits) == len(files) else f" ({share}, the first in {clean(first.path.name)})"
        yield Problem(problem.level, code, problem.message + where)


def _of_instance(each: Instance, modality: str) -> Iterator[Problem]:
    if not each.series_uid:
        yield Problem("refuse", "no-series-uid", "there is no SeriesInstanceUID")
    if modality and each.modality != modality:
        yield Problem("refuse", "modality", f"modality is {each.modality or 'missing'}; only {modality} is offered")
    if each.pixel_problem:
        yield each.pixel_problem
    if each.samples != 1:
        yield Problem("refuse", "colour", f"{each.samples} samples per pixel: a colour picture, not a volume")
    if each.lossy:
        yield Problem("warn", "lossy", "lossy compression has changed the pixel values")
    if each.frames > 1:
        yield Problem("refuse", "multiframe", f"{each.frames} frames in one instance; the label server reads slices")
    elif not each.position or not each.orientation:
        yield Problem("refuse", "missing-position", "ImagePositionPatient or ImageOrientationPatient is missing")
    elif not each.spacing:
        yield Problem("refuse", "no-pixel-spacing", "PixelSpacing is missing")


def _of_series(files: list[Instance]) -> Iterator[Problem]:
    homes = {(each.patient_id, each.study_uid) for each in files}
    if len(homes) > 1:
        message = (
            f"it is spread over {len(homes)} studies or patients; the label server takes it for {len(homes)} series"
        )
        yield Problem("refuse", "mixed-studies", message)
    slices = list({each.sop_uid: each for each in files}.values())
    if len(slices) < len(files):
        message = f"{counted(len(files) - len(slices), 'file')} with the SOPInstanceUID of another but other content"
        yield Problem("refuse", "duplicate-slices", message)
    sizes = sorted({(each.rows, each.columns) for each in files})
    if len(sizes) > 1:
        different = ", ".join(f"{rows} x {columns}" for rows, columns in sizes)
        yield Problem("refuse", "wrong-rows", f"slices differ in size: {different} pixels")
    if any(each.frames > 1 for each in files):
        return
    if len(slices) < _VOLUME:
        yield Problem("warn", "single-slice", f"{counted(len(slices), 'slice')} only: no volume for the 3D models")
    placed = [(each.position, each.orientation, each.spacing) for each in slices]
    if all(all(place) for place in placed):
        yield from slice_geometry.problems(*(np.array(values, float) for values in zip(*placed, strict=True)))


# --- for people and programs ---


def table(report: Report) -> Text:
    """Each series with its problems, for people."""
    text = Text().join([*map(series_lines, report.series), *map(error_line, report.errors)])
    text.append(f"{counted(len(report.accepted), 'series')} can be sent")
    if report.refused:
        text.append(f"; {counted(len(report.refused), 'series')} refused")
    if report.copies:
        text.append(f"; {counted(report.copies, 'file')} left out: the same content twice")
    return text.append(skipped_words(report.skipped))


def series_lines(series: Series) -> Text:
    """One line for the series and one for each problem."""
    words = [f"{series.modality or '-':<8}", counted(len(series.files), "instance"), series.description, series.uid]
    level = (f"{_LEVELS[series.verdict]:<9}", _STYLES[series.verdict])
    problems = [f"{'':<9}{problem.code}: {problem.message}\n" for problem in series.problems]
    return Text.assemble(level, "  ".join(filter(None, words)), "\n", *problems)


def error_line(error: FileError) -> Text:
    """One line for a file that cannot be used."""
    return Text.assemble((f"{'error':<9}", "red"), f"{clean(error.path)}: {error.message}\n")


def skipped_words(skipped: int) -> str:
    """The end of a summary, where files were skipped."""
    return f"; {counted(skipped, 'file')} skipped: not DICOM" if skipped else ""


def to_json(report: Report) -> dict[str, Any]:
    """The report for programs; the keys are stable."""
    return {
        "ok": report.ok,
        "series": [series_json(each) for each in report.series],
        "errors": [error_json(each) for each in report.errors],
        "skipped": report.skipped,
        "copies": report.copies,
    }


def series_json(series: Series) -> dict[str, Any]:
    """A series for programs."""
    return {
        "uid": series.uid,
        "study_uid": series.study_uid,
        "modality": series.modality,
        "description": series.description,
        "instances": len(series.files),
        "verdict": series.verdict,
        "problems": [asdict(problem) for problem in series.problems],
    }


def error_json(error: FileError) -> dict[str, str]:
    """A file that cannot be used, for programs."""
    return {"path": str(error.path), "message": error.message}

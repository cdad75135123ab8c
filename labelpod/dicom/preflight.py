"""DICOM pre-flight check: what the label server would read wrongly, or not at all, before it is sent."""

import filecmp
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.text import Text

from labelpod.dicom import file_header, found_files
from labelpod.dicom.file_header import FileError, Instance
from labelpod.errors import DeployError
from labelpod.parallel import parallel
from labelpod_common.dicom import series_check
from labelpod_common.dicom.header import Header
from labelpod_common.dicom.problem import Problem
from labelpod_common.text import clean, counted

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
    files = found_files.below(paths, errors)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, about values that are checked here
        results = parallel(file_header.read, files, f"Checking {counted(len(files), 'file')}")
    found = [each for each in results if isinstance(each, Instance)]
    errors += [each for each in results if isinstance(each, FileError)]
    if not found and not errors:
        raise _nothing(paths, files)
    groups = defaultdict[str, list[Instance]](list)
    for each in found:
        groups[each.header.series_uid or each.header.study_uid].append(each)
    series = _with_labels([_series(_without_copies(group), modality) for group in groups.values()])
    copies = len(found) - sum(len(each.files) for each in series)
    return Report(series, errors, skipped=results.count(None), copies=copies)


def _nothing(paths: Iterable[Path], files: Iterable[Path]) -> DeployError:
    packed = next(filter(found_files.is_packed, files), None)
    remedy = f"unpack {packed}, and name" if packed else "name the files, or"
    return DeployError(
        f"there is no DICOM file in {', '.join(map(str, paths))}", f"{remedy} the folder that holds them"
    )


# --- one series ---


def _without_copies(files: list[Instance]) -> list[Instance]:
    """Of files with the same content, the first one."""
    kept = defaultdict[str, list[Instance]](list)
    for each in files:
        if not any(filecmp.cmp(each.path, other.path, shallow=False) for other in kept[each.header.sop_uid]):
            kept[each.header.sop_uid].append(each)
    return [each for same in kept.values() for each in same]


def _series(files: list[Instance], modality: str) -> Series:
    first = files[0].header
    found = list(found_wrong(files, modality)) if first.is_image else [series_check.not_an_image(first)]
    return Series(first.series_uid, first.study_uid, first.modality, first.description, files, found)


def found_wrong(files: list[Instance], modality: str, others: Sequence[Header] = ()) -> Iterator[Problem]:
    """What is wrong with the files of a series of images.

    Args:
        files: of the series.
        modality: the only one that the label server offers; "" for any.
        others: what else the series has, elsewhere.

    """
    yield from series_check.together(_of_files(files, modality), len(files))
    yield from series_check.of_series([*(each.header for each in files), *others])


def _with_labels(series: list[Series]) -> list[Series]:
    """The series; without a problem the labels of images that are among them, and sound."""
    sound = {each.uid for each in series if not each.refused}
    return [replace(each, problems=[]) if _is_label_of(each, sound) else each for each in series]


def _is_label_of(series: Series, images: set[str]) -> bool:
    of = {uid for each in series.files for uid in each.of_series}
    return bool(of) and of <= images


def _of_files(files: list[Instance], modality: str) -> Iterator[tuple[Problem, str]]:
    for each in files:
        found = [*filter(None, [each.pixel_problem]), *series_check.of_instance(each.header, modality)]
        yield from ((problem, clean(each.path.name)) for problem in found)


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

"""Whether slices make an image that can be labelled, and what about them is doubtful.

The same at every door: before files are sent, and when the label server finds a series in its DICOMweb server.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from labelpod_common.dicom import slice_geometry
from labelpod_common.dicom.header import Header
from labelpod_common.dicom.problem import Problem
from labelpod_common.text import counted

_VOLUME = 3  # slices; fewer are no volume to a 3D model
# Harmless where they are, as most studies have some; nobody is given them to label.
NOT_OFFERED = ("single-slice", "localizer")
_SURVEYS = {"LOCALIZER", "SCOUT"}


def problems(slices: Sequence[Header], modality: str = "") -> list[Problem]:
    """Everything that is wrong with a series.

    Args:
        slices: of one series, at least one.
        modality: that it must have; "" for any.

    """
    if not slices[0].is_image:
        return [not_an_image(slices[0])]
    found = ((problem, "") for each in slices for problem in of_instance(each, modality))
    return [*together(found, len(slices)), *of_series(slices)]


def unfit(found: Iterable[Problem]) -> str:
    """Why nobody is given such a series to label, in a sentence; "" if somebody may be."""
    reasons = (each for each in found if each.level == "refuse" or each.code in NOT_OFFERED)
    return "; ".join(f"{each.code}: {each.message}" for each in reasons)


def refusal(found: Iterable[Problem]) -> str:
    """Why such a series would be read wrongly, or not at all, in a sentence; "" if it is read."""
    return "; ".join(f"{each.code}: {each.message}" for each in found if each.level == "refuse")


def together(found: Iterable[tuple[Problem, str]], instances: int) -> Iterator[Problem]:
    """One problem for each kind, of those that single instances have.

    Args:
        found: with the name of the instance, "" if it has none.
        instances: how many there are.

    """
    kinds = defaultdict[str, list[tuple[Problem, str]]](list)
    for problem, name in found:
        kinds[problem.code].append((problem, name))
    for code, hits in kinds.items():
        problem, name = hits[0]
        first = f", the first in {name}" if name else ""
        where = "" if len(hits) == instances else f" ({len(hits)} of {instances} instances{first})"
        yield Problem(problem.level, code, problem.message + where)


def not_an_image(header: Header) -> Problem:
    """What is said of reports, contours, label maps and the like."""
    return Problem(
        "refuse", "not-an-image", f"{header.modality or 'it'} is no image: the label server does not offer it"
    )


def of_instance(each: Header, modality: str) -> Iterator[Problem]:
    """What is wrong with a single slice."""
    if not each.series_uid:
        yield Problem("refuse", "no-series-uid", "there is no SeriesInstanceUID")
    if each.bad_uids:
        message = f"its {each.bad_uids[0]} is no UID, which has digits and dots only, 64 at most"
        yield Problem("refuse", "bad-uid", message)
    if modality and each.modality != modality:
        yield Problem("refuse", "modality", f"modality is {each.modality or 'missing'}; only {modality} is offered")
    if each.samples != 1:
        yield Problem("refuse", "colour", f"{each.samples} samples per pixel: a colour picture, not a volume")
    if each.lossy:
        yield Problem("warn", "lossy", "lossy compression has changed the pixel values")
    if each.lookup_table:
        yield Problem("refuse", "modality-lut", "a table gives its values their meaning, not slope and intercept")
    elif not each.rescale or not each.rescale[0]:
        yield Problem("refuse", "bad-rescale", "RescaleSlope or RescaleIntercept is no number that values can have")
    elif each.modality == "CT" and not each.rescale_said and each.frames == 1:
        yield Problem("warn", "no-rescale", "it does not say what its values mean in Hounsfield units")
    if _SURVEYS & set(each.image_type):
        yield Problem("warn", "localizer", "it is a localizer: the label server does not offer it")
    if each.frames > 1:
        yield Problem("refuse", "multiframe", f"{each.frames} frames in one instance; the label server reads slices")
    elif not each.position or not each.orientation:
        yield Problem("refuse", "missing-position", "ImagePositionPatient or ImageOrientationPatient is missing")
    elif not each.spacing:
        yield Problem("refuse", "no-pixel-spacing", "PixelSpacing is missing")


def of_series(slices: Sequence[Header]) -> Iterator[Problem]:
    """What is wrong with slices as one series."""
    homes = {(each.patient_id, each.study_uid) for each in slices}
    if len(homes) > 1:
        message = (
            f"it is spread over {len(homes)} studies or patients; the label server takes it for {len(homes)} series"
        )
        yield Problem("refuse", "mixed-studies", message)
    different = list({each.sop_uid: each for each in slices}.values())
    if twice := len(slices) - len(different):
        message = f"{counted(twice, 'file')} with the SOPInstanceUID of another but other content"
        yield Problem("refuse", "duplicate-slices", message)
    sizes = sorted({(each.rows, each.columns) for each in slices})
    if len(sizes) > 1:
        said = ", ".join(f"{rows} x {columns}" for rows, columns in sizes)
        yield Problem("refuse", "wrong-rows", f"slices differ in size: {said} pixels")
    if any(each.frames > 1 for each in slices):
        return
    if len({each.reconstruction for each in slices}) > 1:
        said = " and ".join(sorted({" ".join(each.reconstruction).strip() or "none" for each in slices})[:2])
        message = f"it holds two reconstructions (kernel and kVp {said}), which are two images"
        yield Problem("refuse", "mixed-reconstructions", message)
    if len(different) < _VOLUME:
        message = f"{counted(len(different), 'slice')} only, no volume: the label server does not offer it"
        yield Problem("warn", "single-slice", message)
    placed = [(each.position, each.orientation, each.spacing) for each in different]
    if all(all(place) for place in placed):
        yield from slice_geometry.problems(*(np.array(values, float) for values in zip(*placed, strict=True)))

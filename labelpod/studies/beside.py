"""What Orthanc has already of the series that are sent: they are judged together with it, as the label server will."""

from dataclasses import replace

from labelpod.clients.orthanc import Connection, RefusedError
from labelpod.dicom.preflight import Series, found_wrong
from labelpod_common.dicom import header
from labelpod_common.dicom.header import Header
from labelpod_common.dicom.problem import Problem
from labelpod_common.text import counted


def judged(connection: Connection, series: Series, modality: str, some_there: bool) -> Series:
    """A series with what is wrong with it once its files are beside what Orthanc has of it.

    Args:
        connection: to Orthanc.
        series: of files.
        modality: the only one that the label server offers.
        some_there: whether Orthanc has any of it.

    Raises:
        DeployError: Orthanc does not answer.

    """
    if not series.files[0].header.is_image:
        return _with_images_there(connection, series)
    own = {_identity(each.header) for each in series.files}
    there = _headers(connection, series.uid) if some_there else []
    others = [each for each in there if _identity(each) not in own]
    if not others:
        return series
    problems = list(found_wrong(series.files, modality, others))
    if any(problem.level == "refuse" for problem in problems):
        said = f"judged together with {counted(len(others), 'slice')} of this series that Orthanc has already"
        problems.append(Problem("warn", "together", said))
    return replace(series, problems=problems)


def _identity(each: Header) -> tuple[str, str, str]:
    return each.patient_id, each.study_uid, each.sop_uid


def _headers(connection: Connection, series_uid: str) -> list[Header]:
    """Those of all instances that Orthanc has of a series, under whichever patient or study."""
    if not header.is_uid(series_uid):
        return []
    found = connection.find("Series", ["RequestedTags"], ["StudyInstanceUID"], Query={"SeriesInstanceUID": series_uid})
    headers = []
    for study in {each["RequestedTags"]["StudyInstanceUID"] for each in found}:
        try:
            listed = connection.ask("GET", f"/dicom-web/studies/{study}/series/{series_uid}/metadata")
            headers += [header.of(header.from_json(each)) for each in listed]
        except (RefusedError, ValueError):  # what cannot be read there, the label server leaves out
            continue
    return headers


def _with_images_there(connection: Connection, series: Series) -> Series:
    """A label series as it is; without a problem if Orthanc has all images that it is of."""
    of = {uid for each in series.files for uid in each.of_series if header.is_uid(uid)}
    there = (connection.find("Series", ["MainDicomTags"], Query={"SeriesInstanceUID": uid}) for uid in of)
    return replace(series, problems=[]) if of and all(there) else series

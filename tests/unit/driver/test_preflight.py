"""What the pre-flight check says of real, hostile and synthetic DICOM."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless, generate_uid

from labelpod import console, parallel
from labelpod.dicom import phantom, preflight
from labelpod.errors import DeployError
from labelpod_common.dicom import problem

NO_DICOM, ERROR = ("no DICOM", set()), ("error", set())
NOT_AN_IMAGE = ("refuse", {"not-an-image"})
ONE_GOOD_SLICE = ("warn", {"single-slice"})


def refused(*codes: str) -> tuple[str, set[str]]:
    return "refuse", set(codes)


# Of each file, or of a folder that is one series.
VERDICTS = {
    "negatives/SOURCES.md": NO_DICOM,
    "negatives/broken/MR_truncated.dcm": refused("modality", "truncated", "single-slice"),
    "negatives/broken/badVR.dcm": ERROR,
    "negatives/broken/empty.dcm": NO_DICOM,
    "negatives/broken/image_dfl.dcm": refused("modality", "missing-position", "single-slice"),
    "negatives/broken/no-pixeldata.dcm": refused("no-pixel-data", "single-slice"),
    "negatives/broken/no-position.dcm": refused("missing-position", "single-slice"),
    "negatives/broken/no-series-uid.dcm": refused("no-series-uid", "single-slice"),
    "negatives/broken/no_meta.dcm": NO_DICOM,
    "negatives/broken/random-bytes.dcm": NO_DICOM,
    "negatives/broken/rows-mismatch.dcm": refused("wrong-rows", "single-slice"),
    "negatives/broken/rtplan_truncated.dcm": NOT_AN_IMAGE,
    "negatives/broken/text.dcm": NO_DICOM,
    "negatives/broken/truncated-header.dcm": ERROR,
    "negatives/broken/truncated-pixeldata.dcm": refused("truncated", "single-slice"),
    "negatives/cr-dx/dx_image.dcm": refused("modality", "missing-position", "single-slice"),
    "negatives/ct-irregular-tilted": refused("irregular-spacing", "gantry-tilt"),
    "negatives/ct-oblique": refused("mixed-studies", "oblique"),
    "negatives/ct-oblique/0.dcm": ("warn", {"oblique", "single-slice"}),
    "negatives/ct-single-128.dcm": ONE_GOOD_SLICE,
    "negatives/ct-tilted-regular": refused("gantry-tilt"),
    "negatives/mr-regular/pydicom-MR_small.dcm": refused("modality", "single-slice"),
    "negatives/mr-regular/qin-prostate-adc-slice.dcm": refused("modality", "single-slice", "oblique"),
    "negatives/multiframe/mf.dcm": refused("multiframe"),
    "negatives/rtstruct/ct_1.dcm": ONE_GOOD_SLICE,
    "negatives/rtstruct/ct_2.dcm": ONE_GOOD_SLICE,
    "negatives/rtstruct/invalid_reference_rt.dcm": NOT_AN_IMAGE,
    "negatives/rtstruct/non_existent_reference_rt.dcm": NOT_AN_IMAGE,
    "negatives/rtstruct/rt.dcm": NOT_AN_IMAGE,
    "negatives/seg/dcmqi-ct-3slice": ("ok", set()),
    "negatives/seg/liver.dcm": NOT_AN_IMAGE,
    "negatives/seg/liver_seg.nrrd": NO_DICOM,
    "negatives/seg/partial_overlaps.dcm": NOT_AN_IMAGE,
    "negatives/sr-no-pixels/sr.dcm": NOT_AN_IMAGE,
    "transfer-syntaxes": refused("duplicate-slices", "lossy", "single-slice"),
    "transfer-syntaxes/deflated.dcm": ONE_GOOD_SLICE,
    "transfer-syntaxes/explicit-be.dcm": ONE_GOOD_SLICE,
    "transfer-syntaxes/explicit-le.dcm": ONE_GOOD_SLICE,
    "transfer-syntaxes/implicit-le.dcm": ONE_GOOD_SLICE,
    "transfer-syntaxes/j2k-lossless.dcm": ONE_GOOD_SLICE,
    "transfer-syntaxes/jpeg-lossless-sv1.dcm": ONE_GOOD_SLICE,
    "transfer-syntaxes/jpegls-lossless.dcm": ONE_GOOD_SLICE,
    "transfer-syntaxes/jpegls-near.dcm": ("warn", {"lossy", "single-slice"}),
    "transfer-syntaxes/rle.dcm": ONE_GOOD_SLICE,
    "chest-ct-mini": ("ok", set()),
    "chest-ct-full/ct": ("ok", set()),
}
# What public reports told of.
REPORTED = {
    "reports/coronal": ("ok", set()),
    "reports/drift-0.3mm-in-plane": ("ok", set()),
    "reports/iop-coronal-dot002": ("ok", set()),
    "reports/iop-prone-dot002": ("ok", set()),
    "reports/iop-short-not-tilted": ("ok", set()),
    "reports/jpeg2000": ("ok", set()),
    "reports/label-500-birthdate-00000000": ("ok", set()),
    "reports/label-500-lossy-without-method": ("warn", {"lossy"}),
    "reports/label-500-lossy-without-ratio": ("warn", {"lossy"}),
    "reports/label-500-slicethickness-empty": ("ok", set()),
    "reports/label-500-slicethickness-missing": ("ok", set()),
    "reports/label-500-studydate-iso": ("ok", set()),
    "reports/label-500-studytime-colons": ("ok", set()),
    "reports/late-slices": ("ok", set()),
    "reports/localizer": ("warn", {"localizer", "single-slice"}),
    "reports/monochrome1": ("ok", set()),
    "reports/monochrome1-one-slice": ("ok", set()),
    "reports/patient-id-chinese": ("ok", set()),
    "reports/patient-name-cyrillic": ("ok", set()),
    "reports/positions-rounded-0.1mm": ("ok", set()),
    "reports/rescale-missing": ("warn", {"no-rescale"}),
    "reports/rescale-mixed": ("ok", set()),
    "reports/sagittal": ("ok", set()),
    "reports/twice-new-sop-uids": refused("duplicate-slices"),
    "reports/two-kernels-interleaved": refused("mixed-reconstructions"),
    "reports/uid-with-letters": refused("bad-uid"),
}


def verdict(*paths: Path) -> tuple[str, set[str]]:
    """The verdict on one file or series, and the codes of its problems."""
    try:
        report = preflight.scan(paths)
    except DeployError as error:
        return ("no DICOM", set()) if "no DICOM file" in error.message else (error.message, set())
    if report.errors:
        return "error", set()
    (series,) = report.series
    assert all("\n" not in problem.message for problem in series.problems)
    return series.verdict, {problem.code for problem in series.problems}


@pytest.mark.parametrize("name", [*VERDICTS, *REPORTED])
def test_the_verdict_on_real_and_hostile_dicom(shared, name):
    assert verdict(shared / name) == (VERDICTS | REPORTED)[name]


@pytest.mark.parametrize("name", VERDICTS)
def test_the_verdict_on_what_we_make_ourselves(made, name):
    assert verdict(made / name) == VERDICTS[name]


def test_no_file_is_without_a_verdict(data):
    files = [path for folder in ("negatives", "transfer-syntaxes") for path in (data / folder).rglob("*")]
    judged = {data / name for name in VERDICTS} - {data / "transfer-syntaxes"}
    assert [path for path in files if path.is_file() and not judged & {path, path.parent}] == []


def test_messages_give_the_values(data):
    def messages(name: str) -> str:
        (series,) = preflight.scan([data / name]).series
        return "\n".join(problem.message for problem in series.problems)

    assert "18.5 degrees" in messages("negatives/ct-irregular-tilted")
    assert "vary from 1.08 to 7.00 mm" in messages("negatives/ct-irregular-tilted")
    assert "197426 of 524288 bytes" in messages("negatives/broken/truncated-pixeldata.dcm")
    assert "600 x 512" in messages("negatives/broken/rows-mismatch.dcm")
    assert "modality is MR; only CT" in messages("negatives/mr-regular/pydicom-MR_small.dcm")


def test_a_compressed_file_that_breaks_off_is_refused(data, tmp_path):
    content = (data / "chest-ct-mini" / "001.dcm").read_bytes()
    for length in (len(content) // 2, len(content) - 8):
        (tmp_path / "slice.dcm").write_bytes(content[:length])
        assert verdict(tmp_path) == refused("truncated", "single-slice")


# --- synthetic series, spoilt on purpose ---


@pytest.fixture
def slices(tmp_path) -> list[Path]:
    """A sound series of 12 slices, 24 mm apart."""
    return phantom.write(tmp_path / "series", slices=12, size=16)


def edit(path: Path, **values) -> None:
    """Set attributes of a file; None removes one."""
    dataset = pydicom.dcmread(path)
    for name, value in values.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)


def move(path: Path, *way: float) -> None:
    position = np.array(pydicom.dcmread(path).ImagePositionPatient, float) + way
    edit(path, ImagePositionPatient=[f"{value:.4f}" for value in position])


def problem(slices: list[Path]) -> problem.Problem:
    """The one problem of a series."""
    (series,) = preflight.scan([slices[0].parent]).series
    (found,) = series.problems
    return found


def test_a_sound_series_is_accepted(slices):
    assert verdict(slices[0].parent) == ("ok", set())


@pytest.mark.parametrize("dropped", [[1], [5], [4, 5], [3, 8], [10]])
def test_missing_slices_are_counted(slices, dropped):
    for index in dropped:
        slices[index].unlink()
    found = problem(slices)
    assert found.code == "missing-slices"
    assert found.message.startswith(f"{len(dropped)} of 12 slices are missing: 24.00 mm apart")


def test_a_slice_out_of_step_is_irregular_spacing(slices):
    move(slices[5], 0, 0, 7)
    found = problem(slices)
    assert found.code == "irregular-spacing"
    assert "from 17.00 to 31.00 mm" in found.message


def test_thin_slices_among_thick_ones_are_irregular_and_not_a_gap(slices):
    for number, path in enumerate(slices[6:], start=1):
        move(path, 0, 0, 24 * number)
    found = problem(slices)
    assert found.code == "irregular-spacing" and "from 24.00 to 48.00 mm" in found.message


def test_distances_that_grow_slowly_are_irregular_spacing(slices):
    for number, path in enumerate(slices):
        move(path, 0, 0, 0.15 * number**2)
    assert problem(slices).code == "irregular-spacing"


def test_positions_rounded_to_a_tenth_of_a_millimetre_are_regular(tmp_path):
    for number, path in enumerate(phantom.write(tmp_path, slices=16, size=8)):
        edit(path, ImagePositionPatient=[0, 0, f"{number * 0.625:.1f}"])
    assert verdict(tmp_path) == ("ok", set())


def test_slices_stacked_off_their_normal_are_a_gantry_tilt(slices):
    for number, path in enumerate(slices):
        move(path, 0, number * 24 * np.tan(np.radians(10)), 0)
    found = problem(slices)
    assert found.code == "gantry-tilt" and "10.0 degrees" in found.message


def test_one_slice_set_aside_is_not_a_straight_stack(slices):
    move(slices[5], 15, 0, 0)
    found = problem(slices)
    assert found.code == "gantry-tilt" and "up to 15.0 mm aside" in found.message


@pytest.mark.parametrize(
    ("orientation", "code"),
    [([1, 0.005, 0, 0, 1, 0], None), ([0.992, 0, 0, 0, 1, 0], None), ([1, 0.02, 0, 0, 1, 0], "bad-orientation")],
)
def test_axes_that_are_rounded_are_meant_so(slices, orientation, code):
    for path in slices:
        edit(path, ImageOrientationPatient=orientation)
    (series,) = preflight.scan([slices[0].parent]).series
    assert [each.code for each in series.problems] == [code] * bool(code)


@pytest.mark.parametrize(
    ("change", "code", "level"),
    [
        ({"ConvolutionKernel": "B70f"}, "mixed-reconstructions", "refuse"),
        ({"KVP": "80"}, "mixed-reconstructions", "refuse"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer", "warn"),
        ({"SOPInstanceUID": "1.2.9f"}, "bad-uid", "refuse"),
        ({"SOPInstanceUID": "1." + "2" * 63}, "bad-uid", "refuse"),
        ({"RescaleSlope": "0"}, "bad-rescale", "refuse"),
        ({"RescaleSlope": None, "RescaleIntercept": None}, "no-rescale", "warn"),
    ],
)
def test_what_one_slice_says_of_itself_counts(slices, change, code, level):
    edit(slices[3], **change)
    found = problem(slices)
    assert (found.code, found.level) == (code, level)


def test_two_slices_in_one_plane_are_duplicates(slices):
    copy = slices[4].with_name("again.dcm")
    shutil.copy(slices[4], copy)
    edit(copy, SOPInstanceUID=generate_uid())
    found = problem(slices)
    assert found.code == "duplicate-slices" and "1 of 13 slices" in found.message


def test_two_files_with_one_uid_and_different_content_are_duplicates(slices):
    copy = slices[4].with_name("again.dcm")
    shutil.copy(slices[4], copy)
    edit(copy, ImageComments=pydicom.dcmread(copy).ImageComments.upper())
    for path in (slices[4], copy):
        os.utime(path, (0, 0))  # size and date are the same, too
    found = problem(slices)
    assert found.code == "duplicate-slices" and "SOPInstanceUID" in found.message


def test_a_file_that_is_there_twice_counts_once(slices):
    shutil.copy(slices[4], slices[4].with_name("again.dcm"))
    report = preflight.scan([slices[0].parent])
    assert report.ok and report.copies == 1 and len(report.series[0].files) == 12


def test_paths_that_overlap_count_once(slices):
    folder = slices[0].parent
    report = preflight.scan([folder.parent, folder, slices[3]])
    assert report.ok and report.copies == 0 and len(report.series[0].files) == 12


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "mixed-orientations"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "bad-orientation"),
        ({"ImageOrientationPatient": None}, "missing-position"),
        ({"ImagePositionPatient": None}, "missing-position"),
        ({"ImagePositionPatient": [0, 0]}, "missing-position"),
        ({"PixelSpacing": [2, 2]}, "mixed-spacing"),
        ({"PixelSpacing": None}, "no-pixel-spacing"),
        ({"PixelSpacing": [0, 0]}, "no-pixel-spacing"),
        ({"Rows": 17}, "wrong-rows"),
        ({"Rows": 8, "PixelData": b"\0" * 256}, "wrong-rows"),
        ({"PixelData": None}, "no-pixel-data"),
        ({"PixelData": b""}, "no-pixel-data"),
        ({"NumberOfFrames": 2, "PixelData": b"\0" * 1024}, "multiframe"),
        ({"SamplesPerPixel": 3, "PixelData": b"\0" * 1536}, "colour"),
        ({"Modality": "PT"}, "modality"),
        ({"StudyInstanceUID": "1.2.3"}, "mixed-studies"),
        ({"PatientID": "another"}, "mixed-studies"),
        ({"LossyImageCompression": "01"}, "lossy"),
    ],
)
def test_one_bad_slice_is_found_among_good_ones(slices, values, code):
    edit(slices[4], **values)
    (series,) = preflight.scan([slices[0].parent]).series
    assert code in {each.code for each in series.problems}
    assert series.refused == (code != "lossy")


def test_a_problem_of_some_slices_says_which(slices):
    for path in slices[4:7]:
        edit(path, PixelData=None)
    assert problem(slices).message.endswith("(3 of 12 instances, the first in 0005.dcm)")


def test_a_syntax_that_the_label_server_cannot_decode_is_refused(slices):
    for path in slices:
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.201"
        dataset.PixelData = encapsulate([b"\0" * 10])
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path)
    found = problem(slices)
    assert found.code == "unsupported-syntax" and "High-Throughput JPEG 2000" in found.message


def test_compressed_pixel_data_must_end_with_their_delimiter(slices):
    dataset = pydicom.dcmread(slices[4])
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(slices[4])
    assert verdict(slices[0].parent) == ("ok", set())
    slices[4].write_bytes(slices[4].read_bytes()[:-8])
    assert problem(slices).code == "truncated"


def test_compressed_pixel_data_without_a_fragment_are_none(slices):
    dataset = pydicom.dcmread(slices[4])
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00"
    dataset.save_as(slices[4])
    assert problem(slices).code == "no-pixel-data"


def test_pixel_data_are_measured_and_not_loaded(slices):
    with slices[0].open("r+b") as file:
        file.truncate(10**12)  # sparse: it takes no place on the disk, but would in memory
    assert verdict(slices[0].parent) == ("ok", set())


@pytest.mark.parametrize("name", ["SOPInstanceUID", "StudyInstanceUID"])
def test_an_instance_without_its_uids_is_an_error_of_its_file(slices, name):
    edit(slices[4], **{name: None})
    report = preflight.scan([slices[0].parent])
    assert [(each.path, each.message) for each in report.errors] == [(slices[4], f"it has no {name}")]
    assert not report.ok and len(report.series[0].files) == 11


def test_any_modality_is_accepted_where_none_is_asked_for(slices):
    for path in slices:
        edit(path, Modality="MR")
    assert preflight.scan([slices[0].parent], modality="").ok
    assert preflight.scan([slices[0].parent], modality="MR").ok


def test_the_contents_of_a_cd_are_no_instance(slices):
    shutil.copy(get_testdata_file("DICOMDIR"), slices[0].parent)
    report = preflight.scan([slices[0].parent])
    assert report.ok and report.skipped == 1


def test_other_files_are_skipped_and_counted(slices):
    (slices[0].parent / "deep" / "er").mkdir(parents=True)
    (slices[0].parent / "deep" / "er" / "notes.txt").write_text("not DICOM")
    report = preflight.scan([slices[0].parent])
    assert report.ok and report.skipped == 1


def test_a_folder_without_dicom_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "notes.txt").write_text("not DICOM")
    with pytest.raises(DeployError, match="no DICOM file") as caught:
        preflight.scan([tmp_path])
    assert caught.value.remedy


def test_a_path_that_is_not_there_is_an_error(slices):
    with pytest.raises(DeployError, match="does not exist"):
        preflight.scan([slices[0], slices[0].parent / "nowhere"])


def test_a_file_that_may_not_be_read_is_an_error_of_its_own(slices, monkeypatch):
    usual = Path.open

    def refuse(self, *arguments, **options):
        if self == slices[4]:
            raise PermissionError(13, "Permission denied")
        return usual(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    (error,) = preflight.scan([slices[0].parent]).errors
    assert error.path == slices[4] and "Permission denied" in error.message


# --- what is shown ---


def test_the_table_shows_every_problem_and_the_numbers(slices):
    slices[5].unlink()
    (slices[0].parent / "notes.txt").write_text("not DICOM")
    text = preflight.table(preflight.scan([slices[0].parent])).plain
    assert text.splitlines()[0].split()[:4] == ["refused", "CT", "11", "instances"]
    assert "missing-slices: 1 of 12 slices are missing" in text
    assert text.splitlines()[-1] == "0 series can be sent; 1 series refused; 1 file skipped: not DICOM"


def test_header_text_cannot_steer_the_terminal(slices):
    for path in slices:
        edit(path, SeriesDescription="\x1b[2Jgone [red]")
    with console.out.capture() as capture:
        console.out.print(preflight.table(preflight.scan([slices[0].parent])))
    assert "[red]" in capture.get() and "\x1b[2J" not in capture.get()


def test_the_report_becomes_json(slices):
    slices[5].unlink()
    edit(slices[6], StudyInstanceUID=None)
    report = json.loads(json.dumps(preflight.to_json(preflight.scan([slices[0].parent]))))
    (series,) = report["series"]
    assert (report["ok"], series["verdict"], series["instances"]) == (False, "refuse", 10)
    assert series["problems"][0]["code"] == "missing-slices"
    assert report["errors"] == [{"path": str(slices[6]), "message": "it has no StudyInstanceUID"}]


def test_an_interruption_ends_the_work_that_is_not_begun():
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise KeyboardInterrupt
        time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        parallel.parallel(work, range(500), "working", workers=1)
    assert len(begun) < 250

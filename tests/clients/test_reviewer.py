"""A reviewer at 3D Slicer with the MONAI Label Reviewer plugin as it is shipped, on DICOMweb studies, in order."""

import numpy as np
import pytest

from labelpod.dicom import phantom
from tests.support.annotator import Annotator
from tests.support.waiting import eventually

VERDICTS = {
    "flagged": {"level": "hard", "comment": "The rim of nodule2 is missing; größer."},
    "approved": {"level": "easy", "comment": ""},
}


@pytest.fixture(scope="module")
def annotator(url_of) -> Annotator:
    annotator = Annotator(url_of("annotator"))
    annotator.client._client_id = "user-xyz"  # as the plugin MONAI Label sends it, unless somebody changes its settings
    return annotator


@pytest.fixture(scope="module")
def url(url_of) -> str:
    # Without the slash at its end, see test_the_url_may_end_with_a_slash.
    return url_of("reviewer").rstrip("/")


@pytest.fixture(scope="module")
def studies(stack, annotator, tmp_path_factory) -> list[str]:
    """Two labelled studies; their series UIDs."""
    found = []
    for seed in (1, 2):
        folder = tmp_path_factory.mktemp("phantom")
        phantom.write(folder, slices=24, size=64, seed=seed)
        stack.done("studies", "push", str(folder))
        found.append(eventually(annotator.next_sample, 5, "the study is offered"))
        image = annotator.image(found[-1])
        voxels = np.zeros(image.GetSize()[::-1], np.uint8)
        voxels[8:12, 20:30, 20:30], voxels[14:16, 40:45, 40:45] = 2, 3
        annotator.submit(found[-1], image, voxels)
    return found


@pytest.fixture(scope="module")
def connected(slicer, url, studies):
    return slicer.review("connect", url=url, reviewer="rita")


def judged(slicer) -> dict[str, str]:
    """What the plugin shows of the study that it has loaded."""
    shown = slicer.review("shown")
    return {key: shown[key] for key in ("level", "status", "comment")}


def test_the_reviewer_sees_both_labelled_studies(connected, studies):
    assert sorted(connected["images"]) == sorted(studies)
    assert connected["segmented"] == "2/2" and connected["approved"] == "0/2"


def test_a_study_is_shown_with_its_segments(connected):
    assert connected["image"] == connected["images"][0]
    assert connected["size"] == [64, 64, 24]
    assert len(connected["segments"]) == 2


def test_verdicts_are_kept_and_next_goes_on(slicer, connected):
    slicer.review("load")
    for verdict, rest in VERDICTS.items():
        slicer.review("grade", level=rest["level"])
        slicer.review("judge", verdict=verdict, comment=rest["comment"])
        shown = slicer.review("next")
    assert "End of list has been reached" in slicer.boxes[-1]["text"]
    assert shown["image"] == connected["images"][1]
    assert shown["approved"] == "1/2" and shown["progress"] == [100, 50]


def test_a_grade_can_be_changed(slicer, connected):
    slicer.review("grade", level="medium")
    slicer.review("next")
    assert judged(slicer)["level"] == "medium"


def test_verdicts_outlive_a_restart_of_the_server(slicer, connected, url, restart):
    restart()
    shown = slicer.review("connect", url=url, reviewer="rita")
    assert shown["image"] == connected["images"][0] and shown["approved"] == "1/2"
    assert judged(slicer) == {"status": "flagged"} | VERDICTS["flagged"]
    slicer.review("load")
    slicer.review("next")
    assert judged(slicer) == {"status": "approved"} | VERDICTS["approved"] | {"level": "medium"}


def test_a_verdict_leaves_the_annotators_name_with_the_label(annotator, connected):
    stored = annotator.client.datastore()["objects"]
    assert {each["labels"]["final"]["info"]["user"] for each in stored.values()} == {"some-annotator"}


def test_a_study_that_nobody_has_opened_counts(slicer, stack, connected, url, tmp_path):
    phantom.write(tmp_path / "phantom", slices=24, size=64, seed=3)
    stack.done("studies", "push", str(tmp_path / "phantom"))

    def connect() -> tuple[str, str]:
        shown = slicer.review("connect", url=url, reviewer="rita")
        return shown["segmented"], shown["approved"]

    # The server's lists may be two seconds old.
    eventually(lambda: connect() == ("2/3", "1/3"), 10, "the new study counts")


def test_the_url_may_end_with_a_slash(slicer, connected, url):
    """As `up` and `users add` print it."""
    assert slicer.review("connect", url=f"{url}/", reviewer="rita")["images"]

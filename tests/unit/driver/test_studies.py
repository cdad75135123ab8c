"""Pushing to Orthanc and listing it, against a stand-in that answers as Orthanc 1.12.7 was seen to."""

import json
import shutil
import threading
from pathlib import Path

import pydicom
import pytest

from labelpod import console
from labelpod.clients import orthanc as orthanc_rest
from labelpod.clients.label_server import LabelServer
from labelpod.clients.orthanc import Orthanc
from labelpod.config.settings import Settings
from labelpod.dicom import phantom
from labelpod.errors import DeployError
from labelpod.studies import labels, push
from tests.support.fake_orthanc import FakeOrthanc


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(orthanc_rest, "_PAUSES", (0, 0, 0))
    server = FakeOrthanc()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def orthanc(server) -> Orthanc:
    return Orthanc(server.url, "labelpod", "secret")


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    phantom.write(folder, slices=20, size=16)
    return folder


@pytest.fixture
def folder(original, tmp_path) -> Path:
    """A sound series of 20 slices."""
    return Path(shutil.copytree(original, tmp_path / "series"))


def edit(path: Path, **values) -> None:
    dataset = pydicom.dcmread(path)
    for name, value in values.items():
        setattr(dataset, name, value)
    dataset.save_as(path)


# --- push ---


def test_everything_arrives_byte_for_byte(server, orthanc, folder):
    outcome = push.push([folder], orthanc, "CT")
    assert (outcome.sent, outcome.already, outcome.errors, outcome.ok) == (20, 0, [], True)
    assert [len(each.files) for each in outcome.taken] == [20]
    assert sorted(server.files.values()) == sorted(path.read_bytes() for path in folder.iterdir())


def test_what_is_there_is_not_sent_again(server, orthanc, folder):
    push.push([folder], orthanc, "CT")
    server.posted.clear()
    outcome = push.push([folder], orthanc, "CT")
    assert (outcome.sent, outcome.already, outcome.ok) == (0, 20, True)
    assert server.posted == []


def test_orthanc_is_asked_once_for_each_series_what_it_has(server, orthanc, folder):
    push.push([folder], orthanc, "CT")
    assert server.requests.count("POST /tools/find") == 1


def test_a_push_that_was_cut_short_goes_on_with_the_rest(server, orthanc, folder):
    for path in sorted(folder.iterdir())[:7]:
        server.store(path.read_bytes())
    outcome = push.push([folder], orthanc, "CT")
    assert (outcome.sent, outcome.already) == (13, 7)
    assert len(server.posted) == 13


def test_a_refused_series_is_not_sent_and_a_good_one_is(server, orthanc, folder, tmp_path):
    phantom.write(tmp_path / "gap", slices=10, size=16)[4].unlink()
    outcome = push.push([folder, tmp_path / "gap"], orthanc, "CT")
    assert outcome.sent == len(server.files) == 20
    assert not outcome.ok
    assert [problem.code for problem in outcome.refused[0].problems] == ["missing-slices"]


def halves(folder: Path) -> tuple[list[Path], list[Path]]:
    files = sorted(folder.iterdir())
    return files[:10], files[10:]


def test_the_rest_of_a_series_is_judged_with_what_is_there(server, orthanc, folder):
    feet, head = halves(folder)
    assert push.push(feet, orthanc, "CT").ok and push.push(head, orthanc, "CT").ok
    assert len(server.files) == 20


def test_a_rest_that_leaves_a_gap_is_refused(server, orthanc, folder):
    feet, head = halves(folder)
    assert push.push(feet, orthanc, "CT").ok
    outcome = push.push(head[3:], orthanc, "CT")
    assert [each.code for each in outcome.refused[0].problems] == ["missing-slices", "together"]
    assert "10 slices of this series that Orthanc has" in outcome.refused[0].problems[-1].message
    assert len(server.files) == 10


def test_a_gap_that_orthanc_can_fill_is_none(server, orthanc, folder):
    files = sorted(folder.iterdir())
    assert push.push(files[::2], orthanc, "CT").ok
    assert push.push([*files[:6:2], *files[1::2]], orthanc, "CT").ok
    assert len(server.files) == 20


def test_the_same_series_again_under_other_uids_or_another_patient_is_refused(server, orthanc, folder):
    assert push.push([folder], orthanc, "CT").ok
    for change, code in (
        (lambda: {"SOPInstanceUID": pydicom.uid.generate_uid()}, "duplicate-slices"),
        (lambda: {"PatientID": "another"}, "mixed-studies"),
    ):
        for path in folder.iterdir():
            edit(path, **change())
        outcome = push.push([folder], orthanc, "CT")
        assert not outcome.ok and code in [each.code for each in outcome.refused[0].problems]
    assert len(server.files) == 20


def test_labels_of_images_that_are_sent_or_there_are_sent_and_others_refused(server, orthanc, folder, tmp_path):
    def label(name: str, series: str) -> Path:
        seg = pydicom.dcmread(next(folder.iterdir()))
        reference = pydicom.Dataset()
        reference.SeriesInstanceUID = series
        seg.ReferencedSeriesSequence = [reference]
        seg.SOPClassUID, seg.Modality = "1.2.840.10008.5.1.4.1.1.66.4", "SEG"
        seg.SeriesInstanceUID, seg.SOPInstanceUID = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
        seg.file_meta.MediaStorageSOPClassUID = seg.SOPClassUID
        seg.save_as(tmp_path / name)
        return tmp_path / name

    uid = pydicom.dcmread(next(folder.iterdir())).SeriesInstanceUID
    with_it, later, stray = label("a.dcm", uid), label("b.dcm", uid), label("c.dcm", "1.2.3")
    outcome = push.push([folder, with_it, stray], orthanc, "CT")
    assert (outcome.sent, [each.modality for each in outcome.refused]) == (21, ["SEG"])
    assert push.push([later], orthanc, "CT").ok and len(server.files) == 22


def test_force_sends_a_refused_series_and_names_its_problems(server, orthanc, folder):
    sorted(folder.iterdir())[4].unlink()
    outcome = push.push([folder], orthanc, "CT", force=True)
    assert (outcome.sent, outcome.refused, outcome.ok) == (19, [], True)
    assert outcome.doubtful[0].problems[0].code == "missing-slices"


def test_a_series_of_another_modality_is_refused(server, orthanc, folder):
    outcome = push.push([folder], orthanc, "MR")
    assert not outcome.ok and outcome.refused and server.posted == []


def test_a_warning_does_not_keep_a_series_back(server, orthanc, folder):
    for path in folder.iterdir():
        edit(path, LossyImageCompression="01")
    outcome = push.push([folder], orthanc, "CT")
    assert outcome.ok and outcome.sent == 20
    assert outcome.doubtful[0].problems[0].code == "lossy"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((403, {}), "longer than LABELPOD_ORTHANC_MAX_BODY_MB"),
        ((200, {"ID": "x", "Status": "FilteredStatus"}), "LABELPOD_DICOM_KINDS"),
    ],
    ids=["too long", "of no kind that belongs there"],
)
def test_what_access_lua_refuses_is_said_with_the_setting(server, orthanc, folder, answer, reason):
    server.store = lambda _: answer
    outcome = push.push([folder], orthanc, "CT")
    assert not outcome.ok and all(reason in error.message for error in outcome.errors)


def test_a_file_that_orthanc_refuses_does_not_stop_the_others(server, orthanc, folder):
    bad = folder / "0007.dcm"
    dataset = pydicom.dcmread(bad)
    del dataset.SeriesInstanceUID
    dataset.save_as(bad)
    outcome = push.push([folder], orthanc, "CT", force=True)
    (error,) = outcome.errors
    assert (outcome.sent, error.path, error.message) == (19, bad, "Orthanc refuses it: Inexistent tag")
    assert not outcome.ok


def test_a_file_that_cannot_be_read_does_not_stop_the_others(server, orthanc, folder):
    edit(folder / "0020.dcm", NumberOfFrames=1)
    broken = folder / "0020.dcm"
    broken.write_bytes(broken.read_bytes()[:600])
    outcome = push.push([folder], orthanc, "CT", force=True)
    assert (outcome.sent, [each.path for each in outcome.errors]) == (19, [broken])


def test_other_content_under_a_known_uid_is_an_error(server, orthanc, folder):
    push.push([folder], orthanc, "CT")
    before = dict(server.files)
    edit(folder / "0007.dcm", ImageComments="changed")
    outcome = push.push([folder], orthanc, "CT")
    (error,) = outcome.errors
    assert error.path.name == "0007.dcm" and "other content" in error.message
    assert (outcome.already, outcome.ok, server.files) == (19, False, before)


def test_of_two_files_with_one_uid_the_second_is_an_error(server, orthanc, folder):
    shutil.copy(folder / "0007.dcm", folder / "again.dcm")
    edit(folder / "again.dcm", ImageComments="changed")
    outcome = push.push([folder], orthanc, "CT", force=True)
    (error,) = outcome.errors
    assert outcome.sent == 20 and "other content" in error.message


def test_what_somebody_else_sends_meanwhile_is_there_already(server, orthanc, folder, monkeypatch):
    for path in folder.iterdir():
        server.store(path.read_bytes())
    monkeypatch.setattr(server, "find", lambda _: [])
    outcome = push.push([folder], orthanc, "CT")
    assert (outcome.already, outcome.ok) == (20, True)


def test_connections_that_break_are_tried_again(server, orthanc, folder):
    server.drops = 3
    outcome = push.push([folder], orthanc, "CT")
    assert (outcome.sent, outcome.ok) == (20, True)


def test_a_file_that_always_breaks_the_connection_does_not_stop_the_others(server, orthanc, folder):
    server.drops_always = (folder / "0007.dcm").read_bytes()
    outcome = push.push([folder], orthanc, "CT")
    (error,) = outcome.errors
    assert outcome.sent == 19 and error.path.name == "0007.dcm" and "connection" in error.message


def test_an_orthanc_that_goes_away_ends_the_push_and_the_next_one_goes_on(server, orthanc, folder):
    server.dies_after = 8
    with pytest.raises(DeployError, match="does not answer"):
        push.push([folder], orthanc, "CT")
    assert len(server.files) == 8


def test_few_connections_are_opened_and_kept(server, orthanc, folder):
    push.push([folder], orthanc, "CT")
    assert server.connections <= 4


def test_a_wrong_password_is_noticed_before_any_file_is_read(server):
    orthanc = Orthanc(server.url, "labelpod", "wrong")
    with pytest.raises(DeployError, match="does not accept the login of user labelpod") as caught:
        push.push([Path("nowhere")], orthanc, "CT")
    assert "ORTHANC_PASSWORD" in caught.value.remedy


def test_an_orthanc_that_is_not_there_is_an_error_with_a_remedy(monkeypatch):
    monkeypatch.setattr(orthanc_rest, "_PAUSES", (0,))
    with pytest.raises(DeployError, match=r"does not answer at http://127\.0\.0\.1:9") as caught:
        push.list_studies(Orthanc("http://127.0.0.1:9", "labelpod", "secret"))
    assert "deploy.py up" in caught.value.remedy


def test_another_web_server_is_not_taken_for_orthanc(web):
    with pytest.raises(DeployError, match="is not Orthanc"):
        push.list_studies(Orthanc(web.url, "labelpod", "secret"))


def test_the_machines_proxy_is_not_used(server, orthanc, folder, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert push.push([folder], orthanc, "CT").ok


def test_the_password_is_not_shown(orthanc):
    assert "secret" not in repr(orthanc)


# --- list ---


@pytest.fixture
def stored(server, folder) -> FakeOrthanc:
    """Two studies; one of them is labelled."""
    for path in folder.iterdir():
        server.store(path.read_bytes())
    seg = folder / "0001.dcm"
    edit(seg, Modality="SEG", SeriesInstanceUID="1.2.3", SeriesDescription="Label", SOPInstanceUID="1.2.3.4")
    server.store(seg.read_bytes())
    edit(seg, Modality="CT", SeriesInstanceUID="1.2.5", StudyInstanceUID="1.2.4", PatientID="A", StudyDate="")
    server.store(seg.read_bytes())
    return server


def test_studies_are_listed_with_their_series(stored, orthanc):
    first, second = push.list_studies(orthanc)
    assert (first.patient_id, first.uid, first.labelled) == ("A", "1.2.4", False)
    assert (second.patient_id, second.date, second.labelled) == ("SYNTHETIC-PHANTOM", "20200101", True)
    assert {(each.modality, each.instances) for each in second.series} == {("CT", 20), ("SEG", 1)}


def test_the_list_takes_one_question(stored, orthanc):
    push.list_studies(orthanc)
    assert stored.requests == ["GET /system", "POST /tools/find"]


def test_an_empty_orthanc_has_no_studies(server, orthanc):
    assert push.list_studies(orthanc) == []
    assert push.studies_table([]).plain == "0 studies, 0 labelled"


def test_the_list_is_shown_and_becomes_json(stored, orthanc):
    found = push.list_studies(orthanc)
    text = push.studies_table(found).plain
    assert "20 instances  SYNTHETIC chest CT phantom" in text and text.endswith("2 studies, 1 labelled")
    first, second = json.loads(json.dumps(push.studies_json(found)))
    assert (first["labelled"], second["labelled"]) == (False, True)
    assert first["series"][0] == {"uid": "1.2.5", "modality": "CT", "description": "Label", "instances": 1}


def test_whether_a_study_is_labelled_is_what_the_label_server_says(stored, orthanc, web):
    """A SEG may be an organ, or not to be read; a label may be of a study that has none yet."""
    (ct,) = (each.uid for study in push.list_studies(orthanc) for each in study.series if each.instances == 20)
    left_out = [{"SeriesInstanceUID": "1.2.3", "reason": "the label list has none of its segments: Liver"}]
    objects = {ct: {"labels": {"original": {}}, "left_out": left_out}, "1.2.5": {"labels": {"final": {}}}}
    told = {"objects": objects, "left_out": {ct: "localizer: it is one"}}
    web.pages["/datastore/"] = web.answer(200, json.dumps(told).encode())
    values = Settings(LABEL_SERVER_PORT=int(web.url.rpartition(":")[2]), LABEL_SERVER_TOKEN="t" * 32)
    with LabelServer(values) as asked:
        first, second = marked = labels.marked(push.list_studies(orthanc), labels.ask(asked))
    assert (first.labelled, second.labelled) == (True, False)
    assert "      no label: the label list has none of its segments: Liver" in push.studies_table(marked).plain
    assert "      not offered: localizer: it is one" in push.studies_table(marked).plain
    assert push.studies_json(marked)[1]["left_out"]["1.2.3"] == left_out[0]["reason"]


def test_the_outcome_is_shown_and_becomes_json(server, orthanc, folder, tmp_path):
    phantom.write(tmp_path / "gap", slices=10, size=16)[4].unlink()
    (folder / "notes.txt").write_text("not DICOM")
    server.store((folder / "0001.dcm").read_bytes())
    outcome = push.push([folder, tmp_path / "gap"], orthanc, "CT")
    with console.out.capture() as capture:
        console.out.print(push.outcome_table(outcome))
    lines = capture.get().splitlines()
    assert lines[0].startswith("refused") and "missing-slices" in lines[1]
    assert lines[-1] == (
        "19 instances sent, 1 there already; 1 series refused, --force sends them anyway; 1 file skipped: not DICOM"
    )
    found = json.loads(json.dumps(push.outcome_json(outcome)))
    assert (found["ok"], found["sent"], found["already"], found["skipped"]) == (False, 19, 1, 1)
    assert found["refused"][0]["problems"][0]["code"] == "missing-slices"

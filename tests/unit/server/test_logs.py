"""What a log may say: nothing of a patient, no value that a client sent, and no line that a client forged."""

import json
import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from label_server import logs
from tests.support.attacks import image as nifti
from tests.support.attacks import operations
from tests.support.ct import Ct, ct, read, written
from tests.support.dicomweb import Pacs, multipart
from tests.support.paths import ROOT
from tests.support.web import NAMES, Server

PATIENT = "Zzyzx^Quillon"
FORGED = "anna\n[2026-11-28] [INFO] (access:1) - 10.0.0.1 admin DELETE /datastore/ 200 5 ms"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Whatever this process logs, as its handlers write it; records are made as in the server's process."""
    before = logging.getLogRecordFactory(), warnings.showwarning, sys.excepthook
    levels = {name: logging.getLogger(name).level for name in logs._TALKATIVE}
    logs.install()
    caplog.set_level(logging.DEBUG)
    found: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(logging.Formatter("%(levelname)s %(name)s %(message)s").format(record))

    handler = Handler()
    logging.getLogger().addHandler(handler)
    yield found
    logging.getLogger().removeHandler(handler)
    logging.setLogRecordFactory(before[0])
    warnings.showwarning, sys.excepthook = before[1:]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def of_patient(series: Ct) -> Ct:
    """The series with a patient whose name is easily found."""
    files = []
    for content in series.files:
        dataset = read(content)
        dataset.PatientName = PATIENT
        dataset.PatientComments = PATIENT
        files.append(written(dataset))
    return Ct(series.uid, series.study_uid, tuple(files))


@pytest.mark.parametrize(
    "message",
    [
        "Infer Request: {'image': '1.2', 'note': 'Zzyzx^Quillon'}",
        "Request Files: [UploadFile(filename='Zzyzx^Quillon.nii.gz', size=3)]",
        'params: {"a": {"b": "Zzyzx^Quillon"}}',
        "torn: {'a': 'Zzyzx^Quillon",
        "Invalid value for VR PN: 'Zzyzx^Quillon'.",
        "torn: 'Zzyzx^Quillon",
        "cut off: 'Zzyzx^Quillon\\",
        'The string "Zzyzx^Quillon" is unlikely to represent the intended person name',
    ],
)
def test_data_in_a_message_stand_by_their_size(message: str):
    told = logs.plain(message)
    assert PATIENT not in told and "characters>" in told


@pytest.mark.parametrize("text", ["'", "' ", "\\'", " '\\\"", "{", "[]", "{'", " 'a\\", '\\"', "\"'", "x' 'y"])
@pytest.mark.parametrize("end", ["", "'b", '"b', "}b"])
def test_no_text_of_a_client_takes_long(text: str, end: str):
    started = time.monotonic()
    logs.plain(text * (90_000 // len(text)) + end)
    assert time.monotonic() - started < 1


def test_words_stay_as_they_are():
    for message in ("1.2.3 is ready for clicks", "the users' file cannot be read: it isn't", "Fetched 1.2 in 0.3 s"):
        assert logs.plain(message) == message


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1b[2K", "\x85", "\u2028", "\u2029", "\u202e"])
def test_a_client_forges_no_line(lines: list[str], end: str):
    logging.getLogger("label_server.x").warning(FORGED.replace("\n", end))
    (line,) = lines
    assert line.isprintable() and len(line.splitlines()) == 1


def test_an_exception_is_told_without_what_it_quotes(lines: list[str]):
    try:
        try:
            raise ValueError(f"Invalid value for VR PN: '{PATIENT}'\n{FORGED}")
        except ValueError as error:
            raise RuntimeError(f"cannot read {[PATIENT]}") from error
    except RuntimeError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    (text,) = lines
    assert PATIENT not in text and "builtins.ValueError: " in text and "builtins.RuntimeError: " in text
    assert "test_an_exception_is_told" in text, "the place is told"
    assert not [line for line in text.splitlines() if line.startswith("[2026-11-28]")]


def test_every_python_of_the_image_has_plain_logs(tmp_path: Path):
    """A training is a process of its own, and upstream's logging is its own there."""
    code = (
        "import logging, warnings; logging.basicConfig(level='INFO')\n"
        f"logging.getLogger('monailabel.tasks').info('Train Request (input): ' + str({{'x': {PATIENT!r}}}))\n"
        f"warnings.warn({PATIENT!r})\n"
        f"raise ValueError(str([{PATIENT!r}]))"
    )
    program = tmp_path / "training.py"
    program.write_text(code.replace(repr(PATIENT), "'Zzyzx' + '^Quillon'"))
    path = os.pathsep.join([str(ROOT / "images" / "label-server"), str(ROOT)])
    said = subprocess.run(
        [sys.executable, str(program)], env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    ).stderr
    assert "Train Request (input): <" in said and "UserWarning at " in said and "builtins.ValueError: <" in said
    assert PATIENT not in said


def test_no_operation_logs_the_name_of_a_patient(server: Server, pacs: Pacs, lines: list[str], capfd, monkeypatch):
    """Every operation once, on a patient's CT and with the name in every place that takes a text."""
    monkeypatch.setattr("monailabel.utils.async_tasks.task.run_background_task", lambda request, method: {})
    image = of_patient(ct())
    pacs.store(image)
    assert server.submit(image.uid, np.ones(image.shape), names=(PATIENT.replace("^", ""), *NAMES[1:])).status_code
    assert server.submit(image.uid, np.ones(image.shape)).status_code == 200
    assert server.ask("POST", f"/infer/threshold?image={image.uid}", "anna").status_code == 200
    body, kind = multipart(*image.files)
    server.ask("POST", "/proxy/dicom/stow/studies", "admin", content=body, headers={"Content-Type": kind})
    server.ask("GET", f"/proxy/dicom/qido/studies?PatientName={PATIENT}", "anna")
    known = operations(server.ask("GET", "/openapi.json", "anna").json())
    for operation in sorted(known, key=lambda each: each.method == "DELETE"):
        path = operation.path.replace("{model}", "threshold").replace("{strategy}", "first")
        path = path.replace("{session_id}", "none").replace("{method}", "dice")
        query = {name: "1" if name in ("limit_cases", "lines", "expiry") else image.uid for name in operation.queries}
        params = json.dumps({"note": PATIENT, "label_info": [{"name": PATIENT, "idx": 1}]})
        more = {"json": {"note": PATIENT}} if operation.json else {}
        if operation.form:
            more = {
                "data": {"params": params, "info": params},
                "files": {name: (f"{PATIENT}.nii.gz", nifti()) for name in operation.form if name != "params"},
            }
        server.ask(operation.method, path, "admin", params=query, **more)
    shown = capfd.readouterr()
    assert len(lines) > 60
    assert [line for line in [*lines, *shown.out.splitlines(), *shown.err.splitlines()] if "Quillon" in line] == []

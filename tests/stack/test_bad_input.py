"""Whatever is wrong: one line says what, one line what to do, exit code 1, and nothing is changed."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.clone import Clone
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, engine: None) -> Iterator[Clone]:
    """A clone for errors that must be found before anything is changed."""
    clone = Clone.make(tmp_path_factory.mktemp("bad"), "labelpod-test-bad")
    yield clone
    clone.cli("down", "--volumes", "--yes")


def refused(clone: Clone, *arguments: str, **environment: str) -> tuple[str, str]:
    """Run, expect an error that changes nothing, and return message and remedy."""
    result = clone.cli(*arguments, **environment)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    *_, message, remedy = result.stderr.splitlines()
    assert message.startswith("Error: ") and remedy.startswith("       ")
    assert not clone.compose("ps", "-aq").stdout.strip(), "containers were started"
    return message, remedy


def test_a_taken_port_is_named_with_its_holder(untouched: Clone):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        message, remedy = refused(untouched, "up", "--yes", ORTHANC_PORT=port)
    assert port in message and str(os.getpid()) in message and "ORTHANC_PORT" in remedy
    assert not (untouched.root / ".env").exists()


@pytest.mark.parametrize(
    ("line", "message", "remedy"),
    [
        ("this is no setting", "line 1", "correct"),
        ("LABLES=nodule1", "LABLES", "LABELS"),
        ("LABELS=nodule1,nodule1", "twice", "correct LABELPOD_LABELS"),
        ("LABELS=background", "reserved", "correct LABELPOD_LABELS"),
        ("MODELS=deepgrow_4d", "deepgrow_4d", "correct LABELPOD_MODELS"),
        ("STUDIES_WAIT=soon", "STUDIES_WAIT", "correct LABELPOD_STUDIES_WAIT"),
        ("STUDIES=relative/folder", "STUDIES", "correct LABELPOD_STUDIES"),
    ],
)
def test_a_wrong_line_in_the_settings_file_is_named(untouched: Clone, line: str, message: str, remedy: str):
    settings = untouched.root / ".env"
    settings.write_text(line + "\n")
    try:
        found = refused(untouched, "up", "--yes")
        assert settings.read_text() == line + "\n"
    finally:
        settings.unlink()
    assert message in found[0] and remedy in found[1]


def test_an_unreachable_registry_is_an_error_only_where_it_is_asked_for(untouched: Clone):
    images = {"BASE_IMAGE": "127.0.0.1:9/debian:12", "ORTHANC_IMAGE": "127.0.0.1:9/orthanc:1"}
    message, remedy = refused(untouched, "build", "--yes", IMAGE_SOURCE="registry", **images)
    assert "127.0.0.1:9" in message and "IMAGE_SOURCE=debian" in remedy


def test_a_folder_without_dicom_is_an_error(untouched: Clone, tmp_path):
    (tmp_path / "readme.txt").write_text("no image")
    message, _ = refused(untouched, "studies", "check", str(tmp_path))
    assert "DICOM" in message


def test_a_folder_that_is_not_there_is_an_error(untouched: Clone, tmp_path):
    message, _ = refused(untouched, "studies", "check", str(tmp_path / "nowhere"))
    assert "nowhere" in message


def test_a_truncated_file_is_reported_and_exits_with_1(untouched: Clone, data):
    result = untouched.cli("studies", "check", str(data / "negatives" / "broken" / "truncated-pixeldata.dcm"))
    assert result.returncode == 1 and "truncated" in result.stdout


def test_wrong_usage_exits_with_2(untouched: Clone):
    assert untouched.cli("fly").returncode == 2


def test_a_build_that_is_interrupted_goes_on_at_the_next_start(untouched: Clone):
    environment = untouched.variables(LABELS="interrupted:1")
    build = subprocess.Popen(
        [sys.executable, "deploy.py", "build", "--yes"], cwd=untouched.root, env=environment, stderr=subprocess.PIPE
    )
    eventually(lambda: (untouched.root / "build" / "build.log").exists(), 120, "the build has begun")
    time.sleep(1)
    build.send_signal(signal.SIGINT)
    _, said = build.communicate(timeout=60)
    assert build.returncode in (130, 0), said
    untouched.done("build", "--yes", LABELS="interrupted:1")


def test_a_wrong_login_for_the_studies_is_one_clear_line(user: Clone):
    user.done("build", "--yes")
    result = user.cli("up", "--yes", DICOMWEB_USERNAME="nobody", DICOMWEB_PASSWORD="wrong", STUDIES_WAIT="2")
    try:
        assert result.returncode == 1
        message, remedy = result.stderr.splitlines()[-2:]
        assert "the login of user 'nobody' is not accepted" in message and "wrong" not in message
        assert "deploy.py logs label-server" in remedy
    finally:
        user.done("up", "--yes")


def test_an_unreachable_dicomweb_server_is_one_clear_line(user: Clone):
    result = user.cli("up", "--yes", STUDIES="http://127.0.0.1:9/dicom-web", STUDIES_WAIT="2")
    try:
        assert result.returncode == 1
        message, _ = result.stderr.splitlines()[-2:]
        assert "http://127.0.0.1:9/dicom-web" in message and "cannot be reached" in message
    finally:
        user.done("up", "--yes")


def test_a_wrong_orthanc_password_stops_a_push(user: Clone, data):
    result = user.cli("studies", "push", str(data / "chest-ct-mini"), ORTHANC_PASSWORD="wrong")
    assert result.returncode == 1
    message, remedy = result.stderr.splitlines()[-2:]
    assert "does not accept the login" in message and "ORTHANC_PASSWORD" in remedy

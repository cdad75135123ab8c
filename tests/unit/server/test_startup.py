"""What is checked and laid out before the label server starts."""

import base64
import os
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from label_server import startup
from label_server.models import pretrained
from label_server.startup import NotReady
from tests.support import dicomweb


@pytest.fixture
def server(tmp_path, monkeypatch) -> Path:
    """An image with its sample apps, and an environment as start_server makes it; returns the workspace."""
    configs = tmp_path / "monailabel" / "sample-apps" / "radiology" / "lib" / "configs"
    configs.mkdir(parents=True)
    for name in ("__init__", "deepedit", "deepgrow_2d"):
        (configs / f"{name}.py").touch()
    for app in ("radiology", "monaibundle"):
        (tmp_path / "monailabel" / "sample-apps" / app).mkdir(exist_ok=True)
        (tmp_path / "monailabel" / "sample-apps" / app / "main.py").touch()
    monkeypatch.setattr(startup, "SAMPLE_APPS", tmp_path / "monailabel" / "sample-apps")
    (tmp_path / "studies").mkdir()
    environment = {
        "APP": "radiology",
        "LABELS": "nodule1:1,nodule2:1",
        "MODELS": "deepedit",
        "BUNDLES": "",
        "STUDIES": str(tmp_path / "studies"),
        "STUDIES_WAIT": "1",
        "WEIGHTS_WAIT": "0",
        "WORKSPACE": str(tmp_path / "workspace"),
        "WEIGHTS": str(tmp_path / "weights"),
        "LISTEN": "127.0.0.1",
        "USERS_FILE": str(tmp_path / "users.json"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name in ("DICOMWEB_USERNAME", "DICOMWEB_PASSWORD_FILE", "LABEL_SERVER_TOKEN", "LABEL_SERVER_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "workspace"


def refused(run, *arguments: object) -> str:
    with pytest.raises(NotReady) as caught:
        run(*arguments)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_good_environment_gives_an_app_folder_with_our_app_in_it(server):
    startup.main()
    assert (server / "radiology" / "main.py").resolve() == startup.OWN_APP
    assert (server / "radiology" / "model").is_dir()


@pytest.mark.parametrize("listen", ["0.0.0.0", "", "192.168.1.7"])
def test_without_a_token_it_does_not_start_where_others_could_reach_it(server, monkeypatch, listen):
    monkeypatch.setenv("LISTEN", listen)
    assert "nobody would need a token: set LABEL_SERVER_TOKEN" in refused(startup.main)
    monkeypatch.setenv("LABEL_SERVER_TOKEN", "t" * 32)
    startup.main()


@pytest.mark.parametrize("token", ["{{ RUNPOD_SECRET_labelpod_token }}", ""])
def test_a_template_that_is_started_without_its_secret_is_closed(server, monkeypatch, token: str):
    monkeypatch.setenv("LISTEN", "0.0.0.0")
    monkeypatch.setenv("RUNPOD_POD_ID", "pod1")
    monkeypatch.setenv("LABEL_SERVER_TOKEN", token)
    assert "LABEL_SERVER_TOKEN" in refused(startup.main)


def test_a_users_file_is_as_good_as_a_token(server, monkeypatch, tmp_path):
    monkeypatch.setenv("LISTEN", "0.0.0.0")
    entry = '{"users": [{"name": "anna", "role": "annotator", "sha256": "%s"}]}' % ("0" * 64)
    (tmp_path / "users.json").write_text(entry)
    startup.main()


def test_a_token_file_that_cannot_be_read_is_said(server, monkeypatch):
    monkeypatch.setenv("LABEL_SERVER_TOKEN_FILE", "/absent/token")
    assert refused(startup.main) == "LABEL_SERVER_TOKEN_FILE cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("APP", "cardiology", "APP: there is no app 'cardiology'"),
        (
            "MODELS",
            "deepedit,deepgro_2d",
            "MODELS: there is no model 'deepgro_2d'; there are: deepedit, deepgrow_2d, sam2",
        ),
        ("MODELS", "sam2", "MODELS: sam2 needs another model beside it"),
        ("MODELS", "", "MODELS: sam2 needs another model beside it"),
        ("LABELS", "a,a", "LABELS: the name 'a' stands there twice"),
        ("LABELS", "background", "LABELS: the name 'background' is reserved by MONAI Label"),
        ("STUDIES", "/absent/studies", "STUDIES: the folder /absent/studies is not there"),
        ("WEIGHTS_WAIT", "soon", "WEIGHTS_WAIT: 'soon' is not a number of seconds"),
        ("WEIGHTS_WAIT", "inf", "WEIGHTS_WAIT: 'inf' is not a number of seconds"),
        ("STUDIES_WAIT", "-1", "STUDIES_WAIT: '-1' is not a number of seconds"),
    ],
)
def test_what_is_wrong_is_one_line_that_says_so(server, monkeypatch, variable, value, reason):
    monkeypatch.setenv(variable, value)
    assert refused(startup.main) == reason


def test_another_word_for_which_labels_count_is_said(server, monkeypatch):
    monkeypatch.setattr(startup, "FOREIGN_LABELS", "lax")
    assert refused(startup.main) == "FOREIGN_LABELS: 'lax' is neither listed nor any"


def test_names_are_checked_before_anything_is_written_or_fetched(server, monkeypatch, web):
    monkeypatch.setenv("MODELS", "unknown")
    monkeypatch.setenv("STUDIES", web.url)
    refused(startup.main)
    assert not server.exists() and web.asked == []


def test_another_apps_models_are_its_own_matter(server, monkeypatch):
    monkeypatch.setenv("APP", "monaibundle")
    monkeypatch.setenv("MODELS", "whatever")
    startup.main()
    assert (server / "monaibundle" / "model").is_dir()


@pytest.fixture
def sam2(tmp_path, monkeypatch) -> Path:
    """The configuration in the installed package sam2."""
    package = tmp_path / "packages" / "sam2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('it is imported')")
    (package / "sam2_hiera_l.yaml").write_text("of the package")
    monkeypatch.syspath_prepend(package.parent)
    return package / "sam2_hiera_l.yaml"


def test_sam2_goes_beside_another_model(server, monkeypatch, sam2):
    monkeypatch.setenv("MODELS", " deepgrow_2d , sam2 ")
    startup.main()


def test_sam2s_configuration_is_that_of_the_package_whatever_was_there(server, monkeypatch, sam2):
    """Hydra calls what it names."""
    monkeypatch.setenv("MODELS", "deepgrow_2d,sam2")
    there = server / "radiology" / "model" / sam2.name
    there.parent.mkdir(parents=True)
    there.write_text("_target_: os.system")
    startup.main()
    assert there.read_text() == "of the package"
    assert all(name.endswith(".pt") for files in pretrained.FILES.values() for name in files)


def run_as_a_program(monkeypatch) -> str:
    """Run it as start_server does; returns what ends it."""
    monkeypatch.setattr(sys, "prefix", str(startup.SAMPLE_APPS.parents[1]))
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(startup.__file__, run_name="__main__")
    return str(caught.value.code)


def test_a_refusal_ends_the_start_with_one_line(server, monkeypatch):
    monkeypatch.setenv("LABELS", "a,a")
    assert run_as_a_program(monkeypatch) == "start_server: LABELS: the name 'a' stands there twice"


def test_a_full_disk_ends_the_start_with_one_line(server, monkeypatch, tmp_path):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "one.pt").touch()
    monkeypatch.setattr(shutil, "copy2", full)
    assert run_as_a_program(monkeypatch) == "start_server: [Errno 28] No space left on device"


def test_models_and_logs_of_earlier_starts_stay(server):
    folder = startup.lay_out(server, "radiology")
    (folder / "model" / "deepedit.pt").write_text("trained")
    (folder / "main.py").unlink()
    (folder / "main.py").write_text("an older image's app")
    assert startup.lay_out(server, "radiology") == folder
    assert (folder / "model" / "deepedit.pt").read_text() == "trained"
    assert (folder / "main.py").resolve() == startup.OWN_APP


def test_what_a_killed_server_left_of_its_downloads_is_removed(server):
    half, whole = server / "cache" / "a" / ".incoming" / "half", server / "cache" / "a" / "series" / "1.dcm"
    for path in (half, whole):
        path.parent.mkdir(parents=True)
        path.touch()
    startup.lay_out(server, "radiology")
    assert not half.parent.exists() and whole.exists()


def test_a_workspace_that_cannot_be_written_is_one_line(server):
    server.write_text("a file where the volume should be")
    assert "the workspace cannot be written" in refused(startup.lay_out, server, "radiology")


def test_records_that_cannot_be_written_are_one_line(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SHARED", str(tmp_path / "records"))
    monkeypatch.setenv("LASTING", str(tmp_path / "records" / "servers" / "pod"))
    startup.check_records()
    assert (tmp_path / "records" / "servers" / "pod").is_dir()
    shutil.rmtree(tmp_path / "records" / "servers" / "pod")
    (tmp_path / "records" / "servers" / "pod").write_text("a file where the folder should be")
    said = run_as_a_program(monkeypatch)
    assert said.startswith("start_server: the volume for records cannot be written: ") and "servers/pod" in said


def test_an_app_folder_that_cannot_be_written_is_one_line(server):
    (server / "radiology" / "main.py").mkdir(parents=True)
    assert "the workspace cannot be written" in refused(startup.lay_out, server, "radiology")


def login(request) -> None:
    """A DICOMweb server that lets reader in."""
    wanted = "Basic " + base64.b64encode(b"reader:hunter2").decode()
    status = 200 if request.headers["Authorization"] == wanted else 401
    request.server.answer(status, b"[]")(request)


def test_the_server_is_ready_when_it_accepts_the_login(server, web, monkeypatch):
    web.pages["/dicom-web/studies"] = login
    dicomweb.log_in(monkeypatch, server.parent, "reader", "hunter2")
    monkeypatch.setenv("STUDIES", f"{web.url}/dicom-web/")
    startup.main()
    assert [path for path, _ in web.asked] == ["/dicom-web/studies?limit=1"]


@pytest.mark.parametrize("password", ["wrong-hunter3", ""])
def test_a_wrong_login_names_the_user_not_the_password(server, web, monkeypatch, password):
    web.pages["/studies"] = login
    dicomweb.log_in(monkeypatch, server.parent, "reader", password)
    assert refused(startup.wait_for_dicomweb, web.url, 0.1) == (
        f"the DICOMweb server {web.url} is not ready after 0.1 s: "
        "it answers 401: the login of user 'reader' is not accepted"
    )


def test_a_server_that_comes_up_late_is_waited_for(server, web):
    def late(request) -> None:
        web.answer(503 if len(web.asked) == 1 else 200)(request)

    web.pages["/studies"] = late
    startup.wait_for_dicomweb(web.url, 10)
    assert len(web.asked) == 2
    assert "Authorization" not in web.asked[0][1]


@pytest.mark.parametrize(
    ("page", "problem"),
    [("answer", "it answers 404"), ("hang", "it cannot be reached (ReadTimeout)")],
)
def test_a_dicomweb_server_is_waited_for_in_bounds(server, web, page, problem):
    web.pages["/studies"] = {"answer": web.answer(404), "hang": web.hang()}[page]
    started = time.monotonic()
    assert refused(startup.wait_for_dicomweb, web.url, 0.5) == (
        f"the DICOMweb server {web.url} is not ready after 0.5 s: {problem}"
    )
    assert time.monotonic() - started < 4


def test_a_server_that_is_away_is_one_line(server):
    assert "it cannot be reached (ConnectionError)" in refused(startup.wait_for_dicomweb, "http://127.0.0.1:9", 0.1)


@pytest.fixture
def model(server, tmp_path) -> Path:
    """The model folder, and weights that were baked into the image."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "pretrained_deepedit.pt").write_text("baked")
    (tmp_path / "weights" / pretrained.RECORD).write_text("{}")
    return startup.lay_out(server, "radiology") / "model"


def test_weights_in_the_image_are_put_in_place_without_a_network(model):
    startup.fetch_weights(model, ["deepedit"], 0)
    assert {path.name for path in model.iterdir()} == {"pretrained_deepedit.pt", pretrained.RECORD}


def test_weights_that_are_there_are_not_overwritten(model):
    (model / "pretrained_deepedit.pt").write_text("the user's own")
    startup.fetch_weights(model, ["deepedit"], 0)
    assert (model / "pretrained_deepedit.pt").read_text() == "the user's own"


def test_a_copy_that_is_cut_short_is_not_taken_for_the_weights(model, monkeypatch):
    def cut_short(_: Path, target: Path) -> None:
        target.write_text("ba")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "copy2", cut_short)
        startup.fetch_weights(model, ["deepedit"], 0)
    assert {path.suffix for path in model.iterdir()} == {".part"}
    startup.fetch_weights(model, ["deepedit"], 0)
    assert (model / "pretrained_deepedit.pt").read_text() == "baked"


def test_an_image_without_weights_starts_all_the_same(model, tmp_path):
    shutil.rmtree(tmp_path / "weights")
    startup.fetch_weights(model, ["deepedit"], 0)
    assert list(model.iterdir()) == []


def test_missing_weights_are_said_and_do_not_keep_the_server_from_starting(model, web, monkeypatch, capsys):
    monkeypatch.setattr(pretrained, "FILES", {"deepgrow_2d": {"pretrained_deepgrow_2d.pt": f"{web.url}/absent"}})
    startup.fetch_weights(model, ["deepgrow_2d"], 10)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("start_server: the model starts untrained, pretrained_deepgrow_2d.pt: HTTP Error 404")


def test_with_a_wait_of_zero_nothing_is_asked(model, web, monkeypatch, capsys):
    monkeypatch.setattr(pretrained, "FILES", {"deepgrow_2d": {"pretrained_deepgrow_2d.pt": f"{web.url}/absent"}})
    startup.fetch_weights(model, ["deepgrow_2d"], 0)
    assert (web.asked, capsys.readouterr().out) == ([], "")


@pytest.fixture
def download(programs, monkeypatch):
    """Let `python -m monai.bundle download` be a shell script; $3 ... as the real one gets them."""

    def script(text: str) -> None:
        monkeypatch.setattr(sys, "executable", str(programs.add("monai-bundle", text)))

    return script


# The last argument is the folder, the one behind --name the bundle.
MAKE = 'for last; do :; done; mkdir "$last/$5"; echo config > "$last/$5/config"'


@pytest.mark.parametrize(
    ("name", "asked"),
    [("nodules", "--name nodules --bundle_dir"), ("nodules_v0.5.9", "--name nodules --version 0.5.9")],
)
def test_a_missing_bundle_is_downloaded_under_its_name(model, download, programs, name, asked):
    download(MAKE)
    startup.fetch_bundles(model, [name], 10)
    assert (model / name / "config").is_file()
    assert [path.name for path in model.iterdir()] == [name]
    (call,) = programs.calls("monai-bundle")
    assert call.startswith(f"-m monai.bundle download {asked}")


def test_a_bundle_that_is_there_or_not_to_be_waited_for_is_not_downloaded(model, download, programs, capsys):
    download(MAKE)
    (model / "nodules").mkdir()
    startup.fetch_bundles(model, ["nodules"], 10)
    startup.fetch_bundles(model, ["others"], 0)
    assert (programs.calls("monai-bundle"), capsys.readouterr().out) == ([], "")


@pytest.mark.parametrize(
    ("script", "seconds", "problem"),
    [
        ("echo 'Traceback' >&2; echo 'URLError: no network' >&2; exit 1", 10, "URLError: no network"),
        ("echo >&2; exit 1", 10, "exit status 1"),
        ("exec sleep 60", 0.3, "not downloaded within 0.3 s"),
        ("exit 0", 10, "No such file"),
    ],
)
def test_a_bundle_that_cannot_be_had_is_left_out_with_the_reason(model, download, capsys, script, seconds, problem):
    download(script)
    started = time.monotonic()
    startup.fetch_bundles(model, ["nodules"], seconds)
    assert time.monotonic() - started < 5
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("start_server: bundle nodules is left out: ") and problem in line
    assert list(model.iterdir()) == []


def test_it_imports_within_what_a_refused_label_name_may_take():
    """monailabel and torch are not loaded for it."""
    program = "import sys, label_server.startup; print(sorted({'monai', 'monailabel', 'torch'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"

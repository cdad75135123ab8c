"""What start_server makes of its environment; a stand-in for Python notes how it is called."""

import fcntl
import json
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest

from label_server.dicomweb import login
from labelpod.config.settings import Settings
from tests.support.hostile import HOSTILE


def test_with_no_environment_at_all_the_rendered_defaults_are_served(start, tmp_path):
    settings = Settings(LABELS="left:1,right:2", MODELS="deepedit", STUDIES="http://pacs:8042/dicom-web")
    started = start(settings)
    assert (started.code, started.stderr) == (0, "")
    environment = started.prepare.environment
    assert environment["APP"] == "radiology"
    assert (environment["LABELS"], environment["MODELS"]) == (settings.LABELS, settings.MODELS)
    assert (environment["STUDIES_WAIT"], environment["WEIGHTS_WAIT"]) == ("60", "60")
    server = started.server
    assert server.arguments[:3] == ["-m", "label_server.web", "start_server"]
    assert server.option("--studies") == settings.STUDIES
    assert server.option("--app") == str(tmp_path / "workspace" / "radiology")
    assert server.option("--uvicorn_app") == "label_server.web.asgi:app"
    assert server.conf["models"] == "deepedit"
    assert server.folder == str(tmp_path / "workspace")


def test_the_environment_wins_over_what_is_baked_in(start, tmp_path):
    server = start(LABELS="a,b", MODELS="segmentation", STUDIES="/data", WORKSPACE=str(tmp_path)).server
    assert server.environment["LABELS"] == "a,b"
    assert server.conf["models"] == "segmentation"
    assert server.option("--studies") == "/data"
    assert server.folder == str(tmp_path)


def test_label_servers_that_share_a_volume_have_a_folder_each_and_the_first_trains(start, tmp_path):
    volume = tmp_path / "workspace"
    with ExitStack() as held:
        for folder in (volume, volume / "servers" / "2", volume / "servers" / "3"):
            server = start(SHARED_WORKSPACE="true").server
            assert (server.folder, server.environment["SHARED"]) == (str(folder), str(volume))
            assert "LASTING" not in server.environment, "its folder lasts"
            assert server.environment.get("ROLE") == (None if folder == volume else "annotate")
            assert server.option("--app") == f"{folder}/radiology"
            models = server.environment.get("MODEL_DIR")
            assert models == (None if folder == volume else f"{volume}/radiology/model")
            assert models is None or Path(models).is_dir()
            lock = held.enter_context((folder / ".server").open())
            fcntl.flock(lock, fcntl.LOCK_EX)
        assert start().server.folder == str(volume), "who shares with nobody looks at no lock"
    assert start(SHARED_WORKSPACE="true").server.folder == str(volume), "the folder of one that has ended is free"


def test_what_outlives_a_pod_is_in_a_folder_of_its_name_that_all_pods_see(start, tmp_path):
    (tmp_path / "bin" / "hostname").write_text("#!/bin/sh\necho label-server-7f-abc\n")
    (tmp_path / "bin" / "hostname").chmod(0o755)
    server = start(RECORDS="/records").server
    assert server.folder == str(tmp_path / "workspace")
    assert server.environment["SHARED"] == "/records"
    assert server.environment["LASTING"] == "/records/servers/label-server-7f-abc"
    command = start(None, "python", "-m", "label_server.audit", RECORDS="/records").server
    assert command.environment["SHARED"] == "/records", "a command beside the server finds the records, too"


@pytest.mark.parametrize(("number", "folder"), [("1", ""), ("3", "servers/3"), ("12", "servers/12")])
def test_a_label_server_of_several_has_the_folder_of_its_number_if_that_is_free(
    start, tmp_path, number: str, folder: str
):
    volume = tmp_path / "workspace"
    named = {"SHARED_WORKSPACE": "true", "NAMED": f"label-server-7-label-server-{number}.label-server-7_default"}
    assert start(**named).server.folder == str(volume / folder)
    with (volume / folder / ".server").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        first = "servers/2" if number == "1" else ""
        assert start(**named).server.folder == str(volume / first), "the first that is free"


@pytest.mark.parametrize("named", ["", "a-host.example.org", "labelpod-label-server.labelpod_default"])
def test_a_label_server_whose_number_nobody_knows_has_the_first_folder_that_is_free(start, tmp_path, named: str):
    assert start(SHARED_WORKSPACE="true", NAMED=named).server.folder == str(tmp_path / "workspace")


def test_an_empty_variable_means_the_default(start):
    """Compose hands over every variable, empty where `.env` says nothing."""
    names = (
        "APP",
        "LABELS",
        "MODELS",
        "BUNDLES",
        "CONF",
        "WEIGHTS_WAIT",
        "STUDIES",
        "STUDIES_MODALITY",
        "STUDIES_WAIT",
    )
    plain, empty = start(), start(**dict.fromkeys(names, ""))
    assert empty.server.arguments == plain.server.arguments
    for name in ("LABELS", "MODELS", "WEIGHTS_WAIT", "MONAI_LABEL_DICOMWEB_SEARCH_FILTER"):
        assert empty.server.environment[name] == plain.server.environment[name]


@pytest.mark.parametrize(
    ("models", "served", "sam2"),
    [
        ("deepgrow_2d,deepgrow_3d", "deepgrow_2d,deepgrow_3d", "false"),
        ("deepedit,sam2", "deepedit", "true"),
        ("sam2, deepedit", "deepedit", "true"),
        (" deepedit , , segmentation ", "deepedit,segmentation", "false"),
    ],
)
def test_sam2_is_a_switch_and_not_a_model(start, models, served, sam2):
    conf = start(MODELS=models).server.conf
    assert (conf["models"], conf["sam2"]) == (served, sam2)


def test_bundles_are_served_beside_the_models(start):
    conf = start(BUNDLES="lung_nodule_ct_detection").server.conf
    assert conf["models"] == "deepgrow_2d,deepgrow_3d"
    assert conf["bundles"] == "lung_nodule_ct_detection"


def test_another_app_takes_its_models_from_bundles(start, tmp_path):
    server = start(APP="monaibundle", MODELS="deepgrow_2d", BUNDLES="spleen_ct_segmentation,swin_unetr").server
    assert server.option("--app") == str(tmp_path / "workspace" / "monaibundle")
    assert server.conf["models"] == "spleen_ct_segmentation,swin_unetr"


def test_conf_pairs_become_options_behind_ours_so_that_they_win(start):
    call = start(CONF="epochs=3  loss=dice=2 use_pretrained_model=true").server
    assert " ".join(call.arguments).endswith("--conf epochs 3 --conf loss dice=2 --conf use_pretrained_model true")
    assert call.conf["use_pretrained_model"] == "true"


def test_neither_upstreams_downloads_nor_its_model_zoo_are_asked(start):
    conf = start().server.conf
    assert (conf["use_pretrained_model"], conf["zoo_source"]) == ("false", "ngc")


def test_the_dicomweb_password_is_in_no_environment_and_no_argument(start):
    """A training inherits them."""
    started = start(DICOMWEB_USERNAME="reader", DICOMWEB_PASSWORD="hunter2 'x' $y")
    for call in (started.prepare, started.server):
        assert "hunter2" not in str([*call.environment.values(), *call.arguments])
        assert login.read(call.environment) == ("reader", "hunter2 'x' $y")
    file = Path(started.server.environment["DICOMWEB_PASSWORD_FILE"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_password_may_stand_in_a_file(start, tmp_path):
    secret = tmp_path / "password"
    secret.write_text("hunter2 'x' $y\n")
    started = start(DICOMWEB_USERNAME="reader", DICOMWEB_PASSWORD_FILE=str(secret))
    for call in (started.prepare, started.server):
        assert "hunter2" not in str([*call.environment.values(), *call.arguments])
        assert login.read(call.environment) == ("reader", "hunter2 'x' $y")
    missing = start(DICOMWEB_USERNAME="reader", DICOMWEB_PASSWORD_FILE="/absent/password")
    assert missing.code != 0 and missing.server is None
    assert missing.stderr == "start_server: DICOMWEB_PASSWORD_FILE cannot be read: /absent/password\n"


def test_it_listens_everywhere_unless_told_otherwise(start):
    assert start().server.option("--host") == "0.0.0.0"
    assert start(LISTEN="127.0.0.1").server.option("--host") == "127.0.0.1"


def test_no_checkpoint_is_loaded_as_code_and_mlflow_tells_nobody(start):
    environment = start().server.environment
    assert environment["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_only_series_of_the_wanted_modality_are_searched(start):
    search = start(STUDIES_MODALITY="MR").server.environment["MONAI_LABEL_DICOMWEB_SEARCH_FILTER"]
    assert json.loads(search) == {"Modality": "MR"}


def test_everything_that_the_server_writes_is_below_the_workspace(start, tmp_path):
    environment = start().server.environment
    workspace = str(tmp_path / "workspace")
    for name in ("DICOMWEB_CACHE_PATH", "SESSION_PATH", "DATASTORE_CACHE_PATH"):
        assert environment[f"MONAI_LABEL_{name}"].startswith(f"{workspace}/")
    assert environment["MONAI_LABEL_TRACKING_URI"] == f"sqlite:///{workspace}/mlflow.db"


@pytest.mark.parametrize("code", [1, 3])
def test_a_server_that_is_not_prepared_is_not_started(start, code):
    started = start(PREPARE_FAILS=str(code))
    assert (started.code, started.server) == (code, None)


def test_a_command_runs_with_the_servers_settings(start, tmp_path):
    words = ("python", "-m", "label_server.models", "list")
    started = start(Settings(LABELS="left:1,right:2"), *words, DICOMWEB_PASSWORD_FILE=str(tmp_path / "absent"))
    assert (started.code, started.prepare, started.server.arguments) == (0, None, list(words[1:]))
    environment = started.server.environment
    assert environment["LABELS"] == "left:1,right:2" and environment["APP"] == "radiology"
    assert environment["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1" and environment["WORKSPACE"]


def test_a_workspace_that_is_not_there_ends_the_start(start, tmp_path):
    started = start(WORKSPACE=str(tmp_path / "absent"))
    assert started.code != 0 and started.server is None and "absent" in started.stderr


@pytest.mark.parametrize("hostile", [*HOSTILE, "*"])
def test_whatever_stands_in_the_environment_is_data(start, tmp_path, hostile):
    made = tmp_path / "made"
    value = hostile.format(file=made)
    names = (
        "APP",
        "LABELS",
        "MODELS",
        "BUNDLES",
        "STUDIES",
        "STUDIES_MODALITY",
        "DICOMWEB_USERNAME",
        "DICOMWEB_PASSWORD",
    )
    started = start(**dict.fromkeys(names, value), CONF=f"key={value}")
    assert not made.exists()
    assert started.code == 0, started.stderr
    assert started.server.option("--studies") == value
    assert started.server.environment["LABELS"] == value
    assert login.read(started.server.environment) == (value, value.rstrip("\n"))
    assert started.server.conf["bundles"] == value


# --- in a rented pod ---


def test_a_pod_is_started_first_and_only_there(start, tmp_path):
    program = tmp_path / "bin" / "start_pod"
    program.write_text("#!/bin/sh\necho the pod starts >&2\n")
    program.chmod(0o755)
    pod = start(RUNPOD_POD_ID="pod1")
    assert pod.stderr == "the pod starts\n" and pod.prepare is pod.server is None
    assert start().server and start(None, "true", RUNPOD_POD_ID="pod1").stderr == ""


def test_a_pod_logs_in_at_the_studies_with_what_came_through_ssh(start, tmp_path):
    (tmp_path / "dicomweb_login").write_text("label-server\n its 'password' \n")
    started = start(RUNPOD_POD_ID="pod1", POD_FOLDER=str(tmp_path), DICOMWEB_USERNAME="other", DICOMWEB_PASSWORD="x")
    assert login.read(started.server.environment) == ("label-server", " its 'password' ")
    assert "its 'password'" not in str(started.server.environment.values())


@pytest.mark.parametrize(("login", "key"), [("u\np\nof the stack\n", "of the stack"), ("u\np\n", "")])
def test_a_pod_knows_the_labels_of_the_stack_by_the_key_that_came_with_the_login(start, tmp_path, login: str, key: str):
    (tmp_path / "dicomweb_login").write_text(login)
    environment = start(RUNPOD_POD_ID="pod1", POD_FOLDER=str(tmp_path)).server.environment
    file = environment.get("LABEL_KEY_FILE")
    assert (Path(file).read_text() if file else "") == key
    assert "of the stack" not in str(environment.values())


def test_a_pods_record_of_trainings_is_a_copy_that_is_not_on_the_volume(start, tmp_path):
    folder, record = tmp_path / "pod", tmp_path / "workspace" / "mlflow.db"
    folder.mkdir()
    record.write_text("the record")
    environment = start(RUNPOD_POD_ID="pod1", POD_FOLDER=str(folder)).server.environment
    assert environment["MONAI_LABEL_TRACKING_URI"] == f"sqlite:///{folder}/mlflow.db"
    assert (folder / "mlflow.db").read_text() == "the record"
    (folder / "mlflow.db").write_text("newer")
    start(RUNPOD_POD_ID="pod1", POD_FOLDER=str(folder))
    assert (folder / "mlflow.db").read_text() == "newer"

"""What may stand in `.env` and in the environment, and what is said where it may not."""

import re
import traceback
from pathlib import Path

import pytest
from pydantic import SecretStr

from labelpod.config import settings, settings_text
from labelpod.config.settings import MODELS, PREFIX, Settings
from labelpod.errors import DeployError
from tests.support.clone import prefixed
from tests.support.env_lines import LINES_OF_PEOPLE

ROOT = Path(__file__).resolve().parents[3]
SECRET = "hunter2-tr0ub4dor"


@pytest.fixture
def load(tmp_path):
    """Read a `.env` of the given text, in an environment that holds the given variables only."""

    def read(text: str | bytes = "", **environment: str) -> Settings:
        (tmp_path / ".env").write_bytes(text.encode() if isinstance(text, str) else text)
        return settings.load(tmp_path / ".env", prefixed(environment))

    return read


@pytest.fixture
def refusal(load):
    """The error for a `.env` of the given text: one line of what, one line of remedy."""

    def read(text: str | bytes = "", **environment: str) -> DeployError:
        with pytest.raises(DeployError) as caught:
            load(text, **environment)
        assert caught.value.message and "\n" not in caught.value.message
        assert caught.value.remedy and "\n" not in caught.value.remedy
        return caught.value

    return read


def test_the_example_in_the_repository_is_the_one_that_the_settings_give():
    assert (ROOT / ".env.example").read_text() == settings_text.example(), "write it to .env.example"


def test_the_example_holds_every_setting_once_and_nothing_else():
    keys = re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert sorted(keys) == sorted(PREFIX + name for name in Settings.model_fields)


def test_the_example_is_accepted_as_it_stands_and_changes_nothing():
    assert settings.load(ROOT / ".env.example", {}) == Settings()


def test_the_example_holds_no_working_secret():
    for name in settings.secret_names():
        assert f"\n{PREFIX}{name}=\n" in settings_text.example()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_in_one_line_what_it_is_for(name):
    description = Settings.model_fields[name].description
    assert description and description.endswith(".") and "\n" not in description
    assert f"| `{PREFIX}{name}` |" in settings_text.table() and description in settings_text.table()


def test_every_setting_that_is_called_a_password_or_token_is_a_secret():
    called_so = tuple(name for name in Settings.model_fields if name.endswith(("PASSWORD", "TOKEN", "API_KEY")))
    assert settings.secret_names() == called_so


def test_without_an_env_file_the_defaults_hold(tmp_path):
    assert settings.load(tmp_path / "absent", {}) == Settings()


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("LABEL", "LABELS"), ("labels", "LABELS"), ("STUDY", "STUDIES"), ("ORTHANC_PASWORD", "ORTHANC_PASSWORD")],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(refusal, key, nearest):
    error = refusal(f"{key}=x\n")
    assert error.message == f".env: {key} is not a setting"
    assert error.remedy == f"did you mean {PREFIX}{nearest}? if not, delete the line; see .env.example"


def test_a_key_that_resembles_nothing_is_answered_with_the_list(refusal):
    remedy = refusal("QXZ=1\n").remedy
    assert "delete the line" in remedy and ".env.example" in remedy


def test_an_unknown_variable_in_the_environment_is_nobodys_business(load):
    assert load(LABEL="x", HOME="/root") == Settings()


@pytest.mark.parametrize(
    "key", ["COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES", "DOCKER_HOST", "BUILDKIT_PROGRESS", "BUILDX_BUILDER"]
)
def test_keys_of_docker_and_compose_are_left_to_them(load, key):
    assert load(f"{key}=x\nDEVICE=cpu\n") == Settings(DEVICE="cpu")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("DICOM_AETS=CT 1", "neither AET nor AET@ADDRESS"),
        ("DICOM_AETS=AN-AET-THAT-IS-TOO-LONG", "neither AET nor AET@ADDRESS"),
        ("DICOM_AETS=CT1@10.0.0.5:104", "neither AET nor AET@ADDRESS"),
        ("DICOM_AETS=CT1@", "neither AET nor AET@ADDRESS"),
        ("DICOM_AETS=CT1@10.0.0.5,CT2", "either each AET has an address or none"),
        ("DICOM_KINDS=pdf", "'pdf' is not a UID"),
        ("ORTHANC_MAX_BODY_MB=0", "greater than or equal to 1"),
    ],
)
def test_who_and_what_orthanc_takes_is_said_plainly(refusal, line, reason):
    assert reason in refusal(f"{line}\n").message


def test_the_environment_wins_over_the_env_file(load):
    assert load("DEVICE=cpu\nORTHANC_PORT=1\n", DEVICE="gpu") == Settings(DEVICE="gpu", ORTHANC_PORT=1)


def test_an_empty_variable_takes_nothing_away(load):
    assert load("DEVICE=cpu\n", DEVICE="").DEVICE == "cpu"


def test_an_empty_value_means_the_default(load):
    assert load("LABELS=\nORTHANC_PORT=\nMODELS=''\n") == Settings()


def test_env_file_is_read_as_compose_reads_it(load):
    text = "# mine\r\n\r\nLABELS=\"left upper:1,right:1\" # two\r\nDEVICE='cpu'\r\n  ORTHANC_PORT=81\r\n"
    assert load(text) == Settings(LABELS="left upper:1,right:1", DEVICE="cpu", ORTHANC_PORT=81)


@pytest.mark.parametrize(
    "line",
    ["not a setting", "DEVICE", "DEVICE: cpu", "export DEVICE", "export\tDEVICE=cpu", 'DEVICE="cpu', "DEVICE='cpu' x"],
)
def test_a_malformed_line_is_refused_with_its_number(refusal, line):
    assert refusal(f"# mine\nORTHANC_PORT=81\n{line}\nAPP=radiology\n").message == ".env line 3 is not KEY=value"


@pytest.mark.parametrize(("text", "value"), LINES_OF_PEOPLE.items(), ids=range(len(LINES_OF_PEOPLE)))
def test_lines_are_read_as_people_write_them(load, text, value):
    assert value == load(text).BUNDLES


@pytest.mark.parametrize(
    ("text", "number", "reason"),
    [
        ("LABELPOD_BUNDLES=#a\n", 1, "may be a comment"),
        ("LABELPOD_APP=\nLABELPOD_BUNDLES= #a\n", 2, "may be a comment"),
        ("LABELPOD_BUNDLES=a\t#b\n", 1, "may be a comment"),
        ("# mine\rLABELPOD_BUNDLES=a\r", 1, "carriage return"),
        ("\n\nLABELPOD_BUNDLES=a\rLABELPOD_APP=x\n", 3, "carriage return"),
    ],
)
def test_what_compose_would_read_otherwise_is_refused_with_line_and_reason(refusal, text, number, reason):
    error = refusal(text)
    assert error.message.startswith(f".env line {number} ") and reason in error.message


@pytest.mark.parametrize("name", ["Ward", "ward 7", "$WARD", "../ward", "-ward", "wärd"])
def test_a_project_name_that_compose_refuses_is_refused(tmp_path, name):
    (tmp_path / ".env").write_text(f"COMPOSE_PROJECT_NAME={name}\n")
    with pytest.raises(DeployError, match="is no name of a project"):
        settings.compose_project(tmp_path / ".env", {})


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00", b"DEVICE=\xff\xfe\n", b"\x00\x01\x02"])
def test_a_binary_env_file_is_refused(refusal, content):
    assert refusal(content).message.startswith(".env ")


def test_an_env_file_that_is_a_folder_is_refused(tmp_path):
    with pytest.raises(DeployError, match="cannot be read"):
        settings.load(tmp_path, {})


def test_an_unknown_model_is_refused_with_the_models_there_are(refusal):
    error = refusal("MODELS=deepgrow_2d,deepgro_3d\n")
    assert error.message == f"LABELPOD_MODELS: there is no model 'deepgro_3d'; there are: {', '.join(MODELS)}"
    assert error.remedy == "correct LABELPOD_MODELS in .env or in the environment"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("MODELS", ", ,", "no model is named"),
        ("LABELS", "a,a", "'a' stands there twice"),
        ("LABELS", "a:0", "whole number from 1"),
        ("LABELS", "Background", "reserved"),
        ("ORTHANC_PORT", "70000", "65535"),
        ("ORTHANC_PORT", "0", "1"),
        ("ORTHANC_PORT", "http", "not a whole number"),
        ("DICOM_PORT", "-1", "not a whole number"),
        ("WEIGHTS_WAIT", "3601", "3600"),
        ("WEIGHTS_WAIT", "60s", "not a whole number"),
        ("STUDIES_WAIT", "0", "1"),
        ("APP", "cardiology", "'radiology', 'monaibundle' or 'pathology'"),
        ("DEVICE", "cuda", "'auto', 'cpu' or 'gpu'"),
        ("IMAGE_SOURCE", "none", "'auto', 'registry' or 'debian'"),
        ("STUDIES", "orthanc:8042/dicom-web", "DICOMweb URL"),
        ("STUDIES", "data/studies", "full path"),
        ("STUDIES", "http://[::1", "no address"),
        ("STUDIES", "http://pacs:70000/dicom-web", "no address"),
        ("STUDIES", "https:///dicom-web", "no address"),
        ("RUNPOD_API_URL", "http://[::1", "no address"),
        ("RUNPOD_API_URL", "api.runpod.io", "no address"),
        ("RUNPOD_API_URL", "ftp://api.runpod.io", "no address"),
        ("RUNPOD_API_URL", "http://a..b", "no address"),
        ("RUNPOD_PROXY_URL", "https://{pod}-8000:http/", "no address"),
        ("RUNPOD_PROXY_URL", "https://[{pod}", "no address"),
        ("CONF", "epochs", "not a pair key=value"),
        ("CONF", "epochs=3 --debug=1", "not a pair key=value"),
        ("BIND_ADDRESS", "127.0.0.1:80", "only names"),
        ("BUNDLES", "../../etc", "only names"),
        ("BASE_IMAGE", "debian bookworm", "not the name of an image"),
        ("BASE_IMAGE", "-v", "not the name of an image"),
        ("SHM_SIZE", "2 gigabytes", "match"),
        ("LABEL_SERVER_MEMORY", "-1", "match"),
        ("ORTHANC_MEMORY", "4 gb", "match"),
        ("DICOM_BIND_ADDRESS", "0.0.0.0/0", "only names"),
        ("LABEL_SERVER_TOKEN", "0123456789abcdefghi", "at least 20"),
        ("LABEL_SERVER_TOKEN", "0123456789abcdefghi/", "nothing else is allowed"),
        ("LABEL_SERVER_TOKEN", "0123456789abcdefghi%41", "nothing else is allowed"),
        ("ORTHANC_USERNAME", "label-server", "own login"),
        ("TRUSTED_PROXY", "proxy", "no address and no network"),
        ("TRUSTED_PROXY", "10.0.0.5/8", "has host bits set"),
        ("TRUSTED_PROXY", "10.0.0.5,0.0.0.0/0", "everybody"),
        ("TRUSTED_PROXY", "::/0", "everybody"),
        ("TRUSTED_PROXY", "::ffff:10.0.0.0/104", "is of IPv4"),
        ("ORTHANC_EXPLORER", "maybe", "'true' or 'false'"),
        ("MAX_BODY_MB", "0", "1"),
        ("MAX_HEADER_KB", "65", "64"),
        ("MAX_REQUESTS_PER_USER", "many", "not a whole number"),
        ("SLOW_CLIENT_SECONDS", "0", "1"),
        ("INFER_QUEUE", "-1", "not a whole number"),
        ("SHM_SIZE", "0gb", "match"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_the_reason(refusal, key, value, reason):
    for error in (refusal(f"{key}={value}\n"), refusal(**{key: value})):
        assert error.message.startswith(f"{PREFIX}{key}: ") and reason in error.message
        assert key in error.remedy


@pytest.mark.parametrize("value", ["8_000", "8000.0", "+8000", "\u0668000", "8 000"])
def test_a_number_that_compose_would_not_read_the_same_is_refused(refusal, value):
    assert "not a whole number" in refusal(LABEL_SERVER_PORT=value).message


@pytest.mark.parametrize(
    "image",
    ["debian:bookworm-slim", "ghcr.io/owner/name:V1.0-RC_2", "registry:5000/a/b", f"debian:12@sha256:{'0' * 64}"],
)
def test_names_of_images_as_registries_have_them_are_accepted(load, image):
    loaded = load(BASE_IMAGE=image)
    assert loaded == Settings(BASE_IMAGE=image)


TEXTS = [name for name, field in Settings.model_fields.items() if isinstance(field.default, str | SecretStr)]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("hostile", ["'", '"', "`id`", "$(id)", "${HOME}", "\\", "\n", "\r", "\x00", "\x1b[2J"])
def test_characters_of_shell_or_compose_are_refused(refusal, name, hostile):
    default = (Settings().model_dump()[name] if name not in settings.secret_names() else "") or "a=b"
    for value in (default + hostile, f"{default},{hostile}b"):
        assert refusal(**{name: value}).message.startswith(f"{PREFIX}{name}: ")


@pytest.mark.parametrize("name", settings.secret_names())
@pytest.mark.parametrize(
    "text",
    [
        "{name}={secret}$\n",
        "{name} {secret}\n",
        '{name}="{secret}\n',
        "{name}={secret}\nORTHANC_PORT=70000\n",
        "{name}={secret}\nNOT_A_SETTING=1\n",
        "{name}={secret}\n\udcff\n",
    ],
)
def test_no_error_shows_a_secret(refusal, name, text):
    content = text.format(name=name, secret=SECRET).encode(errors="surrogateescape")
    error = refusal(content)
    assert SECRET not in "".join(traceback.format_exception(error)) + error.remedy


def test_the_checks_own_error_does_not_show_a_secret_either():
    with pytest.raises(ValueError, match="ORTHANC_PASSWORD") as caught:
        Settings(ORTHANC_PASSWORD=f"{SECRET}$")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", [f"http://me:{SECRET}@pacs:8042/dicom-web", f"https://{SECRET}@pacs/dicom-web"])
def test_a_login_in_the_studies_url_is_refused(refusal, url):
    error = refusal(f"STUDIES={url}\n")
    assert "DICOMWEB_PASSWORD" in error.message and SECRET not in error.message


@pytest.mark.parametrize(("there", "missing"), [("TLS_CERT", "TLS_KEY"), ("TLS_KEY", "TLS_CERT")])
def test_certificate_and_key_come_together(refusal, load, there, missing):
    error = refusal(f"{there}=tls/file.pem\n")
    assert there in error.message and missing in error.message and missing in error.remedy
    assert load(f"{there}=tls/file.pem\n{missing}=tls/other.pem\n").tls is True


def test_with_https_orthanc_is_reached_only_by_https(refusal, load):
    https = "TLS_CERT=cert.pem\nTLS_KEY=key.pem\n"
    assert load(https).own_dicomweb == "https://orthanc:8042/dicom-web"
    assert load().own_dicomweb == "http://orthanc:8042/dicom-web"
    assert "HTTPS only" in refusal(f"{https}STUDIES=http://orthanc:8042/dicom-web\n").message
    assert load(f"{https}STUDIES=http://pacs/dicom-web\n").STUDIES == "http://pacs/dicom-web"


def test_settings_are_not_changed_once_they_are_read():
    with pytest.raises(ValueError, match="frozen"):
        Settings().DEVICE = "cpu"


@pytest.mark.parametrize(
    ("text", "environment", "project"),
    [
        ("", {}, "labelpod"),
        ("COMPOSE_PROJECT_NAME=ward\n", {}, "ward"),
        ("COMPOSE_PROJECT_NAME=ward\n", {"COMPOSE_PROJECT_NAME": "lab"}, "lab"),
    ],
)
def test_the_project_is_named_as_compose_names_it(tmp_path, text, environment, project):
    (tmp_path / ".env").write_text(text)
    assert settings.compose_project(tmp_path / ".env", environment) == project


def test_a_general_name_in_the_shell_changes_nothing(tmp_path):
    shell = {"APP": "firefox", "DEVICE": "cuda", "MODELS": "gpt", "LABELS": "x=", "STUDIES": "mine", "CONF": "/etc"}
    assert settings.load(tmp_path / "absent", shell) == Settings()


@pytest.mark.parametrize("text", ["DEVICE=cpu\n", "LABELPOD_DEVICE=cpu\n", "DEVICE=gpu\nLABELPOD_DEVICE=cpu\n"])
def test_an_env_file_of_an_older_version_is_read(load, text):
    assert load(text) == Settings(DEVICE="cpu")


def test_the_certificate_lies_beside_the_file_that_names_it(load, tmp_path):
    loaded = load("TLS_CERT=tls/cert.pem\nTLS_KEY=/etc/key.pem\n")
    assert (str(tmp_path / "tls/cert.pem"), "/etc/key.pem") == (loaded.TLS_CERT, loaded.TLS_KEY)


@pytest.mark.parametrize("name", ["TLS_CERT", "TLS_KEY", "RUNPOD_API_KEY_FILE"])
@pytest.mark.parametrize("tolerant", [False, True])
def test_a_home_that_there_is_not_is_a_file_that_is_not_there(tmp_path, name, tolerant):
    files = {f"{PREFIX}{each}": "~nosuch/x" for each in ("TLS_CERT", "TLS_KEY", "RUNPOD_API_KEY_FILE")}
    loaded = settings.load(tmp_path / ".env", files, tolerant)
    assert getattr(loaded, name) == str(tmp_path / "~nosuch/x")


def test_the_file_of_the_api_key_lies_beside_the_file_that_names_it(load, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    assert str(tmp_path / "key.txt") == load("RUNPOD_API_KEY_FILE=key.txt\n").RUNPOD_API_KEY_FILE
    assert load("RUNPOD_API_KEY_FILE=~/.runpod-key\n").RUNPOD_API_KEY_FILE == "/home/anna/.runpod-key"


@pytest.mark.parametrize("name", settings.secret_names())
def test_no_secret_is_shown_where_the_settings_are_printed(name):
    values = Settings(**{name: f"{SECRET}-{'x' * 20}"})
    assert SECRET not in f"{values!r}{values}"


@pytest.mark.parametrize(
    "url", ["https://{x}.y", "https://{pod", "https://pod.example", "{pod}", "https://{pod}/{", "https://{pod!r}", ""]
)
def test_a_pods_url_that_cannot_be_filled_in_is_refused(url: str):
    with pytest.raises(ValueError, match=r"\{pod\} stands for the pod's id"):
        Settings(RUNPOD_PROXY_URL=url)

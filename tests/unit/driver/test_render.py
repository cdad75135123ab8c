"""What the templates make of the settings, and that no value gets out of its place."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelpod import render as rendering
from labelpod.config import settings
from labelpod.config.settings import Settings
from labelpod.errors import DeployError
from labelpod.project import Project
from tests.support.clone import prefixed
from tests.support.hostile import HOSTILE

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = ROOT / "templates"
GOLDEN = Path(__file__).with_name("golden")
DOCKERFILE, SCRIPT, ORTHANC = "label-server.Dockerfile", "start_server.sh", "orthanc.json"
PROMETHEUS, DOOR = "prometheus.yml", "haproxy.cfg"
needs_shellcheck = pytest.mark.skipif(
    not shutil.which("shellcheck"), reason="shellcheck is not installed: apt-get install shellcheck"
)
TEXTS = [name for name, field in Settings.model_fields.items() if isinstance(field.default, str)]


def render(values: Settings, templates: Path = TEMPLATES) -> dict[str, str]:
    return rendering.render(values, templates)


def meaning(text: str) -> str:
    """A Dockerfile or script without comments and blank lines."""
    return "".join(f"{line}\n" for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


@pytest.mark.parametrize("name", [DOCKERFILE, SCRIPT, DOOR])
def test_the_defaults_give_the_golden_file(name):
    golden, rendered = GOLDEN / name, meaning(render(Settings())[name])
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(rendered)
    assert rendered == golden.read_text(), "if this is meant: UPDATE_GOLDEN=1 pytest tests/unit/test_render.py"


def test_the_same_settings_give_the_same_files_in_another_process():
    program = (
        "import json, pathlib; from labelpod import render; from labelpod.config.settings import Settings;"
        "print(json.dumps(render.render(Settings(), pathlib.Path('templates'))))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(result.stdout) == render(Settings())


def test_a_file_that_would_be_the_same_is_not_touched(tmp_path):
    project = project_with_templates(tmp_path)
    folder = project.build
    written = {path.name for path in rendering.write(Settings(), project)}
    assert written == {DOCKERFILE, SCRIPT, ORTHANC, PROMETHEUS, DOOR}
    os.utime(folder / SCRIPT, (1, 1))
    assert rendering.write(Settings(), project) == []
    assert (folder / SCRIPT).stat().st_mtime == 1
    (folder / SCRIPT).write_text("edited by hand")
    assert rendering.write(Settings(), project) == [folder / SCRIPT]


def test_every_generated_file_says_so():
    assert all("do not edit" in text for text in render(Settings()).values())


# What each file depends on; a change of anything else rebuilds and restarts nothing.
USED = {
    DOCKERFILE: set(),
    SCRIPT: {"LABELS", "MODELS", "STUDIES", "TLS_CERT"},  # with TLS the stack's Orthanc has another address
    PROMETHEUS: {"TLS_CERT", "LABEL_SERVERS"},  # several have a door, which has figures, too
    ORTHANC: {
        *("TLS_CERT", "ORTHANC_EXPLORER", "DICOM_AETS", "DICOM_KINDS", "SERIES_QUIET_SECONDS"),
        *("ORTHANC_MAX_BODY_MB", "ORTHANC_MAX_GB", "ORTHANC_MAX_FOUND", "ORTHANC_MAX_FOUND_INSTANCES"),
    },
    DOOR: {"TLS_CERT", "SLOW_CLIENT_SECONDS", "MAX_HEADER_KB", "LABEL_SERVERS"},
}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_file_changes_with_the_settings_it_uses_and_with_no_other(name):
    default = Settings.model_fields[name].default
    other = {"ORTHANC_EXPLORER": "false"}.get(name, default + 1 if isinstance(default, int) else f"{default}x")
    before, after = render(Settings()), render(Settings().model_copy(update={name: other}))
    assert {file for file in before if before[file] != after[file]} == {file for file in USED if name in USED[file]}


def project_with_templates(folder: Path) -> Project:
    (folder / "templates").symlink_to(TEMPLATES)
    return Project(folder)


def test_no_secret_is_in_a_generated_file():
    secrets = {name: f"hunter2-{name}" for name in settings.secret_names()}
    rendered = render(Settings(**secrets))
    assert rendered == render(Settings())
    assert "hunter2" not in str(rendered)


@pytest.fixture
def templates(tmp_path):
    folder = tmp_path / "templates"
    shutil.copytree(ROOT / "templates", folder)
    return folder


@pytest.mark.parametrize(
    "unknown", ["{{ nothing }}", "{{ settings.NOTHING }}", "{{ version | nothing }}", "{% nothing %}"]
)
def test_a_template_that_names_something_unknown_is_an_error_with_the_name(templates, unknown):
    with (templates / f"{ORTHANC}.j2").open("a") as file:
        file.write(unknown)
    with pytest.raises(DeployError, match=r"(?i)nothing") as caught:
        render(Settings(), templates)
    assert "templates/" in caught.value.remedy


def test_a_template_that_is_missing_is_an_error_with_its_name(templates):
    (templates / f"{ORTHANC}.j2").unlink()
    with pytest.raises(DeployError, match=ORTHANC):
        render(Settings(), templates)


def test_the_label_list_is_baked_into_the_image_as_its_default():
    text = render(Settings(LABELS="left lobe:1,right lobe:2"))[SCRIPT]
    assert "default_labels='left lobe:1,right lobe:2'\n" in text


# Values that reach start_server by its environment alone are dealt with in test_start_server.py.
@pytest.mark.parametrize("name", ["LABELS", "MODELS", "STUDIES"])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_shell_in_a_value_is_refused_and_else_only_data(tmp_path, start, name, hostile):
    made = tmp_path / "made"
    value = "/" + hostile.format(file=made)
    with pytest.raises(DeployError, match=name):
        settings.load(tmp_path / "absent", prefixed({name: value}))
    call = start(Settings().model_copy(update={name: value})).server
    assert (call.environment[name], made.exists()) == (value, False)
    if name == "STUDIES":
        assert call.option("--studies") == value


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_script_with_hostile_values_is_still_a_script(hostile):
    update = dict.fromkeys(("LABELS", "MODELS", "STUDIES", "CONF", "BUNDLES"), hostile)
    text = render(Settings().model_copy(update=update))[SCRIPT]
    result = subprocess.run(["/bin/bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_line_break_in_the_name_of_the_base_image_is_refused(tmp_path):
    with pytest.raises(DeployError, match="BASE_IMAGE"):
        settings.load(tmp_path / "absent", {"LABELPOD_BASE_IMAGE": "debian\nRUN touch /pwned"})


@pytest.mark.parametrize("name", TEXTS)
def test_no_setting_adds_a_line_to_dockerfile_or_orthanc_or_the_door(name):
    harmless = Settings().model_copy(update={name: "x"})
    hostile = Settings().model_copy(update={name: 'x"\nRUN touch /pwned\n", "AuthenticationEnabled": false, "'})
    for file in (DOCKERFILE, DOOR):
        assert render(hostile)[file] == render(harmless)[file]
    before, after = render(harmless)[ORTHANC], render(hostile)[ORTHANC]
    assert len(after.splitlines()) == len(before.splitlines())
    changed = {key for key, value in json.loads(after).items() if value != json.loads(before)[key]}
    assert changed == {"DICOM_AETS": {"DicomModalities"}, "DICOM_KINDS": {"Labelpod"}}.get(name, set())


@given(st.text())
def test_the_docker_filter_makes_one_quoted_word_of_anything(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "docker-filter"
    folder.mkdir(exist_ok=True)
    for name in (DOCKERFILE, SCRIPT, ORTHANC, PROMETHEUS, DOOR):
        (folder / f"{name}.j2").write_text("LABEL a={{ settings.BASE_IMAGE | docker }}")
    rendered = render(Settings().model_copy(update={"BASE_IMAGE": text}), folder)[DOCKERFILE]
    quoted = rendered.removeprefix("LABEL a=")
    assert len(rendered.splitlines()) == 1 and quoted.isascii()
    assert quoted[0] == quoted[-1] == '"'
    inside = quoted[1:-1].replace("\\\\", "").replace('\\"', "").replace("\\$", "")
    assert '"' not in inside and "$" not in inside and not inside.endswith("\\")


def lint(program: str, *paths: Path) -> None:
    result = subprocess.run([program, *map(str, paths)], capture_output=True, text=True, check=False)
    assert result.returncode == 0 and not result.stdout, result.stdout + result.stderr


def hadolint() -> str:
    found = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert found, "hadolint is missing: pip install -r tests/requirements.lock"
    return found


def test_the_rendered_dockerfile_is_clean_under_hadolint(tmp_path):
    rendering.write(Settings(), project_with_templates(tmp_path))
    lint(hadolint(), tmp_path / "build" / DOCKERFILE)


@pytest.mark.parametrize("image", ["orthanc", "door"])
def test_the_other_dockerfiles_are_clean_under_hadolint(image: str):
    lint(hadolint(), ROOT / "images" / image / "Dockerfile")


@needs_shellcheck
def test_the_rendered_start_server_is_clean_under_shellcheck(tmp_path):
    rendering.write(Settings(LABELS="left lobe:1,it:2", MODELS="deepedit,sam2"), project_with_templates(tmp_path))
    lint("shellcheck", tmp_path / "build" / SCRIPT)


def orthanc(**values: str) -> dict:
    return json.loads(render(Settings(**values))[ORTHANC])


def test_orthanc_json_has_authentication_and_no_users():
    configuration = orthanc()
    assert configuration["AuthenticationEnabled"] is True
    assert "RegisteredUsers" not in configuration, "they are a secret, in a file of their own"
    assert configuration["LuaScripts"] == ["/etc/orthanc/access.lua"]
    for way_in in ("ExecuteLuaEnabled", "RestApiWriteToFileSystemEnabled", "WebDavEnabled"):
        assert configuration[way_in] is False


def test_orthanc_speaks_https_where_there_is_a_certificate():
    assert orthanc()["SslEnabled"] is False
    configuration = orthanc(TLS_CERT="cert.pem", TLS_KEY="key.pem")
    assert configuration["SslEnabled"] is True and configuration["SslCertificate"] == "/run/secrets/tls_both"
    assert configuration["SslMinimumProtocolVersion"] == 4, "TLS 1.2"
    ciphers = configuration["SslCiphersAccepted"]
    assert ciphers and all(re.fullmatch("ECDHE-[A-Z]+-(AES[0-9]+-GCM-.*|CHACHA20-.*)", each) for each in ciphers)


def test_orthanc_refuses_what_is_too_much_and_deletes_nothing_for_it():
    configuration = orthanc(ORTHANC_MAX_GB=2, ORTHANC_MAX_BODY_MB=3, ORTHANC_MAX_FOUND=4, ORTHANC_MAX_FOUND_INSTANCES=5)
    assert (configuration["MaximumStorageSize"], configuration["MaximumStorageMode"]) == (2048, "Reject")
    assert (configuration["LimitFindResults"], configuration["LimitFindInstances"]) == (4, 5)
    assert configuration["Labelpod"]["MaximumBody"] == 3 * 2**20
    assert orthanc()["MaximumStorageSize"] == 0, "no limit"


def test_half_requests_take_few_of_orthancs_threads_and_not_for_long():
    """tests/stack/test_floods.py shows that it helps: with 50 threads and 30 s, 55 of them stopped it."""
    configuration = orthanc()
    assert configuration["HttpThreadsCount"] == 2000 and configuration["HttpRequestTimeout"] == 5


def test_without_a_list_of_scanners_the_dicom_port_takes_what_comes():
    configuration = orthanc()
    assert configuration["DicomModalities"] == {} and configuration["DicomAlwaysAllowStore"] is True
    assert configuration["DicomAlwaysAllowEcho"] is True and configuration["DicomCheckModalityHost"] is False


@pytest.mark.parametrize(
    ("listed", "hosts"), [("CT1, CT2", ["127.0.0.1"] * 2), ("CT1@10.0.0.5,CT2@pacs", ["10.0.0.5", "pacs"])]
)
def test_with_a_list_of_scanners_they_may_send_and_nobody_else_anything(listed: str, hosts: list[str]):
    configuration = orthanc(DICOM_AETS=listed)
    known = configuration["DicomModalities"]
    assert [(each["AET"], each["Host"]) for each in known.values()] == list(zip(("CT1", "CT2"), hosts, strict=True))
    assert not any(each[right] for each in known.values() for right in ("AllowFind", "AllowGet", "AllowMove"))
    assert configuration["DicomAlwaysAllowStore"] is configuration["DicomAlwaysAllowEcho"] is False
    assert configuration["DicomCheckCalledAet"] is True
    assert configuration["DicomCheckModalityHost"] is ("@" in listed)


@pytest.mark.parametrize("shown", ["true", "false"])
def test_orthancs_web_pages_are_a_setting(shown):
    configuration = orthanc(ORTHANC_EXPLORER=shown)
    assert configuration["OrthancExplorerEnabled"] is (shown == "true")
    assert configuration["OrthancExplorer2"]["Enable"] is (shown == "true")


def test_the_images_default_is_the_stacks_own_orthanc():
    assert "default_studies=http://orthanc:8042/dicom-web\n" in render(Settings())[SCRIPT]

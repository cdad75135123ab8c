"""compose.yaml and the settings say the same: plain `docker compose up` and `deploy.py up` start one stack."""

import json
import os
import re
import shutil
import subprocess

import pytest

from labelpod.settings import Settings
from tests.conftest import ROOT

FILES = ("compose.yaml", "compose.gpu.yaml", "compose.folder.yaml")
# ${NAME}, ${NAME:-default} and ${NAME:?what to do}; a default may itself be a variable.
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::-([^{}]*)|:\?[^}]*)?\}")


def variables() -> list[tuple[str, str]]:
    text = "".join((ROOT / name).read_text() for name in FILES)
    return [(found[1], found[2] or "") for found in VARIABLE.finditer(text)]


def test_every_variable_of_the_compose_files_is_a_setting():
    assert {name for name, _ in variables()} <= set(Settings.model_fields)


def test_every_default_of_the_compose_files_is_the_settings_own():
    for name, default in variables():
        if default:
            assert default == str(Settings.model_fields[name].default), name


@pytest.fixture(scope="module")
def services() -> dict:
    """What Compose makes of compose.yaml with Orthanc open to the network and defaults for the rest."""
    if not shutil.which("docker"):
        pytest.skip("docker is not installed")
    known = {key: value for key, value in os.environ.items() if key not in Settings.model_fields}
    result = subprocess.run(
        ["docker", "compose", "--env-file", os.devnull, "-f", "compose.yaml", "config", "--format", "json"],
        cwd=ROOT,
        env=known | {"ORTHANC_PASSWORD": "secret", "BIND_ADDRESS": "0.0.0.0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["services"]


def test_without_a_password_compose_says_what_to_do():
    known = {key: value for key, value in os.environ.items() if key not in Settings.model_fields}
    result = subprocess.run(
        ["docker", "compose", "--env-file", os.devnull, "config"],
        cwd=ROOT,
        env=known,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0 and "deploy.py up" in result.stderr


def test_the_label_server_is_open_to_this_machine_alone_whatever_the_bind_address(services):
    assert {port["host_ip"] for port in services["label-server"]["ports"]} == {"127.0.0.1"}
    assert {port["host_ip"] for port in services["orthanc"]["ports"]} == {"0.0.0.0"}


def test_services_have_no_rights_that_they_do_not_need(services):
    for service in services.values():
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
        assert not service.get("privileged") and "user" not in service
    assert services["label-server"]["read_only"] is True


def test_services_restart_report_their_health_and_rotate_their_logs(services):
    for service in services.values():
        assert service["restart"] == "unless-stopped" and service["healthcheck"]["test"]
        assert service["logging"]["options"]["max-size"]


def test_the_label_server_starts_after_orthanc_is_healthy(services):
    assert services["label-server"]["depends_on"]["orthanc"]["condition"] == "service_healthy"

"""compose.yaml and the settings say the same: plain `docker compose up` and `deploy.py up` start one stack."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from labelpod import render
from labelpod.config import checked, settings
from labelpod.config.settings import PREFIX, Settings
from labelpod.docker import stack
from labelpod.project import Project
from labelpod.security import secret_files
from tests.support.clone import prefixed
from tests.support.env_lines import LINES_OF_PEOPLE
from tests.support.paths import ROOT

FILES = tuple(sorted(path.name for path in ROOT.glob("compose*.yaml") if "override" not in path.name))
# ${NAME}, ${NAME:-default}, ${NAME?what to do} and ${NAME:?what to do}; a default may itself be a variable.
VARIABLE = re.compile(r"\$\{LABELPOD_([A-Z_]+)(?::-([^{}]*)|:?\?[^}]*)?\}")
# The stack's own Orthanc, whose URL says whether there is a certificate.
COMPUTED = "STUDIES"
SECRET = "hunter2-tr0ub4dor-3"
ALL = ("compose.yaml", "compose.postgres.yaml", "compose.door.yaml")


class Loader(yaml.SafeLoader):
    """YAML with Compose's own tags, which say how overlays are merged."""


Loader.add_multi_constructor("!", lambda loader, _, node: loader.construct_sequence(node, deep=True))


def variables() -> list[tuple[str, str]]:
    text = "".join((ROOT / name).read_text() for name in FILES)
    return [(found[1], found[2] or "") for found in VARIABLE.finditer(text)]


def test_every_variable_of_the_compose_files_is_a_setting():
    assert {name for name, _ in variables()} <= set(Settings.model_fields)


def test_no_variable_of_the_compose_files_is_a_secret():
    assert not {name for name, _ in variables()} & set(settings.secret_names())


def test_every_default_of_the_compose_files_is_the_settings_own():
    for name, default in variables():
        if default and name not in (COMPUTED, "DICOMWEB_USERNAME"):
            assert default == str(Settings.model_fields[name].default), name


def test_the_label_server_logs_in_as_the_user_that_access_lua_lets_in():
    assert ("DICOMWEB_USERNAME", checked.LABEL_SERVER_USER) in variables()
    assert f'"{checked.LABEL_SERVER_USER}"' in (ROOT / "images" / "orthanc" / "access.lua").read_text()


def compose(*arguments: str, **values: str) -> subprocess.CompletedProcess[str]:
    """Run Compose in the project's folder with these settings and no `.env`."""
    if not shutil.which("docker"):
        pytest.skip("docker is not installed")
    known = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    return subprocess.run(
        ["docker", "compose", "--env-file", os.devnull, *arguments],
        cwd=ROOT,
        env=known | prefixed(values),
        capture_output=True,
        text=True,
        check=False,
    )


def configuration(*files: str, profiles: list[str] | None = None, **values: str) -> dict:
    """What Compose makes of these files; by default with all ports but DICOM's open to the network."""
    chosen = [part for file in files for part in ("-f", file)]
    chosen += [part for profile in profiles or [] for part in ("--profile", profile)]
    given = {"ORTHANC_USERNAME": "labelpod", "BIND_ADDRESS": "0.0.0.0", "ORTHANC_BIND_ADDRESS": "0.0.0.0"}
    result = compose(*chosen, "config", "--format", "json", **given | values)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def services() -> dict:
    """All of them: with PostgreSQL as Orthanc's database, and the door in front of it."""
    return configuration(*ALL)["services"]


def test_without_an_env_file_compose_says_what_to_do():
    result = compose("config")
    assert result.returncode != 0
    assert 'run "python3 deploy.py up" once, it makes .env' in result.stderr


def test_compose_never_shows_a_secret():
    secrets = {name: f"{SECRET}{number}" for number, name in enumerate(settings.secret_names())}
    files = [part for file in FILES if "folder" not in file for part in ("-f", file)]
    result = compose(*files, "config", ORTHANC_USERNAME="x", **secrets)
    assert result.returncode == 0 and SECRET not in result.stdout + result.stderr


def test_no_secret_is_in_a_containers_environment(services):
    """Who may look at a container sees it, and every program in there inherits it."""
    for service in services.values():
        named = [name for name in service.get("environment", {}) if re.search("PASSWORD|TOKEN|SECRET|KEY", name)]
        assert all(name.endswith("_FILE") for name in named)


def test_each_port_has_an_address_of_its_own(services):
    def opened(**values: str) -> dict[int, str]:
        chosen = configuration("compose.yaml", "compose.postgres.yaml", **values)["services"].values()
        return {port["target"]: port["host_ip"] for service in chosen for port in service.get("ports", [])}

    assert opened() == {8000: "0.0.0.0", 8042: "0.0.0.0", 4242: "127.0.0.1"}
    assert opened(ORTHANC_BIND_ADDRESS="") == {8000: "0.0.0.0", 8042: "127.0.0.1", 4242: "127.0.0.1"}
    assert opened(BIND_ADDRESS="", ORTHANC_BIND_ADDRESS="") == dict.fromkeys((8000, 8042, 4242), "127.0.0.1")
    assert opened(BIND_ADDRESS="", DICOM_BIND_ADDRESS="10.0.0.7")[4242] == "10.0.0.7"


def test_the_door_opens_orthancs_web_port_in_its_place(services):
    ports = {name: [each["target"] for each in service.get("ports", [])] for name, service in services.items()}
    assert ports["orthanc"] == [4242] and ports["door"] == [8042]
    (opened,) = services["door"]["ports"]
    assert (opened["host_ip"], opened["published"]) == ("0.0.0.0", "8042")


@pytest.mark.parametrize(
    ("address", "expected"),
    [("", False), ("localhost", False), ("127.0.0.2", False), ("0.0.0.0", True), ("10.0.0.7", True)],
)
def test_the_door_is_there_if_other_machines_reach_orthanc(address: str, expected: bool):
    values = Settings(ORTHANC_BIND_ADDRESS=address) if address else Settings()
    chosen = stack.Stack(Project(ROOT), values)
    assert ("compose.door.yaml" in chosen.compose_files) == ("door" in chosen.services) == expected
    secure = stack.Stack(Project(ROOT), values.model_copy(update={"TLS_CERT": "c", "TLS_KEY": "k"}))
    assert ("compose.door-tls.yaml" in secure.compose_files) == expected


SERVERS = (*ALL, "compose.servers.yaml")


def test_several_label_servers_are_reached_through_the_door_only():
    made = configuration(*SERVERS, LABEL_SERVERS="3")["services"]
    assert made["label-server"]["deploy"]["replicas"] == 3 and "ports" not in made["label-server"]
    opened = {each["target"]: each["published"] for each in made["door"]["ports"]}
    assert opened == {8000: "8000", 8042: "8042"}
    assert made["label-server"]["environment"]["SHARED_WORKSPACE"] == "true"
    assert made["label-server"]["environment"]["TRUSTED_PROXY"].strip(",") == "door"
    assert made["door"]["environment"] == {"STACK": "labelpod"}
    further = configuration(*SERVERS, LABEL_SERVERS="2", TRUSTED_PROXY="10.0.0.5")["services"]["label-server"]
    assert further["environment"]["TRUSTED_PROXY"] == "door,10.0.0.5"


def test_the_door_reaches_label_servers_that_are_on_a_closed_network():
    files = (*SERVERS, "compose.closed.yaml", "compose.servers-closed.yaml")
    made = configuration(*files, LABEL_SERVERS="2")["services"]
    reached = {name: set(service["networks"]) for name, service in made.items()}
    assert reached["door"] == {"default", "closed"} and reached["label-server"] == {"closed"}


ORTHANCS = (*ALL[:2], "compose.orthancs.yaml", "compose.tls.yaml", "compose.orthancs-tls.yaml", "compose.door.yaml")


def test_the_second_orthanc_is_the_first_again_under_its_name_and_without_its_port():
    files = (*ORTHANCS, "compose.door-tls.yaml", "compose.closed.yaml", "compose.orthancs-closed.yaml")
    made = configuration(*files, ORTHANC_SERVERS="2")["services"]
    first, second = made["orthanc"], made["orthanc-2"]
    differs = {key for key in first.keys() | second.keys() if first.get(key) != second.get(key)}
    assert differs == {"ports", "networks", "depends_on"}
    assert [each["target"] for each in first["ports"]] == [4242], "DICOM's, which only one can open"
    assert second["networks"] == {name: {"aliases": ["orthanc"]} for name in first["networks"]}
    tables = {name: each["condition"] for name, each in second["depends_on"].items()}
    assert tables == {"postgres": "service_healthy", "orthanc": "service_healthy"}, "two would make the tables at once"
    assert made["door"]["environment"]["STACK"] == "labelpod"


def test_the_doors_program_is_run_by_a_number():
    """Kubernetes cannot tell whether a name is root."""
    assert "\nUSER 99:99\n" in (ROOT / "images" / "door" / "Dockerfile").read_text()


def test_services_have_no_rights_that_they_do_not_need(services):
    for service in services.values():
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
        assert not service.get("privileged") and service.get("user") in (None, "999:999")
        assert service["read_only"] is True


def test_services_cannot_take_the_whole_machine(services):
    for service in services.values():
        assert int(service["mem_limit"]) > 0 and 0 < service["pids_limit"] <= 4096
        assert all("size=" in place for place in service.get("tmpfs", []))
    given = {"LABEL_SERVER_MEMORY": "7g", "ORTHANC_MEMORY": "1g", "POSTGRES_MEMORY": "2g"}
    smaller = configuration("compose.yaml", "compose.postgres.yaml", **given)["services"]
    memory = {name: int(each["mem_limit"]) >> 30 for name, each in smaller.items()}
    assert memory == {"label-server": 7, "orthanc": 1, "postgres": 2}


def test_services_have_no_swap_however_much_memory_they_may_take(services):
    beside = configuration("compose.yaml", profiles=["mlflow", "monitoring"])["services"]
    for service in (*services.values(), *beside.values()):
        assert service["memswap_limit"] == service["mem_limit"]


@pytest.mark.parametrize(("cpus", "expected"), [("", 0), ("6", 6)])
def test_the_label_server_uses_as_many_cores_as_the_setting_says(cpus: str, expected: int):
    server = configuration("compose.yaml", LABEL_SERVER_CPUS=cpus)["services"]["label-server"]
    assert server.get("cpus", 0) == expected


def test_prometheus_is_there_only_where_it_is_asked_for_and_only_for_this_machine(services):
    assert "prometheus" not in services
    made = configuration("compose.yaml", profiles=["monitoring"])["services"]["prometheus"]
    assert [port["host_ip"] for port in made["ports"]] == ["127.0.0.1"]
    assert made["cap_drop"] == ["ALL"] and made["read_only"] is True and not made.get("environment")
    assert {each["source"] for each in made["secrets"]} == {"monitor_token", "orthanc_monitor"}


def test_a_label_server_that_fetches_nothing_is_on_a_network_that_leads_nowhere_else():
    made = configuration(
        "compose.yaml", "compose.postgres.yaml", "compose.closed.yaml", profiles=["mlflow", "monitoring"]
    )
    reached = {name: set(service["networks"]) for name, service in made["services"].items()}
    assert reached["label-server"] == reached["mlflow"] == {"closed"}
    assert reached["orthanc"] == reached["prometheus"] == {"default", "closed"}
    assert reached["postgres"] == {"default"}, "no way to the database"
    assert made["networks"]["closed"]["driver_opts"] == {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    assert made["services"]["label-server"]["dns"] == ["127.0.0.1"], "nothing is told by asking for names"


@pytest.mark.parametrize(
    ("values", "closed"),
    [
        ({}, False),
        ({"WEIGHTS_WAIT": 0}, True),
        ({"WEIGHTS_WAIT": 0, "STUDIES": "/srv"}, True),
        ({"WEIGHTS_WAIT": 0, "BUNDLES": "lung_nodule_ct_detection"}, True),
        ({"WEIGHTS_WAIT": 0, "STUDIES": "https://pacs/dicom-web"}, False),
    ],
    ids=["default", "own", "folder", "bundles", "elsewhere"],
)
def test_the_network_is_closed_if_nothing_is_fetched_and_the_studies_are_here(values: dict, closed: bool):
    files = stack.Stack(Project(ROOT), Settings(**values)).compose_files
    assert ("compose.closed.yaml" in files) == closed


def test_what_is_mounted_from_this_machine_cannot_be_written(services):
    for service in services.values():
        assert all(each.get("read_only") for each in service["volumes"] if each["type"] == "bind")


def test_a_service_is_given_no_secret_but_its_own():
    everything = configuration(*ALL, "compose.tls.yaml", "compose.door-tls.yaml")["services"]
    mounted = {
        name: {each["source"]: each.get("target", f"/run/secrets/{each['source']}") for each in service["secrets"]}
        for name, service in everything.items()
    }
    assert mounted == {
        "orthanc": {
            "orthanc_users": "/etc/orthanc/users.json",
            "label_deletion": "/run/secrets/label_deletion",
            "orthanc_postgres": "/etc/orthanc/postgresql.json",
            "tls_both": "/run/secrets/tls_both",
        },
        "postgres": {"postgres_password": "/run/secrets/postgres_password"},
        "door": {"tls_both": "/run/secrets/tls_both"},
        "label-server": {
            name: f"/run/secrets/{name}" for name in ("dicomweb_password", "label_key", "tls_cert", "tls_key")
        },
    }


def test_a_changed_mounted_file_restarts_its_service():
    everything = configuration(*ALL, "compose.tls.yaml", "compose.door-tls.yaml")
    for name, service in everything["services"].items():
        secrets = {everything["secrets"][each["source"]]["file"] for each in service["secrets"]}
        binds = {each["source"] for each in service["volumes"] if each["type"] == "bind"} - {
            str(ROOT / "secrets/users")
        }
        assert {str(path) for path in stack.files_read_at_start(Project(ROOT))[name]} == secrets | binds


def test_users_are_mounted_as_a_folder_so_that_changes_are_seen_at_once(services):
    assert {"/run/users"} & {each["target"] for each in services["label-server"]["volumes"]}
    assert services["label-server"]["environment"]["USERS_FILE"] == "/run/users/users.json"


@pytest.mark.parametrize(
    ("files", "studies", "expected"),
    [
        (["compose.yaml"], "", "http://orthanc:8042/dicom-web"),
        (["compose.yaml", "compose.tls.yaml"], "", "https://orthanc:8042/dicom-web"),
        (["compose.yaml", "compose.tls.yaml"], "http://pacs/dicom-web", "http://pacs/dicom-web"),
        (["compose.yaml", "compose.tls.yaml", "compose.folder.yaml"], "/srv", "/studies"),
    ],
)
def test_the_label_server_finds_its_studies(files, studies, expected):
    chosen = configuration(*files, STUDIES=studies)["services"]["label-server"]
    assert chosen["environment"]["STUDIES"] == expected


def test_each_database_has_files_of_its_own(services):
    """Either Orthanc may go on where it was: neither sees what the other has stored."""

    def files(chosen: dict) -> list[str]:
        return [each["source"] for each in chosen["orthanc"]["volumes"] if each["target"] == "/var/lib/orthanc/db"]

    assert files(configuration("compose.yaml")["services"]) == ["orthanc-db"]
    assert files(services) == ["orthanc-files"]
    assert {each["source"] for each in services["postgres"]["volumes"]} == {"postgres-db"}


def test_orthanc_starts_after_its_database_is_healthy(services):
    assert services["orthanc"]["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_services_restart_report_their_health_and_rotate_their_logs(services):
    for service in services.values():
        assert service["restart"] == "unless-stopped" and service["healthcheck"]["test"]
        assert service["logging"]["options"]["max-size"]


def test_the_label_server_loads_while_orthanc_starts(services):
    assert services["label-server"]["depends_on"]["orthanc"]["condition"] == "service_started"


def test_a_containers_own_label_names_orthancs_user(services):
    assert services["orthanc"]["labels"] == {"labelpod.orthanc.username": "labelpod"}


def _bound(configured: dict) -> list[dict]:
    return [
        each for service in configured["services"].values() for each in service["volumes"] if each["type"] == "bind"
    ]


def test_a_bind_mount_never_makes_what_is_missing():
    """Docker would put an empty folder of root's there at the next start of the machine, as after a move."""
    bound = _bound(configuration("compose.yaml", "compose.folder.yaml", STUDIES="/srv"))
    assert len(bound) == 4
    # Compose leaves out of what it shows that a path is not made, or says it as false.
    assert not any(each.get("bind", {}).get("create_host_path") for each in bound)
    texts = [yaml.load((ROOT / name).read_text(), Loader) for name in FILES]
    written = [
        volume
        for text in texts
        for service in text.get("services", {}).values()
        for volume in service.get("volumes", [])
    ]
    for volume in written:
        assert isinstance(volume, dict) or not re.match(r"[./$~]", volume), "the short form makes what is missing"
        assert not isinstance(volume, dict) or volume["bind"]["create_host_path"] is False


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_what_is_mounted_can_be_read_by_the_containers_users_whatever_the_umask(tmp_path, umask):
    shutil.copytree(ROOT / "templates", tmp_path / "templates")
    for folder in (Path("images", "orthanc"), Path("docs", "monitoring")):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for path in tmp_path.rglob("*"):
        path.chmod(path.stat().st_mode & ~umask)
    before = os.umask(umask)
    try:
        values = Settings(ORTHANC_DB="postgres", LABEL_SERVER_TOKEN="t" * 32, ORTHANC_PASSWORD="p")
        render.write(values, Project(tmp_path))
        render.copy_mounted(Project(tmp_path))
        secret_files.write(values, tmp_path / "secrets")
    finally:
        os.umask(before)
    configured = configuration("compose.yaml", "compose.postgres.yaml")
    files = [each["source"] for each in _bound(configured)] + [each["file"] for each in configured["secrets"].values()]
    assert len(files) == 9
    for file in (tmp_path / Path(each).relative_to(ROOT) for each in files):
        below = [file, *file.rglob("*")] if file.is_dir() else [file]
        assert all(path.stat().st_mode & 0o004 and (path.is_file() or path.stat().st_mode & 0o001) for path in below)


def test_what_is_copied_into_the_image_can_be_read_by_its_user_whatever_the_checkouts_rights():
    text = render.render(Settings(), ROOT / "templates")["label-server.Dockerfile"]
    copied = re.findall(r"^COPY (?!--from)(.*)", text.rpartition("\nFROM ")[2], flags=re.MULTILINE)
    assert copied
    for words in copied:
        assert words.startswith("--chmod=") or words.split()[-1].startswith("/opt/labelpod/"), words
    after = text.rpartition("COPY images/label-server/label_server ")[2]
    assert "\nRUN chmod -R u=rwX,go=rX /opt/labelpod;" in after
    assert after.index("chmod -R") < after.index("USER 1000:1000") < after.index("RUN python -m label_server.selfcheck")


@pytest.mark.parametrize(("text", "value"), LINES_OF_PEOPLE.items(), ids=range(len(LINES_OF_PEOPLE)))
def test_compose_reads_lines_of_people_as_the_driver_does(tmp_path, text, value):
    (tmp_path / ".env").write_bytes(text.encode())
    service = "services: {a: {image: a, environment: {BUNDLES: '${LABELPOD_BUNDLES:-}'}}}\n"
    (tmp_path / "compose.yaml").write_text(f"name: lines\n{service}")
    place = ("--project-directory", str(tmp_path), "--file", str(tmp_path / "compose.yaml"))
    answer = compose("--env-file", str(tmp_path / ".env"), *place, "config", "--format", "json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["services"]["a"]["environment"]["BUNDLES"] == value

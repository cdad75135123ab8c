"""The files that the containers read their logins and certificate from."""

import json
import os
import stat
from pathlib import Path

import pytest

from labelpod.config.settings import Settings
from labelpod.errors import DeployError
from labelpod.security import secret_files, users
from labelpod_common import label_key, users_file
from tests.support import certificates

SECRETS = {"ORTHANC_PASSWORD": "one", "LABEL_SERVER_TOKEN": "t" * 32}


@pytest.fixture
def write(tmp_path):
    """Write the files for these settings; the folder."""

    def run(**values: str) -> Path:
        secret_files.write(Settings(**SECRETS | values), tmp_path / "secrets")
        return tmp_path / "secrets"

    return run


def logins(folder: Path) -> dict[str, str]:
    return json.loads((folder / "orthanc_users.json").read_text())["RegisteredUsers"]


def dicomweb(folder: Path) -> str:
    return (folder / "dicomweb_password").read_text()


def test_orthanc_has_the_users_login_and_one_for_the_label_server(write):
    folder = write()
    own = logins(folder)["label-server"]
    assert logins(folder) == {"labelpod": "one", "label-server": own}
    assert len(own) >= 32 and dicomweb(folder) == own


def test_the_label_servers_own_password_is_made_once(write):
    own = logins(write())["label-server"]
    assert logins(write(ORTHANC_PASSWORD="two", ORTHANC_USERNAME="ward")) == {"ward": "two", "label-server": own}


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"DICOMWEB_PASSWORD": "theirs"}, "theirs"),
        ({"STUDIES": "https://pacs/dicom-web", "DICOMWEB_PASSWORD": "theirs"}, "theirs"),
        ({"STUDIES": "https://pacs/dicom-web"}, ""),
        ({"STUDIES": "/srv/images"}, ""),
    ],
)
def test_another_dicomweb_server_never_gets_orthancs_password(write, values, shown):
    assert dicomweb(write(**values)) == shown


@pytest.mark.parametrize("url", ["", "http://orthanc:8042/dicom-web", "http://orthanc:8042/dicom-web/"])
def test_the_stacks_own_orthanc_may_be_named(write, url):
    folder = write(STUDIES=url)
    assert dicomweb(folder) == logins(folder)["label-server"]


def test_modes_of_the_secrets_folder_and_its_files(write):
    before = os.umask(0o077)
    try:
        folder = write()
    finally:
        os.umask(before)
    modes = {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert modes.pop("label_server_password") == 0o600 and modes.pop("users.lock") is not None
    assert modes.pop("users") == 0o755
    made = {"orthanc_users.json", "dicomweb_password", "users/users.json", "label_key", "label_deletion"}
    assert set(modes) == made
    assert set(modes.values()) == {0o644}


def test_the_key_of_labels_is_made_once_and_orthanc_is_not_told(write):
    key, deletion = ((write() / name).read_text() for name in ("label_key", "label_deletion"))
    assert (write() / "label_key").read_text() == key and len(key) == 32
    assert deletion == label_key.deletion(key) and key not in deletion


def test_a_folder_that_others_could_enter_is_closed(write):
    write().chmod(0o755)
    assert stat.S_IMODE(write().stat().st_mode) == 0o700


def test_files_that_would_be_the_same_are_not_touched(write):
    """What is newer than a container makes it start again."""
    folder = write()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix != ".lock"}
    write()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    write(ORTHANC_PASSWORD="two")
    changed = {path.name for path in before if path.is_file() and path.stat().st_mtime_ns != before[path]}
    assert changed == {"orthanc_users.json"}


def test_postgres_password_is_its_own_and_stays(write):
    folder = write(ORTHANC_DB="postgres")
    password = (folder / "postgres_password").read_text()
    login = json.loads((folder / "orthanc_postgres.json").read_text())["PostgreSQL"]
    assert len(password) >= 32 and login["Password"] == password
    assert (login["EnableIndex"], login["EnableStorage"]) == (True, False)
    write(), write(ORTHANC_DB="postgres", ORTHANC_PASSWORD="two")
    assert (folder / "postgres_password").read_text() == password
    modes = {stat.S_IMODE((folder / name).stat().st_mode) for name in ("postgres_password", "orthanc_postgres.json")}
    assert modes == {0o644}


def test_a_database_of_the_sites_own_is_spoken_to_by_tls_and_that_of_the_stack_as_before(write):
    folder = write(ORTHANC_DB="postgres", KUBERNETES_POSTGRES_HOST="database.example.org")
    stack, own = (
        json.loads((folder / f"orthanc_postgres{name}.json").read_text())["PostgreSQL"] for name in ("", "_tls")
    )
    assert own == stack | {"EnableSsl": True}


@certificates.needs_openssl
def test_certificate_files_follow_the_setting(write, tmp_path):
    certificate, key = certificates.make(tmp_path)
    folder = write(TLS_CERT=str(certificate), TLS_KEY=str(key))
    chain, private = certificate.read_text(), key.read_text()
    both = (folder / "tls_both.pem").read_text()
    assert (folder / "tls_cert.pem").read_text() == chain and (folder / "tls_key.pem").read_text() == private
    assert chain in both and private.strip() in both
    write()
    assert not list(folder.glob("tls_*"))


@certificates.needs_openssl
def test_a_bad_certificate_changes_nothing(write, tmp_path):
    folder = write()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    certificate, key = certificates.make(tmp_path, first=-9, last=-1)
    with pytest.raises(DeployError, match="expired"):
        write(TLS_CERT=str(certificate), TLS_KEY=str(key), ORTHANC_PASSWORD="two", LABEL_SERVER_TOKEN="u" * 32)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_folder_that_cannot_be_written_is_an_error(write, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DeployError, match="cannot be made: Permission denied"):
        write()


def test_prometheus_has_logins_of_its_own_where_the_setting_names_its_image(write):
    folder = write()
    assert not (folder / "monitor_token").exists() and not (folder / "orthanc_monitor").exists()
    write(PROMETHEUS_IMAGE="prom/prometheus:v3")
    token, password = ((folder / name).read_text() for name in ("monitor_token", "orthanc_monitor"))
    assert json.loads((folder / "orthanc_users.json").read_text())["RegisteredUsers"]["monitor"] == password
    known = users_file.parse((folder / "users" / "users.json").read_text())
    assert users_file.entry("monitor", "monitor", token) in known and known[0]["name"] == "admin"
    write(PROMETHEUS_IMAGE="prom/prometheus:v4")
    assert (folder / "monitor_token").read_text() == token and (folder / "orthanc_monitor").read_text() == password
    write()
    assert "monitor" not in json.loads((folder / "orthanc_users.json").read_text())["RegisteredUsers"]
    assert "monitor" not in (folder / "users" / "users.json").read_text()
    assert not (folder / "monitor_token").exists() and not (folder / "orthanc_monitor").exists()


def test_a_person_called_monitor_is_not_made_prometheus(write):
    folder = write()
    token = users.add("monitor", "reviewer", folder)
    with pytest.raises(DeployError, match="there is a user monitor in another role") as caught:
        write(PROMETHEUS_IMAGE="prom/prometheus:v3")
    assert caught.value.remedy == "python3 deploy.py users revoke monitor"
    write()
    assert users_file.entry("monitor", "reviewer", token) in users_file.parse(
        (folder / "users" / "users.json").read_text()
    )

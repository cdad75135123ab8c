"""That builds use the machine's own package sources, and that nothing of them stays where it should not."""

import os
import shutil
import subprocess
import sys
import tomllib
from configparser import RawConfigParser
from pathlib import Path

import pytest

from labelpod import render
from labelpod.config.settings import Settings
from labelpod.host import npm_config, os_release, package_sources

ROOT = Path(__file__).resolve().parents[3]
LOGIN = "https://reader:hunter2@packages.example"
DEBIAN, UBUNTU = {"ID": "debian", "VERSION_CODENAME": "bookworm"}, {"ID": "ubuntu", "VERSION_CODENAME": "noble"}


class Machine:
    """A machine whose pip, apt and certificates are as a test says."""

    def __init__(self, folder: Path, programs, monkeypatch: pytest.MonkeyPatch) -> None:
        self.secrets = folder / "secrets"
        self.secrets.mkdir()
        self._folder, self._programs, self._monkeypatch = folder, programs, monkeypatch
        for name in (
            "SSL_CERT_FILE",
            *package_sources._PROXIES,
            *(name for name in os.environ if name.upper().startswith(("PIP_", "NPM_CONFIG_"))),
        ):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(folder))
        monkeypatch.setattr(npm_config, "_SYSTEM", ())
        monkeypatch.setenv("PATH", str(programs.folder))
        monkeypatch.setattr(package_sources, "CA_BUNDLE", folder / "absent.crt")
        self.release(DEBIAN)
        self.pip("")
        self.apt()

    def release(self, values: dict[str, str]) -> None:
        self._monkeypatch.setattr(os_release, "of_this_machine", lambda: values)

    def pip(self, listed: str) -> None:
        """What `pip config list` says."""
        python = self._programs.add("python", f"/bin/cat <<'END'\n{listed}\nEND")
        self._monkeypatch.setattr(sys, "executable", str(python))

    def apt(self, configuration: str = "", targets: str = "") -> None:
        """What apt-config and `apt-get indextargets` say."""
        self._programs.add("apt-config", f"/bin/cat <<'END'\n{configuration}\nEND")
        self._programs.add("apt-get", f"/bin/cat <<'END'\n{targets}\nEND")

    def npm(self, lines: str) -> None:
        """What this user's .npmrc says."""
        (self._folder / ".npmrc").write_text(lines)

    def without_apt(self) -> None:
        for name in ("apt-config", "apt-get"):
            (self._programs.folder / name).unlink()

    def written(self, codename: str = "bookworm") -> dict[str, str]:
        return {name: path.read_text() for name, path in package_sources.write_secrets(self.secrets, codename).items()}


@pytest.fixture
def machine(tmp_path, programs, monkeypatch) -> Machine:
    return Machine(tmp_path, programs, monkeypatch)


PIP = f"""\
global.index-url='{LOGIN}/simple'
global.extra-index-url='https://a.example/simple\\nhttp://b.example/simple'
global.find-links='https://wheels.example/all /srv/wheels'
global.trusted-host='b.example c.example'"""


def test_pips_indexes_become_uvs_and_pips_own(machine):
    machine.pip(PIP)
    written = machine.written()
    assert tomllib.loads(written["uv_config"]) == {
        "index-url": f"{LOGIN}/simple",
        "extra-index-url": ["https://a.example/simple", "http://b.example/simple"],
        "find-links": ["https://wheels.example/all"],
        "allow-insecure-host": ["b.example", "c.example"],
        "index-strategy": "unsafe-best-match",
    }
    pip = RawConfigParser()
    pip.read_string(written["pip_config"])
    assert dict(pip["global"]) == {
        "index-url": f"{LOGIN}/simple",
        "extra-index-url": "https://a.example/simple http://b.example/simple",
        "find-links": "https://wheels.example/all",
        "trusted-host": "b.example c.example",
    }


def test_no_configuration_gives_one_without_an_index(machine):
    written = machine.written()
    assert tomllib.loads(written["uv_config"]) == {"index-strategy": "unsafe-best-match"}
    assert written["pip_config"] == "[global]\n"
    assert set(written) == {"uv_config", "pip_config"}


def test_the_environment_wins_over_pips_files(machine):
    machine.pip(":env:.index-url='https://new.example'\nglobal.index-url='https://old.example'")
    assert tomllib.loads(machine.written()["uv_config"])["index-url"] == "https://new.example"


def test_the_real_pip_is_understood(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    (tmp_path / "pip.conf").write_text(
        f"[global]\nindex-url = {LOGIN}/simple\nfind-links =\n    https://wheels.example\n    {tmp_path}/wheels\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://env.example")
    found = package_sources._pip_settings()
    assert found["index-url"] == f"{LOGIN}/simple"
    assert found["extra-index-url"] == "https://env.example"
    assert found["find-links"].split() == ["https://wheels.example", f"{tmp_path}/wheels"]


def test_folders_of_this_machine_are_named_as_left_out(machine):
    machine.pip(PIP.replace("'https://a.example", "'file:///srv/index https://a.example"))
    assert package_sources.left_out() == ["file:///srv/index", "/srv/wheels"]


def test_nothing_is_left_out_where_everything_is_on_the_network(machine):
    machine.pip(f"global.index-url='{LOGIN}/simple'")
    assert package_sources.left_out() == []


@pytest.mark.parametrize("origin", ["pip's cert", "SSL_CERT_FILE", "the system's"])
def test_the_machines_certificate_authorities_are_handed_over(machine, tmp_path, monkeypatch, origin):
    bundle = tmp_path / "ca.crt"
    bundle.write_text("a certificate")
    if origin == "pip's cert":
        machine.pip(f"global.cert='{bundle}'")
    elif origin == "SSL_CERT_FILE":
        monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    else:
        monkeypatch.setattr(package_sources, "CA_BUNDLE", bundle)
    written = machine.written()
    assert written["ca_bundle"] == "a certificate"
    assert written["apt_conf"] == 'Acquire::https::CaInfo "/run/apt/ca.crt";\n'


def test_a_bundle_that_is_named_but_absent_is_passed_over(machine, tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.crt"))
    assert package_sources.ca_bundle() is None and "ca_bundle" not in machine.written()


APT = """\
Acquire "";
Acquire::Retries "5";
Acquire::http "";
Acquire::http::Proxy "http://reader:hunter2@proxy.example:3128";
Acquire::http::Proxy-Auto-Detect "/usr/local/bin/find-proxy";
Acquire::https::Verify-Peer "true";
Acquire::https::CaInfo "/usr/local/share/our.crt";
Acquire::https::packages.example::SslKey "/etc/ssl/private/our.key";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
Acquire::cdrom::mount "/media/cdrom";"""


def test_apts_proxy_and_retries_are_taken_over_but_no_path_of_this_machine(machine):
    machine.apt(APT)
    assert machine.written()["apt_conf"].splitlines() == [
        'Acquire::Retries "5";',
        'Acquire::http::Proxy "http://reader:hunter2@proxy.example:3128";',
        'Acquire::https::Verify-Peer "true";',
        'Acquire::Check-Valid-Until "false";',
    ]


TARGETS = """\
Debian|http://mirror.example/debian|bookworm
Debian|http://mirror.example/debian|bookworm
Debian|http://mirror.example/debian|bookworm-updates
Debian-Security|http://mirror.example/debian-security|bookworm-security
Debian|http://newest.example/debian|sid
Docker|https://docker.example/linux|bookworm
"""


@pytest.mark.parametrize("codename", ["bookworm", "trixie"])
def test_the_images_debian_release_comes_from_the_machines_own_mirror(machine, codename):
    machine.apt(targets=TARGETS)
    key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    assert machine.written(codename)["apt_sources"].splitlines() == [
        f"deb {key} http://mirror.example/debian {codename} main",
        f"deb {key} http://mirror.example/debian {codename}-updates main",
        f"deb {key} http://mirror.example/debian-security {codename}-security main",
    ]


def test_with_a_mirror_of_the_machine_the_images_own_sources_are_not_read(machine):
    machine.apt(targets=TARGETS)
    assert 'Dir::Etc::sourcelist "/run/apt/labelpod.list";\n' in machine.written()["apt_conf"]
    assert 'Dir::Etc::sourceparts "/dev/null";\n' in machine.written()["apt_conf"]


def test_on_ubuntu_the_images_own_sources_are_read(machine):
    machine.release(UBUNTU)
    machine.apt(targets="Ubuntu|http://mirror.example/ubuntu|noble\n")
    assert "apt_sources" not in machine.written() and "apt_conf" not in machine.written()


def test_a_machine_without_apt_has_nothing_of_apt_to_hand_over(machine):
    machine.without_apt()
    assert set(machine.written()) == {"uv_config", "pip_config"}


def test_pip_and_apt_are_asked_once_however_many_images_are_built(machine, programs):
    for codename in ("trixie", "bookworm", "bookworm"):
        machine.written(codename)
        package_sources.left_out()
    assert programs.calls("python") == ["-P -m pip config list"]
    assert len(programs.calls("apt-config")) == len(programs.calls("apt-get")) == 1


def test_a_failing_pip_or_apt_means_defaults(machine, programs):
    for name in ("python", "apt-config", "apt-get"):
        programs.add(name, f"/bin/cat <<'END'\n{PIP}\n{APT}\n{TARGETS}END\nexit 1")
    written = machine.written()
    assert set(written) == {"uv_config", "pip_config"} and ".example" not in str(written)


@pytest.mark.parametrize(
    ("release", "codename", "distribution"),
    [
        (DEBIAN, "bookworm", "bookworm"),
        (DEBIAN | {"VERSION_CODENAME": "trixie"}, "trixie", "trixie"),
        (UBUNTU, "", "ubuntu"),
        ({"ID": "fedora"}, "", ""),
        ({}, "", ""),
    ],
)
def test_the_distribution_is_known_by_os_release(machine, release, codename, distribution):
    machine.release(release)
    assert (package_sources.debian_codename(), package_sources.distribution()) == (codename, distribution)


def test_proxies_of_the_environment_reach_a_build(machine, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "")
    assert package_sources.build_arguments() == {"HTTPS_PROXY": "http://proxy.example:3128"}


def test_a_login_of_a_private_index_ends_up_in_secrets_only(machine):
    machine.pip(PIP)
    machine.apt(APT)
    machine.npm(f"registry={LOGIN}/npm/\n//packages.example/npm/:_password=hunter2\n")
    written = machine.written()
    logins = {"uv_config", "pip_config", "apt_conf", "npm_config"}
    assert {name for name, text in written.items() if "hunter2" in text} == logins
    assert "hunter2" not in str(package_sources.build_arguments()) + str(package_sources.left_out())
    assert "hunter2" not in str(render.render(Settings(), ROOT / "templates"))
    assert {path.name for path in machine.secrets.iterdir()} == logins


def test_builds_mount_exactly_the_secrets_written(machine, tmp_path, monkeypatch):
    (tmp_path / "ca.crt").write_text("a certificate")
    monkeypatch.setattr(package_sources, "CA_BUNDLE", tmp_path / "ca.crt")
    machine.apt(APT, TARGETS)
    machine.npm("registry=https://packages.example/npm/\n")
    written = set(machine.written())
    dockerfile = render.render(Settings(), ROOT / "templates")["label-server.Dockerfile"]
    mounted = {part.split(",")[0] for part in dockerfile.split("--mount=type=secret,id=")[1:]}
    assert mounted == written
    orthanc = (ROOT / "images" / "orthanc" / "Dockerfile").read_text()
    assert {part.split(",")[0] for part in orthanc.split("--mount=type=secret,id=")[1:]} <= written


def test_of_the_stage_that_knows_npms_login_only_the_viewer_goes_into_the_image():
    """npm keeps logs of its own."""
    text = render.render(Settings(), ROOT / "templates")["label-server.Dockerfile"]
    (stage,) = [each for each in text.split("\nFROM ") if "id=npm_config" in each]
    assert stage.startswith("installer AS viewer\n")
    taken = [line for line in text.splitlines() if "viewer" in line and ("--from=" in line or "from=viewer" in line)]
    assert taken == ["COPY --from=viewer /viewer/ohif /opt/labelpod/ohif"]


# Put together here, so that this file does not hold them itself.
INDEXES = [".".join(parts) for parts in (("pypi", "org"), ("files", "pythonhosted", "org"), ("deb", "debian", "org"))]
INDEXES += [".".join(("registry", "npmjs", "org")), ".".join(("security", "debian", "org"))]


@pytest.mark.skipif(
    not shutil.which("git") or not (ROOT / ".git").exists(), reason="no git checkout: the project's files are unknown"
)
def test_no_file_of_the_project_names_a_package_index():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name and not name.endswith(".lock")]
    assert ROOT / "labelpod" / "host" / "package_sources.py" in files
    texts = {path.relative_to(ROOT): path.read_text(errors="replace") for path in files if path.is_file()}
    assert [(str(path), host) for path, text in texts.items() for host in INDEXES if host in text] == []

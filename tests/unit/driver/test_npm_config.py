"""Where npm's packages come from, as npm on this machine would find it; npm itself need not be there."""

import os
from pathlib import Path

import pytest

from labelpod.host import npm_config


class Npm:
    """A machine's configuration of npm."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in os.environ if name.upper().startswith("NPM_CONFIG_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(folder))
        self.system, self.user = folder / "etc_npmrc", folder / ".npmrc"
        monkeypatch.setattr(npm_config, "_SYSTEM", (self.system,))

    def settings(self) -> list[str]:
        return npm_config.text().splitlines()


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Npm:
    return Npm(tmp_path, monkeypatch)


def test_where_nothing_is_set_there_is_nothing_to_hand_over(npm):
    assert npm_config.text() == ""


NPMRC = """\
; our own registry
# and its login
registry = https://packages.example/npm/
@ohif:registry=https://scoped.example/
//packages.example/npm/:_authToken=abc=def
//scoped.example/:username=reader
//scoped.example/:_password = aHVudGVyMg==
//old.example/:_auth=cmVhZGVyOmh1bnRlcjI=
proxy=http://proxy.example:3128
https-proxy=http://proxy.example:3128
noproxy=packages.example
"""


def test_registries_their_logins_and_proxies_are_taken_over(npm):
    npm.user.write_text(NPMRC)
    wanted = [line.replace(" = ", "=") for line in NPMRC.splitlines()[2:]]
    assert npm.settings() == sorted(wanted, key=lambda line: line.partition("=")[0])


@pytest.mark.parametrize(
    "line",
    [
        "cache=/home/anna/.npm",
        "cafile=/home/anna/our.crt",
        "prefix=/home/anna/node",
        "init-author-email=anna@clinic.example",
        "//packages.example/:keyfile=/home/anna/key.pem",
        "registry",
        "",
    ],
)
def test_nothing_else_is(npm, line):
    npm.user.write_text(f"{line}\n")
    assert npm_config.text() == ""


def test_a_variable_in_a_file_is_looked_up(npm, monkeypatch):
    monkeypatch.setenv("NPM_TOKEN", "hunter2")
    npm.user.write_text("//packages.example/:_authToken=${NPM_TOKEN}\n")
    assert npm.settings() == ["//packages.example/:_authToken=hunter2"]


def test_a_variable_that_is_not_set_stays_as_npm_leaves_it(npm, monkeypatch):
    monkeypatch.delenv("NPM_TOKEN", raising=False)
    npm.user.write_text("//packages.example/:_authToken=${NPM_TOKEN}\n")
    assert npm.settings() == ["//packages.example/:_authToken=${NPM_TOKEN}"]


def test_the_users_file_wins_over_the_systems(npm):
    npm.system.write_text("registry=https://system.example/\nproxy=http://proxy.example\n")
    npm.user.write_text("registry=https://user.example/\n")
    assert npm.settings() == ["proxy=http://proxy.example", "registry=https://user.example/"]


@pytest.mark.parametrize("large", [False, True], ids=["small letters", "large letters"])
@pytest.mark.parametrize(
    ("variable", "key"),
    [("registry", "registry"), ("proxy", "proxy"), ("https_proxy", "https-proxy"), ("noproxy", "noproxy")],
)
def test_the_environment_wins_over_files(npm, monkeypatch, variable, key, large):
    npm.user.write_text(f"{key}=https://file.example/\n")
    name = f"npm_config_{variable}"
    monkeypatch.setenv(name.upper() if large else name, "https://environment.example/")
    assert npm.settings() == [f"{key}=https://environment.example/"]


@pytest.mark.parametrize("name", ["NPM_CONFIG_USERCONFIG", "npm_config_userconfig"])
def test_the_users_file_may_be_elsewhere(npm, monkeypatch, tmp_path, name):
    npm.user.write_text("registry=https://home.example/\n")
    (tmp_path / "other").write_text("registry=https://other.example/\n")
    monkeypatch.setenv(name, str(tmp_path / "other"))
    assert npm.settings() == ["registry=https://other.example/"]


def test_a_file_that_cannot_be_read_is_as_good_as_none(npm):
    npm.user.mkdir()
    npm.system.write_text("registry=https://system.example/\n")
    assert npm.settings() == ["registry=https://system.example/"]


def test_a_file_that_is_not_utf8_is_read_as_far_as_it_can_be(npm):
    npm.user.write_bytes(b"; M\xfcller\nregistry=https://packages.example/\n")
    assert npm.settings() == ["registry=https://packages.example/"]


def test_the_registry_of_a_scope_is_its_own_or_that_of_all(npm):
    assert npm_config.registry("@ohif") == ""
    npm.user.write_text("registry=https://all.example/\n")
    assert npm_config.registry("@ohif") == "https://all.example/"
    npm.user.write_text("registry=https://all.example/\n@ohif:registry=https://ohif.example/\n")
    assert npm_config.registry("@ohif") == "https://ohif.example/"

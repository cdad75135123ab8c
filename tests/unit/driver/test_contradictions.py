"""Pairs of settings: each is accepted, or refused with one line of what and one of what to do."""

import socket
from itertools import combinations, product
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from pydantic import SecretStr

from labelpod.config import settings
from labelpod.config.settings import PREFIX, Settings
from labelpod.errors import DeployError

PORTS = {
    "LABEL_SERVER_PORT": "BIND_ADDRESS",
    "ORTHANC_PORT": "ORTHANC_BIND_ADDRESS",
    "DICOM_PORT": "DICOM_BIND_ADDRESS",
    "MLFLOW_PORT": None,
}
ADDRESSES = ("127.0.0.1", "127.0.0.2", "0.0.0.0")
# Where a default, another choice, another port or a word would not be accepted, or says little.
SAMPLES = {
    "LABELS": ["lung:1"],
    "MODELS": ["deepedit"],
    "CONF": ["epochs=3"],
    "STUDIES": ["/srv", "http://orthanc:8042/dicom-web", "https://orthanc:8042/dicom-web", "https://pacs/dicom-web"],
    "DICOM_AETS": ["CT1"],
    "TRUSTED_PROXY": ["10.0.0.5"],
    "DICOM_KINDS": ["1.2.3"],
    "LABEL_SERVERS": ["1", "2"],
    "ORTHANC_SERVERS": ["1", "2"],
    "BIND_ADDRESS": list(ADDRESSES),
    "ORTHANC_BIND_ADDRESS": list(ADDRESSES),
    "DICOM_BIND_ADDRESS": list(ADDRESSES),
    "LABEL_SERVER_TOKEN": ["t" * 24],
    "RUNPOD_IMAGE": ["registry/me/labelpod"],
    "KUBERNETES_GATEWAY": ["gateways/inside"],
}


def samples(name: str) -> list[str]:
    field = Settings.model_fields[name]
    if name in SAMPLES:
        return SAMPLES[name]
    if name.endswith("_PORT"):
        return ["8000", "8042", "4242", "5000", "9"]
    if get_origin(field.annotation) is Literal:
        return list(get_args(field.annotation))
    if isinstance(field.default, SecretStr) or not str(field.default):
        return ["word"]
    return [str(field.default)]


def refused(folder: Path, **values: str) -> DeployError | None:
    try:
        settings.load(folder / "absent.env", {PREFIX + name: value for name, value in values.items()})
    except DeployError as error:
        return error
    return None


@pytest.mark.parametrize("first", Settings.model_fields)
def test_each_pair_of_settings_is_accepted_or_refused_in_two_lines(tmp_path, first):
    for second in Settings.model_fields:
        for one, other in product(samples(first), samples(second)):
            error = refused(tmp_path, **{first: one, second: other})
            if error:
                assert "\n" not in error.message + error.remedy and error.remedy.startswith(("set ", "leave "))
                assert {first, second} & {word.strip(":,;").removeprefix(PREFIX) for word in error.message.split()}


def both_open(one: str, other: str) -> bool:
    """Whether this machine lets one port be opened on both addresses; any may be somebody else's at the moment."""
    return any(_both_open(one, other) for _ in range(5))


def _both_open(one: str, other: str) -> bool:
    with socket.socket() as first, socket.socket() as second:
        first.bind((one, 0))
        try:
            second.bind((other, first.getsockname()[1]))
        except OSError:
            return False
        return True


@pytest.mark.parametrize(("first", "second"), list(combinations(PORTS, 2)))
def test_equal_ports_are_refused_where_the_machine_would_refuse_them(tmp_path, first, second):
    for bind, dicom in product(ADDRESSES, repeat=2):
        values = {"BIND_ADDRESS": bind, "DICOM_BIND_ADDRESS": dicom}
        places = [values.get(PORTS[name] or "", "127.0.0.1") for name in (first, second)]
        error = refused(tmp_path, **values, **dict.fromkeys((first, second), "6001"))
        assert bool(error) != both_open(*places), (first, second, values)
        if error:
            assert first in error.message and second in error.message and "6001" in error.message


@pytest.mark.parametrize(("port", "default"), [("LABEL_SERVER_PORT", "8042"), ("MLFLOW_PORT", "8000")])
def test_a_port_that_another_setting_has_by_default_is_refused(tmp_path, port, default):
    error = refused(tmp_path, **{port: default})
    assert error and port in error.message and default in error.message


@pytest.mark.parametrize(("one", "other"), [("TLS_CERT", "TLS_KEY"), ("DICOMWEB_USERNAME", "DICOMWEB_PASSWORD")])
def test_what_needs_both_is_refused_with_one(tmp_path, one, other):
    for there, missing in ((one, other), (other, one)):
        error = refused(tmp_path, **{there: "word"})
        assert error and f"{missing} is not" in error.message and missing in error.remedy
    assert refused(tmp_path, **{one: "word", other: "word"}) is None


@pytest.mark.parametrize("tls", [True, False])
def test_orthanc_is_reached_only_by_what_it_speaks(tmp_path, tls):
    own = {"TLS_CERT": "c.pem", "TLS_KEY": "k.pem"} if tls else {}
    for scheme in ("http", "https"):
        error = refused(tmp_path, STUDIES=f"{scheme}://orthanc:8042/dicom-web", **own)
        assert bool(error) == ((scheme == "https") != tls)


@pytest.mark.parametrize(
    ("studies", "bad"),
    [("", False), ("http://orthanc:8042/dicom-web", False), ("https://pacs/dicom-web", True), ("/srv", True)],
)
def test_several_label_servers_need_the_stacks_own_orthanc(tmp_path, studies: str, bad: bool):
    error = refused(tmp_path, LABEL_SERVERS="2", STUDIES=studies)
    assert bool(error) == bad and refused(tmp_path, LABEL_SERVERS="1", STUDIES=studies) is None
    if error:
        assert "who has which image" in error.message and "LABEL_SERVERS to 1" in error.remedy


@pytest.mark.parametrize("number", ["0", "65", "two"])
def test_there_are_one_to_sixty_four_label_servers(tmp_path, number: str):
    error = refused(tmp_path, LABEL_SERVERS=number)
    assert error and "LABEL_SERVERS" in error.message


def test_no_contradiction_shows_a_secret(tmp_path):
    error = refused(tmp_path, DICOMWEB_PASSWORD="hunter2-tr0ub4dor")
    assert error and "hunter2" not in error.message + error.remedy


def test_what_contradicts_keeps_nobody_from_taking_the_stack_down(tmp_path, capsys):
    (tmp_path / ".env").write_text("LABELPOD_LABEL_SERVER_PORT=8042\n")
    with pytest.raises(DeployError):
        settings.load(tmp_path / ".env", {})
    assert settings.load(tmp_path / ".env", {}, tolerant=True).LABEL_SERVER_PORT == 8042
    assert "Warning: " in capsys.readouterr().err

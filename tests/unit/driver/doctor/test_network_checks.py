"""What the doctor finds about addresses, ports and the certificate."""

import os

import pytest

from labelpod.doctor import examine
from tests.support import certificates


def test_a_taken_port_is_an_error_that_names_program_and_setting(machine, listener):
    machine.settings(ORTHANC_PORT=listener)
    finding = machine.find(f"port {listener}")
    assert finding.level == "error" and str(os.getpid()) in finding.message
    assert "ORTHANC_PORT" in finding.remedy


def test_a_port_of_this_stacks_own_container_is_not_taken(machine, listener):
    machine.settings(ORTHANC_PORT=listener)
    machine.docker(containers="labelpod-orthanc-1 labelpod\n")
    finding = machine.find(f"port {listener}")
    assert finding.level == "ok" and "labelpod-orthanc-1" in finding.message


@pytest.mark.parametrize("line", ["pacs other-project\n", "pacs \n"])
def test_a_port_of_somebody_elses_container_is_taken_by_it(machine, listener, line):
    machine.settings(ORTHANC_PORT=listener)
    machine.docker(containers=line)
    finding = machine.find(f"port {listener}")
    assert finding.level == "error" and "container pacs" in finding.message


def test_an_address_that_the_machine_does_not_have_is_an_error(machine):
    machine.settings(BIND_ADDRESS="203.0.113.7")
    finding = machine.find("network")
    assert finding.level == "error" and "203.0.113.7" in finding.message


@pytest.mark.parametrize("name", ["BIND_ADDRESS", "DICOM_BIND_ADDRESS"])
def test_the_address_that_is_wrong_is_named(machine, name):
    machine.settings(**{name: "203.0.113.7"})
    assert machine.find("network").message.startswith(f"LABELPOD_{name}=203.0.113.7 ")


@pytest.mark.parametrize(
    ("setting", "address"),
    [
        ("LABEL_SERVER_PORT", "BIND_ADDRESS"),
        ("ORTHANC_PORT", "ORTHANC_BIND_ADDRESS"),
        ("DICOM_PORT", "DICOM_BIND_ADDRESS"),
    ],
)
def test_a_port_is_looked_at_on_the_address_that_it_is_opened_on(machine, listener, setting, address):
    """The listener is on 127.0.0.1 alone."""
    machine.settings(**{setting: listener, address: "127.0.0.2"})
    assert machine.find(f"port {listener}").level == "ok"
    machine.settings(**{setting: listener})
    assert machine.find(f"port {listener}").level == "error"


@pytest.mark.parametrize(("address", "warned"), [("127.0.0.1", False), ("127.0.0.2", False), ("0.0.0.0", True)])
def test_ports_open_to_others_without_encryption_are_a_warning(machine, address, warned):
    machine.settings(BIND_ADDRESS=address)
    findings = [each for each in examine.examine(machine.env_file) if each.subject == "network"]
    assert [each.level for each in findings] == ["warning"] * warned
    assert all("in clear" in each.message and "TLS_CERT" in each.remedy for each in findings)


@certificates.needs_openssl
def test_ports_open_to_others_with_encryption_are_in_order(machine, tmp_path):
    certificate, key = certificates.make(tmp_path)
    machine.settings(BIND_ADDRESS="0.0.0.0", TLS_CERT=certificate, TLS_KEY=key)
    assert [each for each in examine.examine(machine.env_file) if each.subject == "network"] == []


def test_an_orthanc_whose_door_slows_down_who_guesses_is_no_warning(machine):
    machine.settings(BIND_ADDRESS="0.0.0.0", ORTHANC_BIND_ADDRESS="0.0.0.0")
    assert [each for each in examine.examine(machine.env_file) if each.subject == "Orthanc"] == []


def test_an_open_dicom_port_is_a_warning(machine):
    machine.settings(DICOM_BIND_ADDRESS="0.0.0.0")
    finding = machine.find("DICOM")
    assert finding.level == "warning" and "no authentication" in finding.message and finding.remedy


@certificates.needs_openssl
@pytest.mark.parametrize(("days", "level"), [(90, "ok"), (31, "ok"), (29, "warning"), (-1, "error")])
def test_a_certificate_is_to_be_renewed_30_days_before_it_expires(machine, tmp_path, days, level):
    certificate, key = certificates.make(tmp_path, first=-9, last=days)
    machine.settings(TLS_CERT=certificate, TLS_KEY=key)
    finding = machine.find("certificate")
    assert finding.level == level and bool(finding.remedy) == (level != "ok")


def test_a_certificate_that_is_not_there_is_an_error(machine):
    machine.settings(TLS_CERT="absent.pem", TLS_KEY="absent.key")
    finding = machine.find("certificate")
    assert finding.level == "error" and "absent.pem" in finding.message


@pytest.mark.parametrize(("there", "level"), [(True, "error"), (False, "ok")])
def test_a_port_of_another_folders_stack_of_the_same_name_is_taken(machine, listener, tmp_path, there, level):
    (tmp_path / "other").mkdir()
    if there:
        (tmp_path / "other" / "compose.yaml").touch()
    machine.settings(ORTHANC_PORT=listener)
    machine.docker(containers=f"labelpod-orthanc-1 labelpod {tmp_path}/other\n")
    finding = machine.find(f"port {listener}")
    assert finding.level == level and (str(tmp_path / "other") in finding.message) == there

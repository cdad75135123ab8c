"""Who holds a port."""

import os
import socket

import psutil
import pytest

from labelpod.host import ports
from tests.support.ports import held_port


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_listening_program_is_found_with_its_pid(listener, address):
    assert f"(pid {os.getpid()})" in ports.holder(address, listener)


def test_a_program_that_listens_for_ipv6_on_every_address_holds_the_port():
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        assert f"(pid {os.getpid()})" in ports.holder("127.0.0.1", server.getsockname()[1])


def test_nobody_holds_a_free_port():
    assert ports.holder("127.0.0.1", held_port()) is None


def test_a_listener_on_another_address_does_not_hold_the_port(listener):
    assert ports.holder("127.0.0.2", listener) is None


def test_a_program_that_may_not_be_looked_into_is_another_program(listener, monkeypatch):
    def refuse(_: str) -> list:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    assert ports.holder("127.0.0.1", listener) == "another program"


def test_a_process_that_has_just_ended_is_looked_for_again(listener, monkeypatch):
    named, gone = psutil.Process.name, [True]

    def name(process: psutil.Process) -> str:
        if gone:
            raise psutil.NoSuchProcess(gone.pop())
        return named(process)

    monkeypatch.setattr(psutil.Process, "name", name)
    assert f"(pid {os.getpid()})" in ports.holder("127.0.0.1", listener)

"""Where the label server gets to: to Orthanc, and, if nothing is to be fetched, to no other machine."""

import ipaddress
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.clone import Clone

SPACE, HERE, THERE = "labelpod-test-lan", "10.203.77.1", "10.203.77.2"
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""
LOOK_UP = "import socket, sys\ntry: print(socket.gethostbyname(sys.argv[1]))\nexcept OSError: print('unknown')"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@pytest.fixture
def other_machine() -> Iterator[tuple[str, str]]:
    """A machine of this one's network, as far as containers can tell, and a port that is open there."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a network")
    ip("netns", "add", SPACE)
    try:
        ip("link", "add", "lblpd0", "type", "veth", "peer", "name", "lblpd1", "netns", SPACE)
        ip("addr", "add", f"{HERE}/24", "dev", "lblpd0")
        ip("link", "set", "lblpd0", "up")
        ip("-n", SPACE, "addr", "add", f"{THERE}/24", "dev", "lblpd1")
        ip("-n", SPACE, "link", "set", "lblpd1", "up")
        serve = ["ip", "netns", "exec", SPACE, "python3", "-c"]
        program = (
            "import socket, time; s = socket.create_server(('', 8080)); print('open', flush=True); time.sleep(600)"
        )
        with subprocess.Popen([*serve, program], stdout=subprocess.PIPE) as server:
            assert server.stdout is not None and server.stdout.readline() == b"open\n"
            yield THERE, "8080"
            server.kill()
    finally:
        ip("netns", "del", SPACE)


def python(stack: Clone, service: str, code: str, *arguments: str) -> str:
    return stack.run_in(service, "python", "-c", code, *arguments).strip()


def test_the_label_server_reaches_orthanc_and_no_other_machine(stack: Clone, other_machine: tuple[str, str]):
    image, network = "labelpod/label-server:local", f"{stack.project}_default"
    command = ["docker", "run", "--rm", "--network", network, "--entrypoint", "python", image, "-c", CONNECT]
    elsewhere = subprocess.run([*command, *other_machine], capture_output=True, text=True, check=True).stdout
    assert elsewhere == "connected\n", "another network leads there"
    assert python(stack, "label-server", CONNECT, "orthanc", "8042") == "connected"
    assert python(stack, "label-server", CONNECT, *other_machine) == "TimeoutError"


def test_the_label_server_looks_up_no_names_but_the_stacks(stack: Clone):
    assert ipaddress.ip_address(python(stack, "label-server", LOOK_UP, "orthanc")).is_private
    assert python(stack, "label-server", LOOK_UP, "example.com") == "unknown"


def test_no_service_has_swap(stack: Clone):
    listed = stack.compose("ps", "-q").stdout.split()
    form = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}"
    said = subprocess.run(["docker", "inspect", "-f", form, *listed], capture_output=True, text=True, check=True).stdout
    limits = [line.split() for line in said.splitlines()]
    assert len(limits) == 2 and all(memory == swap != "0" for memory, swap in limits)

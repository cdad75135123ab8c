"""The door as a cluster has it: the real HAProxy, which is told its label servers by the cluster's DNS."""

import re
import socketserver
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support import door
from tests.support.door import needs_haproxy
from tests.support.kubernetes import SEVERAL, manifests
from tests.support.ports import held_port
from tests.support.waiting import eventually

pytestmark = needs_haproxy
_A, _CUT_OFF = 1, 0x0200
_PLAIN_DNS = 512  # bytes of an answer to a question that allows no more


class ClusterDns(socketserver.BaseRequestHandler):
    """Answers as a cluster's DNS does: the addresses of all pods of a name, cut off after as much as is allowed."""

    server: "Pods"

    def handle(self) -> None:
        question, socket = self.request
        end = question.index(b"\0", 12) + 5
        name = question[13 : 13 + question[12]].decode()
        asks_for_a = struct.unpack(">H", question[end - 4 : end - 2])[0] == _A
        # EDNS stands behind the question: an empty name, its type, and how many bytes may be answered.
        allowed = struct.unpack(">H", question[end + 3 : end + 5])[0] if len(question) > end else _PLAIN_DNS
        count = self.server.pods[name] if asks_for_a else 0
        fitting = min(count, (allowed - end) // 16)
        flags = 0x8580 | (_CUT_OFF if fitting < count else 0)
        answers = [struct.pack(">HHHIH4B", 0xC00C, _A, 1, 5, 4, 127, 0, 1, number + 1) for number in range(fitting)]
        socket.sendto(
            question[:2] + struct.pack(">5H", flags, 1, fitting, 0, 0) + question[12:end] + b"".join(answers),
            self.client_address,
        )


class Pods(socketserver.ThreadingUDPServer):
    """A DNS of this machine's.

    Args:
        pods: how many each headless service has, by its name; from 127.0.1.1 on.

    """

    daemon_threads = True

    def __init__(self, pods: dict[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), ClusterDns)
        self.pods = pods


@contextmanager
def running(folder: Path, label_servers: int) -> Iterator[int]:
    """Run the door of a cluster; yields the port of its figures."""
    health, figures, servers = (held_port() for _ in range(3))
    with Pods({"label-server-pods": label_servers, "trainer-pods": 1}) as dns:
        threading.Thread(target=dns.serve_forever, daemon=True).start()
        text = manifests(SEVERAL | {"LABEL_SERVERS": str(label_servers)})["haproxy.cfg"]
        places = {"parse-resolv-conf": f"nameserver cluster 127.0.0.1:{dns.server_address[1]}"}
        places |= {"bind :8404": f"bind 127.0.0.1:{health}", "bind :8405": f"bind 127.0.0.1:{figures}"}
        places |= {"bind :8000": f"bind 127.0.0.1:{servers}", " hash-key addr": ""}  # Debian 12's has no such word
        for word, other in places.items():
            assert word in text, word
            text = text.replace(word, other)
        (folder / "haproxy.cfg").write_text(text)
        process = subprocess.Popen([str(door.PROGRAM), "-db", "-f", str(folder / "haproxy.cfg")])
        try:
            eventually(lambda: door.healthy(health), 10, "the door answers")
            yield figures
        finally:
            process.kill()
            process.wait()
            dns.shutdown()


@pytest.mark.parametrize("label_servers", [3, 64])
def test_the_door_knows_all_label_servers_that_the_dns_names(tmp_path: Path, label_servers: int):
    with running(tmp_path, label_servers) as figures:

        def without_address() -> list[str]:
            told = httpx.get(f"http://127.0.0.1:{figures}/metrics", trust_env=False).text
            of = r'haproxy_server_status{proxy="label-servers",server="([^"]+)",state="MAINT"} (\d)'
            found = dict(re.findall(of, told))
            assert len(found) == label_servers
            return [server for server, maintained in found.items() if maintained == "1"]

        eventually(lambda: not without_address(), 5, "each has an address")

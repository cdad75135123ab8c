"""The tunnel's ssh: it ends with us however we end, says that we are here, and is tried no longer than it helps."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from labelpod.errors import DeployError
from labelpod.runpod import ssh, tunnel
from labelpod.runpod.connection import Connection
from labelpod.runpod.pods import NotRunningError
from tests.support.paths import ROOT
from tests.support.ports import held_port
from tests.support.waiting import eventually

HERE = tunnel.Studies("127.0.0.1", 8042, "label-server", "its password", "the labels' key")
DRIVER = """
import signal, sys
from labelpod.runpod import tunnel
# Whoever runs the tests in the background may have them ignored.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
here = tunnel.Studies("127.0.0.1", 8042, "label-server", "its password")
with tunnel.ending_by_signal():
    tunnel.keep(lambda: [sys.argv[1], "labelpod@pod"], here, None, "http://127.0.0.1:9/", print)
"""
# Stands for ssh; what it does once it is connected is in the file `does` beside it.
SSH = """#!/bin/bash
cd "$(dirname "$0")"
if [[ ${@: -1} == dicomweb_login ]]; then
  cat >login
  echo "$(cat refusal 2>/dev/null)" >&2
  [[ ! -s refusal ]]
  exit
fi
echo "$*" >>calls
echo $$ >pid
. ./does
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "ssh"
    file.write_text(SSH)
    file.chmod(0o755)
    for name in ("_PAUSE_SECONDS", "_LONGEST_PAUSE"):
        monkeypatch.setattr(tunnel, name, 0)
    return file


def does(program: Path, *words: str) -> None:
    (program.parent / "does").write_text("\n".join(words))


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def driver(program: Path) -> Iterator[Callable[[], "subprocess.Popen[bytes]"]]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", DRIVER, str(program)]
        started.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL))
        eventually((program.parent / "pid").exists, 20, "ssh runs")
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL], ids=lambda n: n.name)
def test_whatever_ends_us_ends_ssh(driver, program: Path, number: signal.Signals):
    # Once it is told that we are here, it is ours to end.
    does(program, "read -r; sleep 60 & echo $! >child; exec sleep 60")
    process = driver()
    eventually(
        lambda: (program.parent / "child").exists() and (program.parent / "child").read_text(), 20, "it has a child"
    )
    pids = [int((program.parent / name).read_text()) for name in ("pid", "child")]
    process.send_signal(number)
    process.wait(20)
    # Of ssh's own children nothing but the group is known, and whoever is killed cannot end a group.
    for pid in pids[:1] if number == signal.SIGKILL else pids:
        eventually(lambda pid=pid: gone(pid), 20, "it has ended")
    if not gone(pids[1]):
        os.kill(pids[1], signal.SIGKILL)


def test_the_pod_hears_that_we_are_here(driver, program: Path):
    does(program, "head -c 3 >beats; sleep 60")
    driver()
    beats = program.parent / "beats"
    eventually(lambda: beats.exists() and beats.read_bytes() == b"\n\n\n", 20, "it hears")
    assert "labelpod@pod exec tunnel_lease" in (program.parent / "calls").read_text()


def test_under_nohup_the_terminal_may_go(program: Path):
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    code += "from labelpod.runpod import tunnel\n"
    code += "with tunnel.ending_by_signal(): print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_whatever_ssh_says_never_holds_it_up(program: Path):
    does(
        program,
        "head -c 300000 /dev/zero | tr '\\0' 'x' >&2; echo >&2; for i in {1..20000}; do echo $i; done >&2; exit 3",
    )
    with Connection([str(program), "labelpod@pod"], []) as connection:
        assert not connection.runs(20)
        assert connection.end() == "20000"


def test_where_there_is_no_setpriv_the_tunnel_is_opened_without(program: Path, tmp_path: Path, monkeypatch):
    does(program, "echo opened >&2; exit 3")
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "dirname").symlink_to(shutil.which("dirname") or "")
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    with Connection([str(program), "labelpod@pod"], []) as connection:
        assert not connection.runs(20)
        assert connection.end() == "opened"


# --- how often it is tried ---


def kept(program: Path) -> tuple[int, str]:
    """Keep a tunnel until it is given up; how often it was tried, and what is said then."""
    tries: list[int] = []

    def find() -> list[str]:
        tries.append(1)
        assert len(tries) < 100
        return [str(program), "labelpod@pod"]

    port = held_port()
    with pytest.raises(DeployError) as refused:
        tunnel.keep(find, HERE, port, f"http://127.0.0.1:{port}/", lambda: None)
    return len(tries), refused.value.message


@pytest.mark.parametrize(
    ("words", "most"),
    [
        ("Error: remote port forwarding failed for listen port 8042", 15),
        ("labelpod@pod: Permission denied (publickey).", 1),
        ("Host key verification failed.", 1),
        ("ssh: connect to host 192.0.2.1 port 22: Connection refused", 1),
    ],
)
def test_a_first_connection_that_never_succeeds_is_given_up_with_the_reason(program: Path, words: str, most: int):
    does(program, f"echo '{words}' >&2; exit 255")
    tries, said = kept(program)
    assert tries == most and words in said


def test_a_pod_of_another_laptops_launch_says_which_key_it_wants(program: Path):
    (program.parent / "refusal").write_text("labelpod@pod: Permission denied (publickey).")
    with pytest.raises(tunnel.RefusedError) as refused:
        tunnel.lend_login([str(program), "labelpod@pod"], HERE)
    assert "the machine that launched it: copy secrets/runpod_ssh_key and its .pub from there" in refused.value.remedy


def test_a_pod_that_lets_us_in_no_more_is_not_tried_for_ever(program: Path):
    """After it has been connected once."""
    does(program, "sleep 0.6; echo 'Connection reset by peer' >&2; exit 255")
    times: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def find() -> list[str]:
        times.append(1)
        if len(times) == 3:
            (program.parent / "refusal").write_text("labelpod@pod: Permission denied (publickey).")
        assert len(times) < 100
        return [str(program), "labelpod@pod"]

    try:
        with pytest.raises(tunnel.RefusedError, match="Permission denied"):
            tunnel.keep(find, HERE, server.server_port, f"http://127.0.0.1:{server.server_port}/", lambda: None)
    finally:
        server.shutdown()
        server.server_close()
    assert len(times) == 3


def test_a_label_server_that_never_answers_is_not_waited_for_for_ever(program: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tunnel, "_ANSWER_SECONDS", 1)
    does(program, "exec sleep 60")
    tries, said = kept(program)
    assert tries == 1 and "does not answer" in said
    assert gone(int((program.parent / "pid").read_text()))


# --- what it is asked and told ---


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A proxy that the environment names, and that answers whatever it is asked; what it was asked."""
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Proxy)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("host", ["127.0.0.1", "studies.invalid"])
def test_no_proxy_of_the_environment_sees_the_login_of_the_studies(proxy: list[str], host: str):
    with pytest.raises(DeployError, match="does not answer"):
        tunnel.check(tunnel.Studies(host, held_port(), "label-server", "its password"))
    assert proxy == []


def test_no_proxy_is_asked_for_our_own_end_of_the_tunnel_and_one_may_be_for_runpods(program: Path, proxy: list[str]):
    does(program, "sleep 1; echo 'Connection reset by peer' >&2; exit 255")
    for host, asked in (("127.0.0.1", 0), ("pod.invalid", 1)):
        with pytest.raises(DeployError):
            tunnel.keep(once(program), HERE, None, f"http://{host}:9/", lambda: None)
        assert len(proxy) == asked


def once(program: Path) -> Callable[[], list[str]]:
    """Finds the pod, and the next time that it is gone."""
    found = iter([[str(program), "labelpod@pod"]])

    def find() -> list[str]:
        for command in found:
            return command
        raise NotRunningError("there is no pod any more", "launch")

    return find


@pytest.mark.parametrize("name", ["plain", "with blanks in it", 'a "quote"', "50% off", "back\\slash", "it's", "a\tb"])
def test_a_path_of_whatever_name_reaches_ssh(tmp_path: Path, name: str):
    file = tmp_path / name / "key"
    options = [f"{each}={ssh._quoted(file)}" for each in ("IdentityFile", "UserKnownHostsFile")]
    words = ["ssh", "-G", "-F", "none", *(word for each in options for word in ("-o", each)), "pod"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("ssh is not installed (Debian package openssh-client)")
    shown = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    # It shows a path before names are put in for %.
    for option in ("identityfile", "userknownhostsfile"):
        assert shown[option].strip('"').replace("%%", "%") == str(file)

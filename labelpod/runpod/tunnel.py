"""The tunnel: 3D Slicer's port to the pod's label server, and the pod's way back to the studies on this machine.

Images stay where they are; no port of the pod is open but SSH. The login of the DICOMweb server goes through SSH as
well, so that RunPod's API never has it.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from labelpod import process
from labelpod.config.settings import LABEL_SERVER_USER, Settings
from labelpod.console import progress, say, say_command
from labelpod.errors import DeployError
from labelpod.host import ports
from labelpod.runpod.pods import NotRunningError
from labelpod.security import secret_files

_HERE = "127.0.0.1"
_POD_LABEL_SERVER, _POD_STUDIES = f"{_HERE}:8000", f"{_HERE}:8042"
_PAUSE_SECONDS = 5
_LOGIN_SECONDS = 30


@dataclass(frozen=True)
class Studies:
    """A DICOMweb server that this machine reaches, the label server's login there, and the key of its labels."""

    host: str
    port: int
    username: str
    password: str
    label_key: str = ""


def studies(values: Settings, secrets: Path) -> Studies:
    """The one of the settings: the stack's Orthanc, or another.

    Args:
        values: the settings.
        secrets: the folder with the login at the stack's Orthanc.

    Raises:
        DeployError: the pod could not talk to it through a tunnel.

    """
    key_file = secrets / secret_files.LABEL_KEY
    key = key_file.read_text(encoding="utf-8").strip() if key_file.exists() else ""
    if values.STUDIES:
        url = urlsplit(values.STUDIES)
        if url.scheme != "http" or url.path.rstrip("/") != "/dicom-web" or not url.hostname:
            raise DeployError(
                f"LABELPOD_STUDIES={values.STUDIES} cannot be reached through the tunnel",
                "a pod asks for http://HOST:PORT/dicom-web; SSH encrypts it",
            )
        return Studies(
            url.hostname, url.port or 80, values.DICOMWEB_USERNAME, values.DICOMWEB_PASSWORD.get_secret_value(), key
        )
    if values.tls:
        raise DeployError(
            "the stack's Orthanc speaks HTTPS, and the tunnel takes it plain",
            "empty LABELPOD_TLS_CERT and LABELPOD_TLS_KEY in .env and run `python3 deploy.py up`; SSH encrypts the way",
        )
    file = secrets / secret_files.DICOMWEB_PASSWORD
    if not file.exists():
        raise DeployError("this machine's Orthanc has never been started", "python3 deploy.py up")
    return Studies(_HERE, values.ORTHANC_PORT, LABEL_SERVER_USER, file.read_text(encoding="utf-8").strip(), key)


def check(here: Studies) -> None:
    """See that the studies are there before anything is forwarded to them.

    Raises:
        DeployError: nothing answers, or not to this login.

    """
    url = f"http://{here.host}:{here.port}/dicom-web/studies"
    try:
        answer = httpx.get(url, params={"limit": "1"}, auth=(here.username, here.password), timeout=10)
    except httpx.HTTPError as error:
        raise DeployError(f"{url} does not answer ({type(error).__name__})", "python3 deploy.py up") from None
    if not answer.is_success:
        raise DeployError(f"{url} answers {answer.status_code}", "python3 deploy.py status shows the logins")


def free_port(wanted: int) -> int:
    """The wanted port, or the next one that is free: the stack's own label server may run here."""
    return next(port for port in range(wanted, 65536) if ports.holder(_HERE, port) is None)


def lend_login(ssh: list[str], here: Studies) -> None:
    """Give the pod the login of the studies; the pod keeps it on no volume.

    Raises:
        DeployError: SSH does not let us in.

    """
    say_command(*ssh, "dicomweb_login")
    lines = [here.username, here.password, *([here.label_key] if here.label_key else [])]
    login = "".join(f"{line}\n" for line in lines)
    result = process.run(*ssh, "dicomweb_login", input=login, seconds=_LOGIN_SECONDS)
    if result.returncode != 0:
        raise DeployError(f"ssh: {process.last_line(result.stderr)}", "python3 deploy.py runpod logs")


@contextmanager
def opened(ssh: list[str], here: Studies, port: int | None) -> Iterator[subprocess.Popen[str]]:
    """Forwardings that are there while the context is.

    Args:
        ssh: the command that leads to the pod.
        here: what the pod is to reach.
        port: of this machine, that leads to the pod's label server; None for none.

    """
    pod = ssh[-1]
    words = [*ssh[:-1], "-N", "-T", "-o", "ExitOnForwardFailure=yes"]
    words += ["-R", f"{_POD_STUDIES}:{here.host}:{here.port}"]
    words += ["-L", f"{_HERE}:{port}:{_POD_LABEL_SERVER}"] if port else []
    say_command(*words, pod)
    connection = subprocess.Popen([*words, pod], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield connection
    finally:
        connection.terminate()
        connection.wait()


def keep(find: Callable[[], list[str]], here: Studies, port: int | None, url: str, ready: Callable[[], None]) -> None:
    """Keep the tunnel open until interrupted, through whatever breaks it.

    Args:
        find: the command that leads to the pod, which may have moved; raises if it is gone.
        here: what the pod is to reach.
        port: of this machine, or None.
        url: of the label server, with the token.
        ready: called once, when the label server answers.

    Raises:
        NotRunningError: there is no pod to connect to any more.
        DeployError: the first connection failed.

    """
    told = False
    while True:
        try:
            ssh = find()
            lend_login(ssh, here)
        except DeployError as error:
            if not told or isinstance(error, NotRunningError):
                raise
            say(f"Not connected: {error.message}; trying again")
            time.sleep(_PAUSE_SECONDS)
            continue
        with opened(ssh, here, port) as connection:
            if _answers(url, connection):
                say("Connected again") if told else ready()
                told = True
            problem = _end(connection)
        # A connection that was cut, or one from elsewhere, holds the pod's side for up to a minute.
        if not told and "forwarding failed" not in problem:
            raise DeployError(f"ssh: {problem}", "python3 deploy.py runpod logs")
        say(f"The connection ended ({problem}); connecting again")
        time.sleep(_PAUSE_SECONDS)


def _end(connection: subprocess.Popen[str]) -> str:
    connection.wait()
    return process.last_line(connection.stderr.read() if connection.stderr else "")


def _answers(url: str, connection: subprocess.Popen[str]) -> bool:
    """Wait for the label server, which loads its models once it sees the studies; False if the tunnel ends."""
    with progress("The label server sees the studies and loads its models"):
        while connection.poll() is None:
            try:
                if httpx.get(f"{url}info/", timeout=15).is_success:
                    return True
            except httpx.HTTPError:
                pass
            time.sleep(1)
    return False

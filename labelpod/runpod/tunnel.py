"""The tunnel: 3D Slicer's port to the pod's label server, and the pod's way back to the studies on this machine.

Images stay where they are; no port of the pod is open but SSH. The login of the DICOMweb server goes through SSH as
well, so that RunPod's API never has it.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from labelpod import process
from labelpod.config.checked import LABEL_SERVER_USER
from labelpod.config.settings import Settings
from labelpod.console import progress, say, say_command
from labelpod.errors import DeployError
from labelpod.host import ports
from labelpod.runpod import bounded, keys
from labelpod.runpod.connection import Connection
from labelpod.runpod.pods import NotRunningError
from labelpod.security import secret_files
from labelpod_common.text import counted

_HERE = "127.0.0.1"
_POD_LABEL_SERVER, _POD_STUDIES = f"{_HERE}:8000", f"{_HERE}:8042"
_PAUSE_SECONDS, _LONGEST_PAUSE = 5, 60
_MOST_TRIES = 15
# The pod waits for a minute.
_BEAT_SECONDS, _LOOK_SECONDS = 10, 0.5
_LOGIN_SECONDS = 30
_CALL_SECONDS = 15
_ANSWER_SECONDS = 900
_LOGS = "python3 deploy.py runpod logs"
_OTHER_KEY = f"the pod lets in the machine that launched it: copy secrets/{keys.PRIVATE} and its .pub from there"


class RefusedError(DeployError):
    """The pod does not let us in, and will not."""


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
        # As ssh will reach it: through no proxy of the environment, which would be shown the login.
        with bounded.client(timeout=10, trust_env=False) as client:
            answer = client.get(url, params={"limit": "1"}, auth=(here.username, here.password))
    except httpx.HTTPError as error:
        raise DeployError(f"{url} does not answer ({type(error).__name__})", "python3 deploy.py up") from None
    if not answer.is_success:
        raise DeployError(f"{url} answers {answer.status_code}", "python3 deploy.py status shows the logins")


def free_port(wanted: int) -> int:
    """The wanted port, or the next one that is free: the stack's own label server may run here.

    Raises:
        DeployError: there is none.

    """
    found = next((port for port in range(wanted, 65536) if ports.holder(_HERE, port) is None), None)
    if found is None:
        raise DeployError(f"no port from {wanted} on is free on this machine", "choose a lower one with --port")
    return found


def lend_login(ssh: list[str], here: Studies) -> None:
    """Give the pod the login of the studies; the pod keeps it on no volume.

    Raises:
        RefusedError: SSH does not let us in.
        DeployError: there is no connection.

    """
    say_command(*ssh, "dicomweb_login")
    lines = [here.username, here.password, *([here.label_key] if here.label_key else [])]
    login = "".join(f"{line}\n" for line in lines)
    result = process.run(*ssh, "dicomweb_login", input=login, seconds=_LOGIN_SECONDS)
    if result.returncode != 0:
        told = f"ssh: {process.last_line(result.stderr)}"
        if "Permission denied" in result.stderr:
            raise RefusedError(told, _OTHER_KEY)
        raise DeployError(told, _LOGS)


def forwardings(here: Studies, port: int | None) -> list[str]:
    """Options of ssh's: the pod's way to the studies, and a port of this machine that leads to the label server."""
    to_the_pod = ["-L", f"{_HERE}:{port}:{_POD_LABEL_SERVER}"] if port else []
    return ["-R", f"{_POD_STUDIES}:{here.host}:{here.port}", *to_the_pod]


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
        DeployError: the first connection failed, or the pod lets us in no more.

    """
    told, failed = False, 0
    while True:
        try:
            ssh = find()
            lend_login(ssh, here)
            with Connection(ssh, forwardings(here, port)) as connection:
                if _answers(url, connection, told):
                    say("Connected again") if told else ready()
                    told, failed = True, 0
                while connection.runs(_BEAT_SECONDS):
                    pass
                problem = f"ssh: {connection.end()}"
        except DeployError as error:
            if not told or isinstance(error, NotRunningError | RefusedError):
                raise
            problem = error.message
        failed += 1
        # A connection that was cut, or one from elsewhere, holds the pod's side for up to a minute.
        if not told and ("forwarding failed" not in problem or failed == _MOST_TRIES):
            remedy = "`runpod connect` runs elsewhere; or python3 deploy.py runpod logs" if failed > 1 else _LOGS
            raise DeployError(f"{problem} (tried {counted(failed, 'time')})" if failed > 1 else problem, remedy)
        say(f"Not connected ({problem}); connecting again")
        time.sleep(min(_PAUSE_SECONDS * failed, _LONGEST_PAUSE) if told else _PAUSE_SECONDS)


@contextmanager
def ending_by_signal() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end what is in the context as Ctrl-C does, so that nothing of it is left running."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    # Under nohup the terminal may go.
    numbers = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _answers(url: str, connection: Connection, told: bool) -> bool:
    """Wait for the label server, which loads its models once it sees the studies; False if the tunnel ends.

    Raises:
        DeployError: it takes too long, and is not only away for a while.

    """
    deadline = time.monotonic() + _ANSWER_SECONDS
    far = urlsplit(url).hostname != _HERE  # there may be a proxy on the way to RunPod's, but none on the way to us
    with (
        progress("The label server sees the studies and loads its models"),
        bounded.client(timeout=_CALL_SECONDS, trust_env=far) as client,
    ):
        while connection.runs(_LOOK_SECONDS):
            with suppress(httpx.HTTPError):
                if client.get(f"{url}info/").is_success:
                    return True
            if time.monotonic() > deadline and not told:
                raise DeployError(f"the label server does not answer within {_ANSWER_SECONDS / 60:g} minutes", _LOGS)
    return False

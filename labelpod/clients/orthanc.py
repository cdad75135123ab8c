"""Orthanc's REST interface: where it answers, and how it is asked."""

import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from labelpod.config import addresses
from labelpod.config.settings import Settings
from labelpod.errors import DeployError
from labelpod.security import certificate
from labelpod_common.text import clean

_PAUSES = (0.2, 0.5, 1.0)  # seconds before each further attempt if a connection broke


@dataclass(frozen=True)
class Orthanc:
    """Where Orthanc answers, its login, and what its certificate is verified with."""

    url: str
    username: str
    password: str = field(repr=False)
    trust: ssl.SSLContext | bool = field(default=True, repr=False)

    @classmethod
    def of(cls, values: Settings) -> "Orthanc":
        """The stack's own."""
        url = addresses.orthanc(values).rstrip("/")
        return cls(url, values.ORTHANC_USERNAME, values.ORTHANC_PASSWORD.get_secret_value(), certificate.trust(values))


class RefusedError(DeployError):
    """Orthanc answered no to one request; the next may do better."""


class Connection:
    """Asks Orthanc. Keeps its connections open; threads may share it.

    Args:
        orthanc: where it answers.
        seconds: that an answer may take.

    """

    def __init__(self, orthanc: Orthanc, seconds: float = 60) -> None:
        self._orthanc = orthanc
        login = httpx.BasicAuth(orthanc.username, orthanc.password)
        # Proxies of the environment are for elsewhere.
        timeout = httpx.Timeout(seconds, connect=3)
        self._client = httpx.Client(
            base_url=orthanc.url, auth=login, timeout=timeout, verify=orthanc.trust, trust_env=False
        )

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def greet(self) -> None:
        """Raise a DeployError unless Orthanc answers and lets us in."""
        try:
            with self._expected():
                answer = self.ask("GET", "/system")
        except RefusedError:
            answer = None
        if not isinstance(answer, dict) or "ApiVersion" not in answer:
            raise DeployError(
                f"what answers at {self._orthanc.url} is not Orthanc", "correct LABELPOD_ORTHANC_PORT in .env"
            )

    def find(self, level: str, content: list[str], tags: Iterable[str] = (), **where: Any) -> list[Any]:
        """Everything there, in one request; `where` it matches, by Query or ParentSeries.

        Raises:
            DeployError: Orthanc does not answer.

        """
        question = {"Level": level, "Query": {}, "Expand": True, "ResponseContent": content} | where
        with self._expected():
            return list(self.ask("POST", "/tools/find", json=question | {"RequestedTags": list(tags)}))

    @contextmanager
    def _expected(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise DeployError(
                f"Orthanc does not answer at {self._orthanc.url} ({type(error).__name__})",
                "`python3 deploy.py status` says whether it runs, `python3 deploy.py up` starts it",
            ) from None

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """Orthanc's answer; asks again if the connection breaks.

        Raises:
            RefusedError: Orthanc says no.
            DeployError: Orthanc does not let us in.
            httpx.TransportError: the connection keeps breaking, or nothing comes back in time.

        """
        try:
            return self._accepted(method, path, **body).json()
        except ValueError:
            return {}

    def file(self, instance: str) -> bytes:
        """The DICOM file of an instance, by its Orthanc id; raises what `ask` does."""
        return self._accepted("GET", f"/instances/{instance}/file").content

    def _accepted(self, method: str, path: str, **body: Any) -> httpx.Response:
        answer = self._answer(method, path, **body)
        if answer.status_code == 401:
            raise DeployError(
                f"Orthanc does not accept the login of user {self._orthanc.username}",
                "LABELPOD_ORTHANC_PASSWORD in .env is not the one Orthanc started with: run `python3 deploy.py up`",
            )
        if answer.is_success:
            return answer
        try:
            content = answer.json()
        except ValueError:
            content = {}
        words = [content[key] for key in ("Message", "Details") if isinstance(content, dict) and content.get(key)]
        if answer.status_code == 403:  # access.lua gives no reason
            words = ["it is longer than LABELPOD_ORTHANC_MAX_BODY_MB, or access.lua does not allow it"]
        reason = clean(": ".join(words)) or f"HTTP {answer.status_code}"
        raise RefusedError(f"Orthanc refuses it: {reason}", "python3 deploy.py logs orthanc")

    def _answer(self, method: str, path: str, **body: Any) -> httpx.Response:
        for pause in _PAUSES:
            try:
                return self._client.request(method, path, **body)
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                time.sleep(pause)
        return self._client.request(method, path, **body)

"""The label server's HTTP interface as the driver uses it: with the token of admin, and errors that say what to do."""

from contextlib import suppress
from typing import Any

import httpx

from labelpod.config import addresses
from labelpod.config.settings import Settings
from labelpod.errors import DeployError
from labelpod.security import certificate

_LOG = "`python3 deploy.py logs label-server` says why"


class RefusedError(DeployError):
    """The label server said no.

    Args:
        status: of HTTP.
        detail: its own words.

    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"the label server answers {status}: {detail}", _LOG)
        self.status = status


class LabelServer:
    """Asks the stack's label server.

    Args:
        values: the settings.
        seconds: that an answer may take.

    Raises:
        DeployError: TLS_CERT cannot be read.

    """

    def __init__(self, values: Settings, seconds: float = 30) -> None:
        self._seconds = seconds
        self._client = httpx.Client(
            base_url=addresses.label_server_here(values),
            # In a header, because URLs are written to logs. Of several servers the one that trains is asked, if it is
            # there: what it says of trainings counts.
            headers={
                "Authorization": f"Bearer {values.LABEL_SERVER_TOKEN.get_secret_value()}",
                "Labelpod-Role": "all",
            },
            timeout=httpx.Timeout(seconds, connect=3),
            verify=certificate.trust(values),
            # Proxies of the environment are for elsewhere.
            trust_env=False,
        )

    def __enter__(self) -> "LabelServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def info(self) -> dict[str, Any]:
        """What the server says of itself: models, trainers, trainings, numbers of studies."""
        return dict(self.ask("GET", "info/"))

    def answers(self) -> bool:
        """Whether it serves."""
        with suppress(DeployError):
            return bool(self.info())
        return False

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """The answer's JSON.

        Raises:
            RefusedError: the server says no.
            DeployError: it does not answer, not in time, or does not let us in.

        """
        try:
            answer = self._client.request(method, path, **body)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                raise DeployError(
                    "the label server does not accept LABELPOD_LABEL_SERVER_TOKEN",
                    "run `python3 deploy.py up` to apply the new token",
                )
            if not answer.is_success:
                raise RefusedError(answer.status_code, _detail(answer))
            return answer.json()
        except httpx.ReadTimeout:
            raise DeployError(
                f"the label server is busy: no answer within {self._seconds:g} s",
                "`python3 deploy.py logs label-server` says with what",
            ) from None
        except (httpx.HTTPError, ValueError) as error:
            raise DeployError(
                f"no answer from the label server ({type(error).__name__})",
                "`python3 deploy.py status` says whether it runs, `python3 deploy.py up` starts it",
            ) from None


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase

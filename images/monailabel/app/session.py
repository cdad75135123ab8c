"""The HTTP session to the DICOMweb server: its login, and a bound on every wait.

Upstream's session has no time-out: an Orthanc that hangs hangs the label server for ever
(monailabel 0.8.5 reads MONAI_LABEL_DICOMWEB_READ_TIMEOUT nowhere).
"""

from typing import Any

import requests
from dicomweb_client.session_utils import create_session_from_user_pass
from monailabel.config import settings
from requests.adapters import HTTPAdapter

CONNECT_SECONDS = 3.0
# Between two pieces of an answer, not for the whole of it.
READ_SECONDS = 20.0


class _Bounded(HTTPAdapter):
    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = kwargs.get("timeout") or (CONNECT_SECONDS, READ_SECONDS)
        return super().send(request, *args, **kwargs)


def dicomweb_session() -> requests.Session:
    """A session with the login of MONAI_LABEL_DICOMWEB_USERNAME and _PASSWORD, where they are set."""
    user, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
    session: requests.Session = (
        create_session_from_user_pass(user, password) if user and password else requests.Session()
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Bounded())
    return session

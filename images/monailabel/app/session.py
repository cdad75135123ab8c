"""The HTTP session to the DICOMweb server: its login, and a bound on every wait.

Upstream's session has no time-out: an Orthanc that hangs hangs the label server for ever
(monailabel 0.8.5 reads MONAI_LABEL_DICOMWEB_READ_TIMEOUT nowhere).
"""

import requests
from dicomweb_client.session_utils import create_session_from_user_pass
from monailabel.config import settings

from app.bounded_session import bounded


def dicomweb_session() -> requests.Session:
    """A session with the login of MONAI_LABEL_DICOMWEB_USERNAME and _PASSWORD, where they are set."""
    user, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
    return bounded(create_session_from_user_pass(user, password) if user and password else requests.Session())

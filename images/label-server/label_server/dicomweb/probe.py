"""Whether the DICOMweb server accepts our login. Light on imports: it is asked before anything is loaded."""

import requests

from label_server.dicomweb import http_session


def problem(url: str, user: str, password: str, patience: float) -> str:
    """Why the DICOMweb server does not let us in; "" if it does.

    Args:
        url: of the DICOMweb server.
        user: its login, "" for none.
        password: of that login.
        patience: seconds that an answer may take.

    """
    session = http_session.session(user, password)
    try:
        answer = session.get(f"{url}/studies", params={"limit": "1"}, timeout=(3, patience))
    except requests.RequestException as error:
        return f"it cannot be reached ({type(error).__name__})"
    if answer.ok:
        return ""
    refused = f": the login of user {user!r} is not accepted" if answer.status_code in (401, 403) else ""
    return f"it answers {answer.status_code}{refused}"

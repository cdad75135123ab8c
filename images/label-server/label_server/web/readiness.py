"""Whether the DICOMweb server answers."""

import httpx
from monailabel.config import settings

from label_server.web import dicomweb_proxy

_SECONDS = 3


async def problem() -> str:
    """What is wrong with the DICOMweb server, in words behind its name; "" if it answers, or is a folder."""
    if settings.MONAI_LABEL_STUDIES.startswith("/"):
        return ""
    try:
        async with dicomweb_proxy.client(httpx.Timeout(_SECONDS)) as client:
            answer = await client.get(f"{settings.MONAI_LABEL_STUDIES.rstrip('/')}/studies", params={"limit": "1"})
    except httpx.HTTPError as error:
        return f"does not answer ({type(error).__name__})"
    return "" if answer.is_success else f"answers {answer.status_code}"

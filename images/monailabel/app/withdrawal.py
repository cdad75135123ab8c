"""Takes a DICOM SEG back from the archive, where that is an Orthanc: DICOMweb itself knows no deletion."""

import logging

import requests

logger = logging.getLogger(__name__)

_DICOMWEB = "/dicom-web"


def delete_series(session: requests.Session, dicomweb_url: str, uid: str) -> bool:
    """Delete one series.

    Args:
        session: with the login of the DICOMweb server.
        dicomweb_url: of that server.
        uid: of the series.

    Returns:
        Whether the series is gone; False where the server is no Orthanc, or does not allow it.

    """
    if not dicomweb_url.rstrip("/").endswith(_DICOMWEB):
        return False
    root = dicomweb_url.rstrip("/").removesuffix(_DICOMWEB)
    found = session.post(f"{root}/tools/lookup", data=uid)
    if not found.ok:
        return False
    for resource in found.json():
        if resource["Type"] == "Series" and not session.delete(f"{root}{resource['Path']}").ok:
            logger.warning(f"The DICOMweb server keeps {uid}, which was replaced or deleted")
            return False
    return True

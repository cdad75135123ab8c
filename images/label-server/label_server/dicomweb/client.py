"""The client of the DICOMweb server: upstream's, with bounded waits, and with files as they arrive."""

from collections.abc import Iterator

from dicomweb_client.web import _Transaction
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX

from label_server.dicomweb import http_session, login

_FILES = "application/dicom"


class DicomWebClient(DICOMwebClientX):
    """Upstream's client; a series need not be held in memory as a whole."""

    def series_files(self, study_uid: str, series_uid: str) -> Iterator[bytes]:
        """The DICOM files of a series, one by one as they arrive and as the server has them.

        Raises:
            requests.RequestException: the server refuses, or the connection ends.

        """
        url = self._get_series_url(_Transaction.RETRIEVE, study_uid, series_uid)
        # As they are stored: what a server cannot transcode it would not send.
        accept = f'multipart/related; type="{_FILES}"; transfer-syntax=*'
        answer = self._http_get(url, headers={"Accept": accept}, stream=True)
        if answer.headers["content-type"].startswith(_FILES):  # the only one, as it is: against the standard
            return iter([answer.content])
        return self._decode_multipart_message(answer, stream=True)


def client(url: str) -> DicomWebClient:
    """The client for a DICOMweb server, with the server's login."""
    made = DicomWebClient(
        url=url,
        session=http_session.session(*login.read()),
        qido_url_prefix=settings.MONAI_LABEL_QIDO_PREFIX,
        wado_url_prefix=settings.MONAI_LABEL_WADO_PREFIX,
        stow_url_prefix=settings.MONAI_LABEL_STOW_PREFIX,
    )
    # The client's own retries would make five time-outs of one.
    made.set_http_retry_params(retry=False)
    return made

"""The tags under which the driver keeps the images, whatever source they came from: compose.yaml needs no choice."""

from labelpod.config.settings import Settings

BASE_TAG = "labelpod/debian:bookworm"
TRIXIE_TAG = "labelpod/debian:trixie"
ORTHANC_TAG = "labelpod/orthanc:local"
POSTGRES_TAG = "labelpod/postgres:local"
LABEL_SERVER_TAG = "labelpod/label-server:local"


def service_tags(settings: Settings) -> tuple[str, ...]:
    """The images that the services of these settings run."""
    return (ORTHANC_TAG, LABEL_SERVER_TAG, *([POSTGRES_TAG] if settings.postgres else []))

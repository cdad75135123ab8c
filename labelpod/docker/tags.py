"""The tags under which the driver makes the images, whatever their source, and under which a stack runs them."""

from labelpod.config.settings import Settings

BASE_TAG = "labelpod/debian:bookworm"
TRIXIE_TAG = "labelpod/debian:trixie"
ORTHANC_TAG = "labelpod/orthanc:local"
POSTGRES_TAG = "labelpod/postgres:local"
PROMETHEUS_TAG = "labelpod/prometheus:local"
LABEL_SERVER_TAG = "labelpod/label-server:local"
DOOR_TAG = "labelpod/door:local"
# Whatever the settings are.
SERVICE_TAGS = (ORTHANC_TAG, LABEL_SERVER_TAG, POSTGRES_TAG, PROMETHEUS_TAG, DOOR_TAG)


def service_tags(settings: Settings) -> tuple[str, ...]:
    """The images that the services of these settings run."""
    used = {POSTGRES_TAG: settings.postgres, PROMETHEUS_TAG: settings.monitoring, DOOR_TAG: settings.door}
    return tuple(tag for tag in SERVICE_TAGS if used.get(tag, True))


def own(tag: str, stack: str) -> str:
    """The tag under which the stack of this name runs an image: another checkout's build does not move it."""
    return f"{tag.rpartition(':')[0]}:{stack}"

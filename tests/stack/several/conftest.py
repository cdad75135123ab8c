"""One stack for all tests of this folder: two label servers, two Orthancs over one PostgreSQL, and the door."""

from collections.abc import Iterator

import pytest

from tests.stack.several.members import PASSWORD, TOKEN
from tests.support.clone import Clone


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory, engine: None) -> Iterator[Clone]:
    clone = Clone.make(tmp_path_factory.mktemp("several"), "labelpod-test-several")
    clone.environment |= {"LABEL_SERVER_TOKEN": TOKEN, "ORTHANC_PASSWORD": PASSWORD, "ORTHANC_DB": "postgres"}
    clone.environment |= {"LABEL_SERVERS": "2", "ORTHANC_SERVERS": "2"}
    clone.environment |= {"SERIES_QUIET_SECONDS": "2", "SLOW_CLIENT_SECONDS": "5"}
    try:
        clone.done("up", "--yes")
        yield clone
    finally:
        clone.cli("down", "--volumes", "--yes")

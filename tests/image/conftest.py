"""The built images."""

import pytest

from tests.support.clone import Clone


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory, engine: None) -> Clone:
    """A clone with its images built; a second build of the same is quick."""
    clone = Clone.make(tmp_path_factory.mktemp("image"), "labelpod-test-image")
    clone.done("build", "--yes")
    return clone

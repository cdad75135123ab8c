"""What the server's code runs on here is what it runs on in the image, but for what has stand-ins."""

import re

import pytest
import torch

from tests.support.paths import ROOT

WEB = ("fastapi", "starlette", "anyio", "uvicorn", "python-multipart", "pydantic", "pydantic-settings", "httpx")
OTHERS = ("filelock", "cachetools", "passlib", "pyjwt", "psutil", "schedule", "watchdog", "setuptools", "requests")
FILES = ("dicomweb-client", "isal", "simpleitk")


def versions(*locks: str) -> dict[str, str]:
    text = "\n".join((ROOT / lock).read_text() for lock in locks)
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", text, re.M))


@pytest.mark.parametrize("name", WEB + OTHERS + FILES)
def test_a_package_has_the_version_of_the_image(name: str):
    here = versions("tests/requirements.lock", "requirements.lock")[name]
    assert here == versions("images/label-server/requirements.lock")[name], "tests/requirements.in follows the image"


def test_a_checkpoint_that_is_read_with_its_code_is_noticed(tmp_path):
    with pytest.raises(AssertionError, match="no code"):
        torch.load(tmp_path / "x.pt", map_location="cpu", weights_only=False)

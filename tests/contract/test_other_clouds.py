"""The examples for dstack and SkyPilot hold no secret, and are true of our image. Their programs: tests/kubernetes."""

from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT

EXAMPLES = ("dstack.yml", "skypilot.yaml")
SECRETS = {"LABEL_SERVER_TOKEN", "DICOMWEB_PASSWORD", "LABEL_KEY"}


def example(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docs" / "examples" / name).read_text()))


def told(name: str) -> dict[str, str | None]:
    """The environment of an example; None for what whoever starts it gives."""
    found = example(name)
    if "env" in found:
        pairs = [str(each).partition("=") for each in found["env"]]
        return {key: value if equals else None for key, equals, value in pairs}
    return found["envs"] | found["secrets"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_secret_stands_in_the_example(name: str):
    assert {key for key, value in told(name).items() if value is None} == SECRETS


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_image_reads_what_the_example_tells_it(name: str):
    started = (ROOT / "templates" / "start_server.sh.j2").read_text()
    own = {"LABEL_KEY", "LABEL_SERVER_TOKEN"}  # the example's commands read the one, label_server/users.py the other
    assert [key for key in told(name) if key not in own and f"{key}:-" not in started] == []
    commands = str(example(name).get("commands") or example(name)["run"])
    assert "LABEL_KEY_FILE=/tmp/label_key start_server" in commands and "--unset=LABEL_KEY " in commands

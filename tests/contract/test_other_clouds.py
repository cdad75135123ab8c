"""The examples for dstack and SkyPilot: held against their own schemas, and true of our image.

Each schema is what the package of that version says of itself:

    from dstack._internal.core.models.configurations import TaskConfiguration
    TaskConfiguration.model_json_schema()

    from sky.utils import schemas
    task = schemas.get_task_schema()
    task["properties"]["resources"] = schemas.get_resources_schema()
"""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.paths import ROOT

SCHEMAS = Path(__file__).with_name("schemas")
EXAMPLES = {"dstack.yml": "dstack-0.22.5-task.json", "skypilot.yaml": "skypilot-0.14.1-task.json"}
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
def test_its_own_schema_takes_the_example_and_no_misspelt_word_of_it(name: str):
    schema, found = json.loads((SCHEMAS / EXAMPLES[name]).read_text()), example(name)
    jsonschema.validate(found, schema)
    for key in found:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({f"{each}x" if each == key else each: found[each] for each in found}, schema)
    resources = {f"{each}x": value for each, value in found["resources"].items()}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found | {"resources": resources}, schema)


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

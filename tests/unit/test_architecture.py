"""What must never import what, and that no rooms need each other."""

import pytest

from docs.tools import architecture
from tests.support import imports

FORBIDDEN = [
    ("labelpod_common", "labelpod"),
    ("labelpod_common", "label_server"),
    ("labelpod", "label_server"),
    ("label_server", "labelpod"),
    ("label_server.web", "label_server.radiology"),
]


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize(("here", "there"), FORBIDDEN)
def test_forbidden_imports(here, there):
    found = {module: used for module, used in imports.imports().items() if within(module, here)}
    assert found
    assert [(module, each) for module, used in found.items() for each in used if within(each, there)] == []


def test_nothing_below_the_command_line_imports_it():
    above = ("labelpod.cli", "labelpod.__main__")
    users = {module for module, used in imports.imports().items() for each in used if within(each, "labelpod.cli")}
    assert users <= set(above)
    below = {
        module
        for module, used in imports.imports().items()
        for each in used
        if within(each, "labelpod.commands") and not within(module, "labelpod.commands")
    }
    assert below <= set(above)


@pytest.mark.parametrize("package", ["labelpod", "label_server"])
def test_no_rooms_need_each_other(package):
    graph = imports.rooms(package)
    assert len(graph) > 5
    assert imports.circles(graph) == []


def test_the_drawing_is_that_of_the_code():
    text = (imports.ROOT / "ARCHITECTURE.md").read_text()
    assert architecture.drawn(text) == text, "type .venv/bin/python docs/tools/architecture.py"

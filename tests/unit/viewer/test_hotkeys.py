"""The keys of the mode Label."""

import re
from collections import Counter

import pytest

from label_server.web.ohif import OWN
from tests.support import node

# Of what every mode of OHIF 3.13 has: its core, and its extensions default and cornerstone.
OHIFS_COMMANDS = {
    *("undo", "redo", "nextImage", "previousImage", "firstImage", "lastImage", "incrementActiveViewport"),
    *("decrementActiveViewport", "scaleUpViewport", "scaleDownViewport", "resetViewport", "invertViewport"),
    *("deleteActiveAnnotation", "cancelActiveOperation"),
}


@pytest.fixture(scope="module")
def bindings() -> list[dict]:
    return node.run("return (await use('hotkeys.js')).BINDINGS;")


def defined() -> set[str]:
    """Our own commands; their module needs a browser."""
    return set(re.findall(r"^  (\w+): does\(", (OWN / "commands.js").read_text(), re.MULTILINE))


def test_every_key_has_a_command(bindings):
    """OHIF passes over a key whose command is not defined, and says nothing."""
    assert {each["commandName"] for each in bindings} - OHIFS_COMMANDS <= defined()


def test_every_command_of_ours_has_a_key(bindings):
    assert defined() and defined() <= {each["commandName"] for each in bindings}


def test_no_key_does_two_things(bindings):
    keys = Counter(key for each in bindings for key in each["keys"])
    assert [key for key, count in keys.items() if count > 1] == []


def test_every_key_is_explained(bindings):
    labels = [each["label"] for each in bindings]
    assert all(labels) and len(set(labels)) == len(labels)


def test_the_panel_names_the_key_of_each_tool(bindings):
    shown = dict(re.findall(r'^  (\w+): \{.* key: "(\w)"', (OWN / "editing.js").read_text(), re.MULTILINE))
    tools = [each for each in bindings if each["commandName"] == "labelTool"]
    assert shown and {each["commandOptions"]["name"]: each["keys"][0].upper() for each in tools} == shown


def test_every_window_has_a_key(bindings):
    windows = node.run("return Object.keys((await use('windows.js')).WINDOWS);")
    named = [each["commandOptions"]["name"] for each in bindings if each["commandName"] == "labelWindow"]
    assert windows and sorted(named) == sorted(windows)

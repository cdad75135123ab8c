"""That the viewer's modules fit each other: what nobody builds, nobody but a browser would notice."""

import re
from pathlib import Path

import pytest

from label_server.web.ohif import OWN

MODULES = sorted(OWN.glob("*.js"))
ADDRESS = re.compile(r"/ohif/labelpod/([\w.-]*)")
ADDRESSES = sorted({(file.name, name) for file in MODULES for name in ADDRESS.findall(file.read_text())})
# Of the extensions that every mode of OHIF 3.13 has: @ohif/core and @ohif/extension-default, -cornerstone.
OHIFS_COMMANDS = {
    *("undo", "redo", "nextImage", "previousImage", "firstImage", "lastImage", "incrementActiveViewport"),
    *("decrementActiveViewport", "scaleUpViewport", "scaleDownViewport", "resetViewport", "invertViewport"),
    *("deleteActiveAnnotation", "cancelActiveOperation"),
}
_NAMES = r"[\w$\s,]*"


def exported(text: str) -> set[str]:
    """The names that a module gives, `default` among them."""
    names = set(re.findall(r"^export (?:async )?(?:function|class|const|let) ([\w$]+)", text, re.MULTILINE))
    for listed in re.findall(rf"^export {{({_NAMES})}}", text, re.MULTILINE):
        names |= {each.split()[-1] for each in listed.split(",") if each.strip()}
    return names | ({"default"} if re.search(r"^export default\b", text, re.MULTILINE) else set())


def imported(text: str) -> dict[str, set[str]]:
    """The names that a module takes, by the file that it takes them from."""
    found: dict[str, set[str]] = {}
    code = re.sub(r"^import [^;]*;", "", text, flags=re.MULTILINE)
    for what, file in re.findall(r"^import (?:([^;\"]+?) from )?\"(\./[\w.-]+)\";", text, re.MULTILINE):
        names = found.setdefault(file.removeprefix("./"), set())
        for listed in re.findall(rf"{{({_NAMES})}}", what):
            names |= {each.split(" as ")[0].strip() for each in listed.split(",") if each.strip()}
        for alias in re.findall(r"\* as ([\w$]+)", what):
            names |= set(re.findall(rf"(?<![\w$.]){alias}\.([\w$]+)", code))
        if re.match(r"[\w$]+", what):
            names.add("default")
    return found


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.name)
def test_a_module_takes_only_what_the_other_gives(file: Path):
    for name, names in imported(file.read_text()).items():
        other = OWN / name
        assert other.is_file(), f"{file.name} takes something from {name}, which is not there"
        assert names <= exported(other.read_text()), f"{file.name} takes something that {name} does not give"


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.name)
def test_every_import_is_understood_by_these_tests(file: Path):
    text = file.read_text()
    count = len(re.findall(r"^import\b", text, re.MULTILINE))
    assert count == len(re.findall(r"^import (?:[^;\"]+? from )?\"\./[\w.-]+\";", text, re.MULTILINE))
    assert "import(" not in text


@pytest.mark.parametrize(("file", "name"), ADDRESSES)
def test_an_address_of_ours_is_a_file(file: str, name: str):
    assert (OWN / name).is_file(), f"{file} names /ohif/labelpod/{name}"


def test_there_are_addresses_of_ours():
    assert {name for _, name in ADDRESSES} >= {"extension.js", "mode.js", "panel.css"}


def test_modules_ask_no_other_host():
    host = re.compile(r"[\"'`(](?:https?:)?//[^\"'`]*")
    named = {file.name: host.findall(file.read_text()) for file in OWN.iterdir() if file.is_file()}
    assert {name: found for name, found in named.items() if found} == {}

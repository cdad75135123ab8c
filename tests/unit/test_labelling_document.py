"""docs/labelling.md says what the viewer shows: its keys, and in the panel's own words its messages."""

import os
import re

from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "labelling.md"
SCRIPTS = ROOT / "images" / "label-server" / "label_server" / "web" / "ohif" / "scripts"
# What editing.js and windows.js have in HU: a name, and two numbers.
RANGE = re.compile(r"\"?([a-z][a-z -]*)\"?: (?:\[|\{ width: )(-?\d+), (?:center: )?(-?\d+)")
KEYS = re.compile(r"(<!-- keys[^>]*-->\n).*?(<!-- /keys -->)", re.DOTALL)
# hotkeys.js: what a key does, and the key; one binding stands for the nine digits.
BINDING = re.compile(r"""(?:of|tool|preset)\(["`]([^"`]+)["`], ["`]([^"`]+)["`]""")
# Statements in which the panel speaks, the literals in them, and what it fills into those.
SPEAKS = re.compile(
    r"\b(?:say\(|ask\(|return |(?:problem|message|running\.text)(?::| =) |const (?:advice|login) = )([^;]*)[;}]"
)
LITERAL = re.compile(r"\"([^\"\n]*)\"|`([^`]*)`")
FILLED = re.compile(r"\$\{[^}]*\}")
WORDS = re.compile(r"[A-Za-z]+ [a-z]+")


def table() -> str:
    """The keys of hotkeys.js, in its order."""
    script = (SCRIPTS / "hotkeys.js").read_text().replace("${index}", "1 … 9")
    rows = [f"| `{key.title()}` | {does} |" for does, key in BINDING.findall(script)]
    return "\n".join(["", "| key | what it does |", "|---|---|", *rows, ""])


def words() -> str:
    """The document without its lines' ends."""
    return " ".join(DOCUMENT.read_text().split())


def said(script: str) -> set[str]:
    """What a script may say: the parts of its sentences between what is filled in."""
    literals = ["".join(groups) for statement in SPEAKS.findall(script) for groups in LITERAL.findall(statement)]
    parts = [part.strip() for literal in literals for part in FILLED.split(literal)]
    return {part for part in parts if WORDS.search(part)}


def test_the_table_of_keys_has_exactly_the_keys_of_the_viewer():
    text = DOCUMENT.read_text()
    right = KEYS.sub(lambda found: f"{found[1]}{table()}\n{found[2]}", text)
    if os.environ.get("UPDATE_GOLDEN"):
        DOCUMENT.write_text(right)
    assert DOCUMENT.read_text() == right, "run this test once with UPDATE_GOLDEN=1"


def test_every_binding_of_the_viewer_is_in_that_table():
    script = (SCRIPTS / "hotkeys.js").read_text()
    bindings = re.findall(r"^ +(?:\.\.\..*=> )?(?:of|tool|preset)\(", script, re.MULTILINE)
    assert len(bindings) == len(BINDING.findall(script)) > 30


def test_every_message_of_the_panel_is_explained():
    messages = {part for file in sorted(SCRIPTS.glob("*.js")) for part in said(file.read_text())}
    assert len(messages) > 40
    assert [part for part in sorted(messages) if part not in words()] == []


def test_the_windows_and_what_the_threshold_brush_paints_are_the_viewers():
    document = words().replace("\N{MINUS SIGN}", "-")
    ranges = RANGE.findall((SCRIPTS / "editing.js").read_text())
    windows = RANGE.findall((SCRIPTS / "windows.js").read_text())
    assert len(ranges) == len(windows) == 3
    assert [each for each in ranges if "`{}` {} to {} HU".format(*each) not in document] == []
    assert [each for each in windows if "{} ({}, {})".format(*each) not in document] == []


def test_every_message_of_the_panel_is_seen_in_a_test():
    tests = " ".join(
        file.read_text() for tier in ("unit", "stack") for file in (ROOT / "tests" / tier / "viewer").glob("*.py")
    )
    messages = {part for file in sorted(SCRIPTS.glob("*.js")) for part in said(file.read_text())}
    assert [part for part in sorted(messages) if part not in tests] == []

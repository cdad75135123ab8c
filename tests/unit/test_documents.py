"""What the documents say of settings and verbs is what the code does."""

import os
import re

import pytest

from labelpod import cli
from labelpod.config import settings_text
from labelpod.config.settings import PREFIX, Settings
from tests.support.paths import ROOT

README, SETTINGS = ROOT / "README.md", ROOT / "docs" / "settings.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
TABLE = re.compile(r"(<!-- settings[^>]*-->\n).*?(<!-- /settings -->)", re.DOTALL)


def test_the_table_of_settings_is_the_settings_own():
    text = SETTINGS.read_text()
    right = TABLE.sub(lambda found: f"{found[1]}\n{settings_text.table()}\n{found[2]}", text)
    if os.environ.get("UPDATE_GOLDEN"):
        SETTINGS.write_text(right)
    assert SETTINGS.read_text() == right, "run this test once with UPDATE_GOLDEN=1"


def test_every_verb_that_a_document_names_is_there(capsys):
    texts = "".join(document.read_text() for document in DOCUMENTS if document.name != "CHANGELOG.md")
    for verb in sorted(set(re.findall(r"deploy\.py ([a-z]+)", texts))):
        assert cli.main([verb, "--help"]) == 0, verb


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_everything_that_a_document_links_is_there(document):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_every_setting_that_a_document_names_is_one():
    known = {PREFIX + name for name in Settings.model_fields}
    for document in DOCUMENTS:
        named = set(re.findall(rf"\b{PREFIX}[A-Z][A-Z_]*[A-Z]\b", document.read_text()))
        assert named <= known, document.name


def test_every_test_that_is_named_as_keeping_a_promise_is_there():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "security.md").read_text())
    assert len(named) > 30
    assert [name for file, name in named if f"def {name}(" not in (ROOT / file).read_text()] == []

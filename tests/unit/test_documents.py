"""What the documents say of settings and verbs is what the code does."""

import os
import re
import subprocess
import sys

from labelpod import settings
from tests.conftest import ROOT

README = ROOT / "README.md"
TABLE = re.compile(r"(<!-- settings[^>]*-->\n).*?(<!-- /settings -->)", re.DOTALL)


def test_readmes_table_of_settings_is_the_settings_own():
    text = README.read_text()
    right = TABLE.sub(lambda found: f"{found[1]}\n{settings.table()}\n{found[2]}", text)
    if os.environ.get("UPDATE_GOLDEN"):
        README.write_text(right)
    assert README.read_text() == right, "run this test once with UPDATE_GOLDEN=1"


def test_every_verb_that_readme_names_is_there():
    for verb in sorted(set(re.findall(r"deploy\.py ([a-z]+)", README.read_text()))):
        help_text = subprocess.run(
            [sys.executable, "-m", "labelpod.cli", verb, "--help"], cwd=ROOT, capture_output=True, check=False
        )
        assert help_text.returncode == 0, verb


def test_every_picture_and_file_that_readme_links_is_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (ROOT / target).exists(), target

"""Which tests run beside which."""

import re

from tests.support.by_stack import FOLDERS, OWN, SHARED, stack
from tests.support.paths import ROOT

FILES = [path for tier in ("stack", "clients") for path in (ROOT / "tests" / tier).rglob("test_*.py")]


def test_each_stack_that_is_named_has_tests():
    assert {*OWN.values(), *FOLDERS, SHARED} == {stack(path) for path in FILES}


def test_what_has_a_stack_of_its_own_does_not_start_the_shared_one_as_well():
    for path in FILES:
        own = stack(path) not in (*FOLDERS, SHARED)
        assert not (own and re.search(r"\brunning: Clone|def test_\w+\([^)]*\bstack: Clone", path.read_text())), path


def test_what_stops_the_engine_runs_alone():
    for path in FILES:
        text = path.read_text()
        assert "reboot()" not in text or "pytestmark = pytest.mark.reboots" in text, path

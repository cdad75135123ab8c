"""Which tests run beside which."""

from collections import Counter

from tests.support.by_stack import OWN, SEVERAL, SHARED, stack
from tests.support.paths import ROOT

FILES = [path for tier in ("stack", "clients") for path in (ROOT / "tests" / tier).rglob("test_*.py")]


def test_whoever_names_the_fixture_of_a_stack_is_where_it_is():
    """What needs another test's stack would get one of its own, and wait for it."""
    for path in FILES:
        if stack(path.relative_to(ROOT)) not in (SHARED, SEVERAL):
            assert "running: Clone" not in path.read_text() and "pacs: Pacs, annotator" not in path.read_text(), path


def test_each_stack_that_is_named_has_tests():
    assert {*OWN.values(), SHARED, SEVERAL} == set(Counter(stack(path) for path in FILES))

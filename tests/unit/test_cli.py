"""The command line's own promises: usage, exit codes, one line of what and one of what to do."""

import json

import pytest

from labelpod import cli, doctor, lifecycle, testing
from labelpod.errors import DeployError
from labelpod.machine import Finding

VERBS = ("up", "down", "status", "logs", "doctor", "render", "build", "studies push", "studies list", "studies check")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    def fail(error: BaseException) -> None:
        def raise_it(**_: object) -> None:
            raise error

        monkeypatch.setattr(lifecycle, "build", raise_it)

    return fail


@pytest.mark.parametrize("verb", [*VERBS, "test"])
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([*verb.split(), "--help"])
    assert ended.value.code == 0 and "usage: deploy.py" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["fly"], ["up", "--cpu", "--gpu"], ["studies", "push"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2 and "usage" in capsys.readouterr().err


def test_an_error_is_two_lines_and_exit_code_1(failing, capsys):
    failing(DeployError("the disk is full", "free some"))
    assert cli.main(["build"]) == 1
    assert capsys.readouterr().err == "Error: the disk is full\n       free some\n"


def test_a_traceback_is_shown_only_when_asked_for(failing, capsys):
    failing(DeployError("the disk is full", "free some"))
    assert cli.main(["--verbose", "build"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_interruption_says_that_the_same_command_goes_on(failing, capsys):
    failing(KeyboardInterrupt())
    assert cli.main(["build"]) == 130
    assert "goes on" in capsys.readouterr().err


@pytest.mark.parametrize(("level", "code"), [("ok", 0), ("warning", 0), ("error", 1)])
def test_doctor_exits_with_1_where_something_must_be_mended(level, code, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda _: [Finding(level, "disk", "full", "free some")])
    assert cli.main(["doctor", "--json"]) == code
    assert json.loads(capsys.readouterr().out)[0]["level"] == level


def test_an_unknown_test_tier_is_refused_with_those_that_there_are(capsys):
    assert cli.main(["test", "speed"]) == 1
    assert ", ".join(testing.TIERS) in capsys.readouterr().err

"""The command line's own promises: usage, exit codes, one line of what and one of what to do."""

import json
import os
import shlex
import subprocess
import sys
from types import SimpleNamespace

import pytest
import typer

from labelpod import cli, console, lifecycle, testing
from labelpod.commands import options
from labelpod.doctor import examine, told
from labelpod.errors import DeployError
from labelpod.host import docker_install
from labelpod.models import history, training
from labelpod.project import Project
from labelpod_common.doctor_report import Finding
from tests.support.ct import ct
from tests.support.paths import ROOT

VERBS = (
    "up",
    "down",
    "status",
    "logs",
    "doctor",
    "render",
    "build",
    "studies push",
    "studies list",
    "studies check",
    "studies migrate",
)
VERBS += ("users add", "users list", "users revoke", "audit", "train", "history", "slicer")
VERBS += ("kubernetes up", "kubernetes status", "kubernetes down")
VERBS += ("models list", "models export", "models import", "models verify")
WRONG = [[], ["fly"], ["up", "--cpu", "--gpu"], ["studies", "push"], ["audit", "--since", "yesterday"]]
WRONG += [["train", "m", *words] for words in (["--watch", "--stop"], ["--epochs", "0"], ["--batch-size", "x"])]
WRONG += [["train", "m", "--val-split", share] for share in ("1", "-0.1", "nan", "half")]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    def fail(error: BaseException) -> None:
        def raise_it(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(lifecycle, "build", raise_it)

    return fail


@pytest.mark.parametrize("verb", [*VERBS, "test"])
def test_every_verb_explains_itself(verb, capsys):
    assert cli.main([*verb.split(), "--help"]) == 0
    words = capsys.readouterr().out
    assert f"Usage: deploy.py {verb}" in words and f"Example: deploy.py {verb}" in words


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_usage_exits_with_2(arguments, capsys):
    assert cli.main(arguments) == 2
    assert "Usage: deploy.py" in "".join(capsys.readouterr())


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
    assert "resumes" in capsys.readouterr().err


@pytest.mark.parametrize(("level", "code"), [("ok", 0), ("warning", 0), ("error", 1)])
def test_doctor_exits_with_1_where_something_must_be_mended(level, code, monkeypatch, capsys):
    kept = []
    monkeypatch.setattr(examine, "examine", lambda _: [Finding(level, "disk", "full", "free some")])
    monkeypatch.setattr(told, "keep", lambda findings, secrets: kept.append((findings[0].level, secrets.name)))
    assert cli.main(["doctor", "--json"]) == code
    assert json.loads(capsys.readouterr().out)[0]["level"] == level
    assert kept == [(level, "secrets")], "for the admin's start page"


def test_an_unknown_test_tier_is_refused_with_those_that_there_are(capsys):
    assert cli.main(["test", "speed"]) == 1
    assert ", ".join(testing.TIERS) in capsys.readouterr().err


@pytest.fixture
def tiers_run(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tiers that `test` would run; it installs nothing, and runs none."""
    run: list[str] = []
    monkeypatch.setattr(testing, "_install_programs", lambda yes: None)
    monkeypatch.setattr(testing, "_pytest", lambda _, tiers, *options: run.extend(tiers) or 0)
    return run


@pytest.mark.parametrize(
    ("tiers", "needed"), [([], True), (["clients"], True), (["unit", "contract"], False), (["kubernetes"], False)]
)
def test_an_engine_is_installed_and_started_for_the_tests_that_need_one(
    monkeypatch, tiers_run, tiers: list[str], needed: bool
):
    asked: list[bool] = []
    monkeypatch.setattr(docker_install, "ensure", asked.append)
    assert cli.main(["test", "--yes", *tiers]) == 0
    assert asked == [True] * needed


def test_without_an_engine_the_tests_run_and_it_is_said(monkeypatch, tiers_run, capsys):
    def refuse(yes: bool) -> None:
        raise DeployError("no root", "sudo")

    monkeypatch.setattr(docker_install, "ensure", refuse)
    assert cli.main(["test", "--yes"]) == 0
    assert tiers_run == testing.DEFAULT
    assert "no root: sudo; the tests that need Docker Engine skip" in "".join(capsys.readouterr())


def test_the_control_plane_runs_only_if_it_is_named(tiers_run):
    assert cli.main(["test", "--yes", "kubernetes", "unit"]) == 0
    assert tiers_run == ["unit", "kubernetes"] and "kubernetes" not in testing.DEFAULT


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What was asked for of trainings, in order; none is really run."""
    asked: list[tuple] = []
    for name in ("start", "running", "watch", "stop"):

        def note(_server: object, *arguments: object, name: str = name) -> str:
            asked.append((name, *arguments))
            return f"<{name}>"

        monkeypatch.setattr(training, name, note)
    return asked


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ("m", [("start", "m", None, None, None)]),
        (
            "m --epochs 5 --val-split 0.2 --batch-size 4 --watch",
            [("start", "m", 5, 0.2, 4), ("watch", "<start>")],
        ),
        ("--watch", [("running",), ("watch", "<running>")]),
        ("--stop", [("stop", None)]),
        ("m --stop", [("stop", "m")]),
    ],
)
def test_train_starts_shows_or_stops(arguments, asked, trainings):
    assert cli.main(["train", *arguments.split()]) == 0
    assert trainings == asked


def test_a_training_that_is_not_watched_says_how_to_look_and_to_stop(trainings, capsys):
    cli.main(["train", "m"])
    out = capsys.readouterr().out
    assert "train --watch" in out and "train --stop" in out


def test_history_is_shown_and_drawn(monkeypatch, capsys, tmp_path):
    drawn: list[tuple] = []
    monkeypatch.setattr(history, "runs", lambda _server, model: [{"model": model}])
    monkeypatch.setattr(history, "plot", lambda _stack, *arguments: drawn.append(arguments))
    assert cli.main(["history", "m", "--json", "--plot", str(tmp_path / "p.png")]) == 0
    assert json.loads(capsys.readouterr().out) == [{"model": "m"}]
    assert drawn == [([{"model": "m"}], tmp_path / "p.png")]


def test_the_slicer_script_is_said_to_hold_a_token_which_is_not_shown(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("LABELPOD_LABEL_SERVER_TOKEN", "t" * 32)
    assert cli.main(["slicer", "--output", str(tmp_path / "c.py")]) == 0
    out = capsys.readouterr().out
    assert "token" in out and f"Slicer --python-script {tmp_path / 'c.py'}" in out and "t" * 32 not in out
    assert (tmp_path / "c.py").exists()


def test_only_verbs_that_read_dicom_wait_for_its_libraries_to_load():
    code = "import sys, labelpod.cli; sys.exit(bool({'numpy', 'pydicom'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(("typed", "meant"), [("stauts", "status"), ("studys", "studies"), ("doctr", "doctor")])
def test_a_mistyped_verb_is_answered_with_the_nearest(typed, meant, capsys):
    assert cli.main([typed]) == 2
    assert f"Did you mean '{meant}'" in capsys.readouterr().err


def test_without_a_verb_the_verbs_are_shown(capsys):
    assert cli.main([]) == 2
    words = capsys.readouterr().out
    assert all(verb.split()[0] in words for verb in VERBS)


@pytest.mark.parametrize("module", ["labelpod", "labelpod.cli"])
def test_a_reader_that_has_gone_is_no_error(module, tmp_path):
    users = tmp_path / "secrets" / "users"
    users.mkdir(parents=True)
    entry = {"name": "n" * 60, "role": "admin", "sha256": "0" * 64}
    (users / "users.json").write_text(json.dumps({"users": [entry] * 5000}))
    program = (
        "from labelpod import project; from pathlib import Path; import runpy, sys;"
        f"project.Project.of_this_checkout = classmethod(lambda cls: cls(Path({str(tmp_path)!r})));"
        f"sys.argv[1:] = ['users', 'list', '--json']; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    )
    pipe = f"set -o pipefail; {sys.executable} -c {shlex.quote(program)} | head -1"
    result = subprocess.run(["bash", "-c", pipe], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "[\n", "")


def test_the_command_has_its_own_name_and_completion(capsys, monkeypatch):
    assert cli.main(["users", "--help"], name="labelpod") == 0
    assert "Usage: labelpod users" in capsys.readouterr().out
    monkeypatch.setenv("_LABELPOD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "labelpod stu")
    monkeypatch.setenv("COMP_CWORD", "1")
    cli.main([], name="labelpod")
    assert "studies" in capsys.readouterr().out


def test_an_end_of_input_at_a_question_is_a_no(monkeypatch):
    def end(*_: object, **__: object) -> str:
        raise EOFError

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(console.err, "input", end)
    assert console.confirmed("Delete everything?", yes=False) is False


def test_without_the_tests_packages_the_remedy_is_the_launcher(monkeypatch, capsys):
    monkeypatch.setattr(testing.importlib.util, "find_spec", lambda _: None)
    assert cli.main(["test", "unit"]) == 1
    assert "python3 deploy.py test" in capsys.readouterr().err


PATHS = ["studies push", "studies check", "models export m", "models import", "models verify", "slicer --output"]
PATHS += ["history --plot"]


@pytest.mark.parametrize("empty", ["", " "])
@pytest.mark.parametrize("verb", PATHS)
def test_an_empty_path_is_refused(verb, empty, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(cli.Project, "of_this_checkout", lambda: Project(tmp_path))
    assert cli.main([*verb.split(), empty]) == 2
    assert "an empty path: is a variable not set?" in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_every_verb_that_takes_a_path_refuses_an_empty_one():
    """typer's own type of a path takes an empty one for the folder that the user is in."""

    def commands(command: object, name: str = "") -> list[tuple[str, object]]:
        found = getattr(command, "commands", {})
        return [(name, command)] + [each for key in found for each in commands(found[key], f"{name} {key}".strip())]

    parsers = {
        (name, parameter.name): parameter.type_descriptor.parameter_info.parser
        for name, command in commands(typer.main.get_command(cli.app))
        for parameter in command.params
        if "Path" in str(parameter.type_descriptor.annotation)
    }
    assert ("studies push", "paths") in parsers and set(parsers.values()) == {options.path}


def test_paths_begin_where_the_user_stands_and_programs_there_are_not_run(tmp_path):
    (tmp_path / "CT1").mkdir()
    for number, content in enumerate(ct().files):
        (tmp_path / "CT1" / f"{number}.dcm").write_bytes(content)
    for name in ("pydicom", "numpy", "json", "labelpod", "pip"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('run from the folder of the user')\n")
    environment = {**os.environ, "LABELPOD_STARTED_IN": str(tmp_path)}
    command = [sys.executable, "-m", "labelpod", "studies", "check", "--json", "CT1"]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert [each["instances"] for each in json.loads(result.stdout)["series"]] == [len(ct().files)]

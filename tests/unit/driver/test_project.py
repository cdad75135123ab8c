"""The folder that a stack is run from."""

import pytest

from labelpod import cli, project
from labelpod.errors import DeployError
from labelpod.project import Project
from tests.support.paths import ROOT


def test_this_checkout_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Project.of_this_checkout() == Project(ROOT)


def test_a_copy_without_its_folder_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(project, "__file__", str(tmp_path / "site-packages" / "labelpod" / "project.py"))
    with pytest.raises(DeployError, match="is not a checkout of labelpod"):
        Project.of_this_checkout()
    assert cli.main(["status"]) == 1
    assert "pip install -e" in capsys.readouterr().err


def test_paths_are_shown_as_the_user_knows_them(tmp_path):
    here = Project(tmp_path)
    assert here.shown(here.build_log) == "build/build.log"
    assert here.shown(ROOT / "README.md") == str(ROOT / "README.md")

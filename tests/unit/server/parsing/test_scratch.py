"""A reader's folder goes, whatever was left in it."""

from pathlib import Path

import pytest

from label_server.parsing import scratch


def nested(folder: Path, depth: int) -> None:
    """Folders in each other, each put around the others: a path to the last one would be too long."""
    made, around = folder.with_name("made"), folder.with_name("around")
    made.mkdir()
    for _ in range(depth):
        around.mkdir()
        made.rename(around / "a")
        around.rename(made)
    made.rename(folder / "a")


def test_folders_in_folders_go(tmp_path: Path):
    with scratch.folder(tmp_path) as made:
        nested(made, 3000)
    assert list(tmp_path.iterdir()) == []


def test_folders_that_nobody_may_open_and_links_go_and_what_links_lead_to_stays(tmp_path: Path):
    (tmp_path / "others").mkdir()
    with scratch.folder(tmp_path) as made:
        (made / "shut" / "in").mkdir(parents=True)
        (made / "link").symlink_to(tmp_path / "others")
        (made / "shut").chmod(0)
    assert [path.name for path in tmp_path.iterdir()] == ["others"]


def test_it_goes_when_something_fails_in_it(tmp_path: Path):
    with pytest.raises(ValueError, match="x"), scratch.folder(tmp_path):
        raise ValueError("x")
    assert list(tmp_path.iterdir()) == []

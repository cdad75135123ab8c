"""The files of the audit log: only appended to, rotated by size, and read again whatever became of them."""

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from label_server import audit
from label_server.audit import Kind, Trail
from tests.support.paths import ROOT


def written(folder: Path, kind: Kind, number: int = 0) -> list[str]:
    return audit._file(folder, kind, number).read_text().splitlines()


def actions(folder: Path, **asked: str) -> list[str]:
    return [record["action"] for record in audit.records(folder, **asked)]


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    return Trail(tmp_path / "audit")


def test_a_record_is_one_line_that_only_its_owner_can_read(trail: Trail, tmp_path: Path):
    trail.write(Kind.CHANGE, {"user": "anna\nforged", "action": "train"})
    (line,) = written(tmp_path / "audit", Kind.CHANGE)
    assert json.loads(line)["user"] == "anna\nforged" and json.loads(line)["time"].endswith("Z")
    assert stat.S_IMODE((tmp_path / "audit").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "audit" / "changes.jsonl").stat().st_mode) == 0o600


def test_a_file_is_only_appended_to_by_one_write_a_line(trail: Trail, tmp_path: Path, monkeypatch):
    lengths: list[int] = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, content: lengths.append(len(content)) or write(file, content))
    for _ in range(3):
        trail.write(Kind.READ, {"action": "open image"})
    again = Trail(tmp_path / "audit")
    again.write(Kind.READ, {"action": "open image"})
    assert lengths == [len(line) + 1 for line in written(tmp_path / "audit", Kind.READ)]


def test_no_number_of_refusals_or_reads_pushes_a_change_out(trail: Trail, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(audit, "MAX_BYTES", 500)
    trail.write(Kind.CHANGE, {"user": "anna", "action": "submit label"})
    for number in range(200):
        trail.write(Kind.REFUSAL, {"user": "-", "action": "login", "address": f"10.0.0.{number}"})
        trail.write(Kind.READ, {"user": "eve", "action": "open image"})
    assert actions(tmp_path / "audit", user="anna") == ["submit label"]
    assert len(list((tmp_path / "audit").iterdir())) == 1 + 2 * audit.FILES


def test_files_are_rotated_by_size_and_the_oldest_goes(trail: Trail, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(audit, "MAX_BYTES", 100)
    monkeypatch.setattr(audit, "FILES", 3)
    for number in range(20):
        trail.write(Kind.CHANGE, {"action": f"{number:02}"})
    left = actions(tmp_path / "audit")
    assert left == sorted(left) and left[-1] == "19" and 3 <= len(left) < 10
    assert sorted(path.name for path in (tmp_path / "audit").iterdir()) == [
        *("changes.1.jsonl", "changes.2.jsonl", "changes.jsonl")
    ]


@pytest.mark.parametrize("torn", ['{"time": "2026-', "", "null", "[]", '{"time": 3}', "\x00\x00\x00"])
def test_a_torn_line_is_left_out_and_the_next_is_whole(trail: Trail, tmp_path: Path, torn: str):
    trail.write(Kind.CHANGE, {"action": "before"})
    with (tmp_path / "audit" / "changes.jsonl").open("a") as file:
        file.write(torn)
    assert actions(tmp_path / "audit") == ["before"]
    Trail(tmp_path / "audit").write(Kind.CHANGE, {"action": "after"})
    assert actions(tmp_path / "audit") == ["before", "after"]


def test_on_a_full_disk_it_says_so_and_resumes_by_itself(trail: Trail, tmp_path: Path, monkeypatch):
    write, full = os.write, [True]

    def fill(file: int, content: bytes) -> int:
        return write(file, content[:7]) if full else write(file, content)

    trail.write(Kind.CHANGE, {"action": "before"})
    monkeypatch.setattr(os, "write", fill)
    for _ in range(2):
        with pytest.raises(OSError) as raised:
            trail.write(Kind.CHANGE, {"action": "lost"})
        assert raised.value.errno == errno.ENOSPC
    assert not trail.works()
    full.clear()
    assert trail.works()
    trail.write(Kind.CHANGE, {"action": "after"})
    found = list(audit.records(tmp_path / "audit"))
    assert [record["action"] for record in found] == ["before", audit.LOST, "after"] and found[1]["times"] == 2


def test_a_file_that_somebody_removed_or_moved_away_is_made_again(trail: Trail, tmp_path: Path):
    trail.write(Kind.CHANGE, {"action": "before"})
    (tmp_path / "audit" / "changes.jsonl").unlink()
    trail.write(Kind.CHANGE, {"action": "after"})
    assert actions(tmp_path / "audit") == ["after"]
    (tmp_path / "audit" / "changes.jsonl").rename(tmp_path / "kept")
    trail.write(Kind.CHANGE, {"action": "later"})
    assert actions(tmp_path / "audit") == ["later"]


def test_a_link_in_the_place_of_a_file_is_not_followed(trail: Trail, tmp_path: Path):
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "changes.jsonl").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic"):
        trail.write(Kind.CHANGE, {"action": "train"})
    assert not (tmp_path / "other").exists()


@pytest.fixture
def past(tmp_path: Path) -> Path:
    """Some records of two days, in all three files."""
    folder = tmp_path / "audit"
    folder.mkdir()
    kept = {
        Kind.READ: [("2026-11-01T08:00:00.000Z", "anna", "open image", "1.1", "1.1.1")],
        Kind.CHANGE: [
            ("2026-11-01T08:05:00.000Z", "anna", "submit label", "1.1", "1.1.1"),
            ("2026-11-02T09:00:00.000Z", "berta", "submit label", "1.2", "1.2.1"),
        ],
        Kind.REFUSAL: [("2026-11-02T08:00:00.000Z", "-", "login", None, None)],
    }
    for kind, rows in kept.items():
        keys = ("time", "user", "action", "study", "series")
        lines = [json.dumps(dict(zip(keys, row, strict=True)) | {"outcome": 200}) for row in rows]
        (folder / f"{kind}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["open image", "submit label", "login", "submit label"]),
        ({"user": "anna"}, ["open image", "submit label"]),
        ({"study": "1.2"}, ["submit label"]),
        ({"study": "1.1.1"}, ["open image", "submit label"]),
        ({"since": "2026-11-02"}, ["login", "submit label"]),
        ({"user": "nobody"}, []),
    ],
    ids=["all", "user", "study", "series", "since", "nobody"],
)
def test_records_are_found_by_user_study_and_time_oldest_first(past: Path, asked: dict[str, str], expected: list[str]):
    assert actions(past, **asked) == expected


def test_each_user_was_last_seen_and_has_stored_labels(past: Path):
    assert audit.users(past) == {
        "anna": {"last_seen": "2026-11-01T08:05:00.000Z", "labels_stored": 1},
        "berta": {"last_seen": "2026-11-02T09:00:00.000Z", "labels_stored": 1},
    }


def test_the_program_prints_lines_and_users(past: Path, monkeypatch, capsys):
    monkeypatch.setenv("WORKSPACE", str(past.parent))
    audit.main(["--user", "berta"])
    assert json.loads(capsys.readouterr().out)["study"] == "1.2"
    audit.main(["--users"])
    assert set(json.loads(capsys.readouterr().out)) == {"anna", "berta"}


def test_the_program_tells_what_all_label_servers_on_a_volume_recorded(past: Path, monkeypatch, capsys, tmp_path: Path):
    further = past.parent / "servers" / "2"
    further.mkdir(parents=True)
    shutil.copytree(past, further / "audit")
    file = further / "audit" / f"{Kind.CHANGE}.jsonl"
    file.write_text(file.read_text().replace("berta", "clara"))
    monkeypatch.setenv("WORKSPACE", str(past.parent))
    audit.main([])
    times = [json.loads(line)["time"] for line in capsys.readouterr().out.splitlines()]
    assert len(times) == 8 and times == sorted(times)
    monkeypatch.setenv("WORKSPACE", str(tmp_path / "gone with its pod"))
    monkeypatch.setenv("SHARED", str(past.parent))
    audit.main(["--users"])
    assert set(json.loads(capsys.readouterr().out)) == {"anna", "berta", "clara"}, "from any of them"


def test_it_tells_of_more_label_servers_than_a_process_may_open_files(past: Path, tmp_path: Path):
    """In a cluster each pod leaves a folder."""
    for number in range(70):
        folder = tmp_path / "servers" / f"label-server-{number}"
        folder.mkdir(parents=True)
        shutil.copytree(past, folder / "audit")
    few = f"ulimit -Sn 64; exec {sys.executable} -m label_server.audit --study 1.2"
    environment = {"SHARED": str(tmp_path), "PYTHONPATH": str(ROOT / "images" / "label-server")}
    result = subprocess.run(["bash", "-c", few], env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "") and len(result.stdout.splitlines()) == 71


def test_without_a_record_there_is_nothing_to_tell(tmp_path: Path):
    assert list(audit.records(tmp_path / "audit")) == [] and audit.users(tmp_path / "audit") == {}


def test_the_newest_records_are_read_without_the_older_ones(tmp_path: Path):
    """A log that is full takes seconds to read, and the start page waits for it."""
    trail = Trail(tmp_path)
    for number in range(5000):
        trail.write(Kind.READ, {"user": "anna", "number": number, "padding": "x" * 50})
    trail.write(Kind.CHANGE, {"user": "berta"})
    found = list(audit.newest(tmp_path))
    reads = [record["number"] for kind, record in found if kind == Kind.READ]
    assert reads == list(range(reads[0], 5000)) and 1000 < len(reads) < 4000
    assert [record["user"] for kind, record in found if kind == Kind.CHANGE] == ["berta"]


def test_of_label_servers_that_are_long_gone_no_newest_records_are_read(tmp_path: Path):
    for name in ("here", "gone"):
        Trail(tmp_path / name).write(Kind.CHANGE, {"user": name})
    os.utime(tmp_path / "gone" / "changes.jsonl", (0, time.time() - 31 * 86400))
    found = audit.newest(tmp_path / "here", tmp_path / "gone", tmp_path / "never there")
    assert [record["user"] for _, record in found] == ["here"]

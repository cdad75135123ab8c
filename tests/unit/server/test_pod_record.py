"""A rented pod's record of trainings, on its way back to the volume."""

import sqlite3
from contextlib import closing
from pathlib import Path

from label_server.pod import record


def test_the_record_is_copied_whole_and_only_when_it_has_changed(tmp_path: Path):
    here, there = tmp_path / "here.db", tmp_path / "there.db"
    record.save(here, there)
    assert not there.exists()
    with closing(sqlite3.connect(here)) as database:
        database.execute("create table runs (name)")
        database.execute("insert into runs values ('first')")
        database.commit()
        record.save(here, there)
    with closing(sqlite3.connect(there)) as database:
        assert database.execute("select name from runs").fetchall() == [("first",)]
    before = there.stat().st_ino
    record.save(here, there)
    assert there.stat().st_ino == before

"""Writes a rented pod's record of trainings back to the volume, see start_server. Run by start_pod."""

import logging
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

logger = logging.getLogger("record")

_PERIOD_SECONDS = 15


def save(here: Path, there: Path) -> None:
    """Copy an SQLite database, whole, if it is newer than the copy.

    Raises:
        OSError, sqlite3.Error: it cannot be copied; the copy that is there stays.

    """
    if not here.exists() or (there.exists() and there.stat().st_mtime >= here.stat().st_mtime):
        return
    copy, draft = here.with_name(f"{here.name}.copy"), there.with_name(f"{there.name}.draft")
    with closing(sqlite3.connect(here)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    draft.write_bytes(copy.read_bytes())
    draft.replace(there)


def main() -> None:
    """Save it every few seconds; say each problem once."""
    here, there, said = Path(os.environ["POD_FOLDER"], "mlflow.db"), Path("/workspace/mlflow.db"), ""
    while True:
        problem = ""
        try:
            save(here, there)
        except (OSError, sqlite3.Error) as error:
            problem = str(error)
        if problem and problem != said:
            logger.warning(f"The record of trainings could not be saved: {problem}")
        said = problem
        time.sleep(_PERIOD_SECONDS)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="record: %(levelname)s %(message)s")
    main()

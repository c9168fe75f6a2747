"""Old runs leave the journal whole: by age first, then, the oldest first, by size.

What their calls cost is kept, summed by day, role, model, outcome and depth.
"""

import sqlite3
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rlm_mcp.rules import Keeping
from rlm_mcp.runs.alone import is_locked
from rlm_mcp.runs.bills import KEEP_SUMS
from rlm_mcp.runs.messages import REMOVE
from rlm_mcp.runs.owner import FOLDER

OPEN = "SELECT id, session FROM runs WHERE ended IS NULL"
RECLAIMED_PAGES = 250
STEP_EVENTS = 200
_BEFORE_STEP = "SELECT seq FROM events WHERE run = ? ORDER BY seq DESC LIMIT 1 OFFSET ?"
_SHORTEN = (
    "DELETE FROM events WHERE run = ? AND seq > ?",
    "DELETE FROM messages WHERE run = ? AND seq > ?",
    "DELETE FROM prompts WHERE run = ? AND seq > ?",
)


def at_work(db: sqlite3.Connection) -> set[str]:
    """The runs without an end whose session some process has."""
    (_, _, file), *_ = db.execute("PRAGMA database_list")
    folder = Path(file).parent / FOLDER
    return {run for run, session in db.execute(OPEN).fetchall() if is_locked(folder / session)}


def remove_oldest(db: sqlite3.Connection, keeping: Keeping) -> str | None:
    """Remove the oldest run, if it is too old or all are too much; its id, None if none is left.

    One at a time: between two of them others can write.
    """
    busy = at_work(db)
    runs = db.execute("SELECT id, started FROM runs ORDER BY started").fetchall()
    idle = next((row for row in runs if row[0] not in busy), None)
    if idle is None:
        return None
    run, started = idle
    is_old = started < _ago(timedelta(days=keeping.days))
    if not is_old and used_bytes(db) <= keeping.bytes:
        return None
    remove(db, run)
    return str(run)


def remove(db: sqlite3.Connection, run: str) -> None:
    """Remove all of a run but the sums of its calls.

    A long one is shortened from its end first: in one transaction it would need a log that a full
    disk has no room for. One that is broken off leaves a run that can be removed again.
    """
    while (last := db.execute(_BEFORE_STEP, (run, STEP_EVENTS)).fetchone()) is not None:
        with db:
            db.execute("BEGIN IMMEDIATE")
            for statement in _SHORTEN:
                db.execute(statement, (run, *last))
        db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    with db:
        db.execute("BEGIN IMMEDIATE")
        db.execute(KEEP_SUMS, (run,))
        for statement in REMOVE:
            db.execute(statement, (run,))
        db.execute("DELETE FROM calls WHERE run = ?", (run,))
        db.execute("DELETE FROM events WHERE run = ?", (run,))
        db.execute("DELETE FROM runs WHERE id = ?", (run,))
    db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def used_bytes(db: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def reclaim(db: sqlite3.Connection) -> bool:
    """Give some of the free pages back to the disk; whether there may be more.

    False too for an old file that cannot shrink: what is free there is used again.
    """
    before = _free_pages(db)
    # `execute` takes one step of a statement without rows, which here is a single page.
    db.executescript(f"PRAGMA incremental_vacuum({RECLAIMED_PAGES})")
    db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    return 0 < _free_pages(db) < before


def cut_log(db: sqlite3.Connection) -> None:
    """Fold the log file into the journal and cut it, unless another process reads just now."""
    with suppress(sqlite3.OperationalError):
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _free_pages(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA freelist_count").fetchone()[0])


def _ago(time: timedelta) -> str:
    return (datetime.now(UTC) - time).isoformat(timespec="milliseconds")

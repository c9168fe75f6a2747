"""Whether any other process has a journal open, and a hold on it that lets none in."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rlm_mcp.errors import JournalFailed

TAKEN = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep a journal to oneself for the length of the block; one that is not there needs no hold.

    SQLite leaves write-ahead logging only where one connection is left, and the system drops the
    locks of a process that died: so this tells who is there now. A file that is no journal can be
    at work for nobody.

    Raises:
        JournalFailed: another process has it open.
    """
    if not path.exists():
        yield
        return
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as db:
        try:
            db.execute("PRAGMA journal_mode = DELETE").fetchall()
            db.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", None) in TAKEN:
                raise JournalFailed(
                    "An rlm-mcp process is at work in this data folder.",
                    "End it (close the MCP client, or stop rlm-mcp serve), then try again.",
                ) from error
        yield


def runs_in(path: Path) -> int | None:
    """How many runs a journal has; None if it is none or cannot be read."""
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(path, timeout=1)) as db:
            return int(db.execute("SELECT count(*) FROM runs").fetchone()[0])
    except sqlite3.Error:
        return None

"""Locks that the system drops with the process that holds them, and a journal kept to oneself."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rlm_mcp.errors import JournalFailed

TAKEN = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def locked(path: Path, mode: str = "MEMORY", timeout_s: float = 0.0) -> sqlite3.Connection | None:
    """A connection that keeps all others out of a file until it is closed; None if one is in it.

    SQLite knows how to lock a file on each system, for processes as for the tasks of one. The file
    is made if it is not there; `mode` is how its changes are journaled.

    Raises:
        sqlite3.Error: the file cannot be opened, or is none of SQLite's.
    """
    db = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    try:
        db.execute(f"PRAGMA journal_mode = {mode}").fetchall()
        db.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        db.close()
        if _is_taken(error):
            return None
        raise
    return db


def is_locked(path: Path, timeout_s: float = 0.0) -> bool:
    """Whether anyone has a file that `locked` gave; who only looks keeps nobody out.

    Within `timeout_s` seconds it may yet become free.

    Raises:
        sqlite3.Error: the file cannot be opened, or is none of SQLite's.
    """
    if not path.exists():
        return False
    try:
        # Read only: it must not make the file anew that is swept away meanwhile.
        read = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(read, timeout=timeout_s, uri=True)) as db:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        if _is_taken(error):
            return True
        if path.exists():
            raise
    return False


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep a journal to oneself for the length of the block; one that is not there needs no hold.

    SQLite leaves write-ahead logging only where one connection is left: so this tells who is there
    now. A file that is no journal can be at work for nobody.

    Raises:
        JournalFailed: another process has it open.
    """
    if not path.exists():
        yield
        return
    try:
        db = locked(path, "DELETE")
    except sqlite3.DatabaseError:
        yield
        return
    if db is None:
        raise JournalFailed(
            "An rlm-mcp process is at work in this data folder.",
            "End it (close the MCP client, or stop rlm-mcp serve), then try again.",
        )
    with closing(db):
        yield


def _is_taken(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) in TAKEN


def runs_in(path: Path) -> int | None:
    """How many runs a journal has; None if it is none or cannot be read."""
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(path, timeout=1)) as db:
            return int(db.execute("SELECT count(*) FROM runs").fetchone()[0])
    except sqlite3.Error:
        return None

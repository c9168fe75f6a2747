"""The journal's tables: how its file is made, and what an event leaves in them."""

import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlm_mcp.events import CallEnded, Event, RunEnded, RunFailed, RunResumed, RunStarted
from rlm_mcp.rights import close_to_others, make_closed
from rlm_mcp.runs import migration
from rlm_mcp.runs.bills import ADD_CALL, figures
from rlm_mcp.runs.messages import ADD_MESSAGE, ADD_PROMPT, TABLES, Raw
from rlm_mcp.runs.spare import keep_spare

SCHEMA_VERSION = 4
EXPIRED = """
CREATE TABLE expired (
    day TEXT NOT NULL, role TEXT NOT NULL, model TEXT NOT NULL, outcome TEXT NOT NULL,
    depth INTEGER NOT NULL, requests INTEGER NOT NULL, retries INTEGER NOT NULL,
    input INTEGER NOT NULL, output INTEGER NOT NULL, cached INTEGER, estimated INTEGER NOT NULL,
    cost REAL NOT NULL, unpriced INTEGER NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (day, role, model, outcome, depth)
) WITHOUT ROWID
"""
SCHEMA = """
CREATE TABLE sessions (handle TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (
    id TEXT PRIMARY KEY, session TEXT NOT NULL, query TEXT NOT NULL, model TEXT NOT NULL,
    sub_model TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, phase TEXT NOT NULL,
    pid INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX runs_by_start ON runs (started);
CREATE INDEX runs_by_session ON runs (session);
CREATE TABLE events (
    run TEXT NOT NULL, seq INTEGER NOT NULL, at TEXT NOT NULL, kind TEXT NOT NULL,
    node TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (run, seq)
) WITHOUT ROWID;
CREATE TABLE calls (
    run TEXT NOT NULL, seq INTEGER NOT NULL, day TEXT NOT NULL, role TEXT NOT NULL,
    model TEXT NOT NULL, outcome TEXT NOT NULL, input INTEGER, output INTEGER, cached INTEGER,
    estimated INTEGER NOT NULL, cost REAL, seconds REAL, requests INTEGER NOT NULL DEFAULT 1,
    retries INTEGER NOT NULL DEFAULT 0, depth INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (run, seq)
) WITHOUT ROWID;
CREATE INDEX calls_by_day ON calls (day);
"""

ADD_EVENT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)"
ADD_RUN = "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, NULL, 'running', ?)"
CLAIM = """
INSERT INTO sessions VALUES (?, 1) ON CONFLICT (handle) DO UPDATE SET epoch = epoch + 1
RETURNING epoch
"""
TAKE_OVER = "UPDATE runs SET pid = ?, ended = NULL, phase = 'running' WHERE id = ?"
END_RUN = "UPDATE runs SET ended = ?, phase = ? WHERE id = ?"


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as the journal keeps it; `record` is its JSON, `at` UTC in ISO 8601.

    `raw` is what it sent or received, as far as the journal does not have it.
    """

    run: str
    seq: int
    at: str
    event: Event
    record: str
    raw: Raw | None = None


def connect(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """A connection that writes and one that reads. The file is made if it is not there.

    Only its owner may open it. The writer waits for nobody: a file that another process holds is
    SQLITE_BUSY. One of this schema is opened without a write, so that who only reads waits for
    nobody either.

    Raises:
        sqlite3.Error, OSError: the file cannot be used, or has another schema.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    make_closed(path)  # those beside it take its mode
    for beside in ("", "-wal", "-shm"):
        close_to_others(path.with_name(path.name + beside))
    writer = sqlite3.connect(path, timeout=10, check_same_thread=False)
    if _version(writer) == 0:  # later it is too late
        writer.execute("PRAGMA auto_vacuum = INCREMENTAL")
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA synchronous = NORMAL")
    writer.execute("PRAGMA wal_autocheckpoint = 0")  # it syncs to disk: the owner's to time
    if _version(writer) != SCHEMA_VERSION:
        with writer:
            writer.execute("BEGIN IMMEDIATE")
            version = _version(writer)
            _bring_up(writer, version)
        if version == migration.OLDEST:
            migration.make_room_returnable(writer)
    writer.execute("PRAGMA busy_timeout = 0")
    reader = sqlite3.connect(path, timeout=10, check_same_thread=False)
    reader.execute("PRAGMA query_only = ON")
    keep_spare(path)
    return writer, reader


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _bring_up(db: sqlite3.Connection, version: int) -> None:
    """Make the tables, or those of this schema out of an older one's."""
    if version == SCHEMA_VERSION:
        return
    if version == 0:
        for statement in SCHEMA.split(";"):
            db.execute(statement)
    elif version == migration.OLDEST:
        migration.add_counts(db)
    elif version != migration.WITHOUT_MESSAGES:
        raise sqlite3.DatabaseError(f"schema {version}, this program knows {SCHEMA_VERSION}")
    if version != migration.WITHOUT_MESSAGES:
        db.execute(EXPIRED)
    for statement in TABLES:
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def epoch_of(db: sqlite3.Connection, session: str) -> int:
    """The newest epoch under which the session was claimed; 0 if it never was."""
    found = db.execute("SELECT epoch FROM sessions WHERE handle = ?", (session,)).fetchone()
    return int(found[0]) if found else 0


def bump_epoch(db: sqlite3.Connection, session: str) -> int:
    """Claim the session, in a transaction of its own; its new epoch."""
    with db:
        return int(db.execute(CLAIM, (session,)).fetchone()[0])


def add(db: sqlite3.Connection, session: str, entries: Sequence[Entry]) -> None:
    """Put entries of one run of `session` into all tables, within the caller's transaction.

    What is asked often is kept apart: who ran when, and what each call used.
    """
    db.executemany(
        ADD_EVENT,
        [(e.run, e.seq, e.at, type(e.event).__name__, e.event.node, e.record) for e in entries],
    )
    for entry in entries:
        if entry.raw is not None:
            db.executemany(ADD_MESSAGE, [(entry.run, entry.seq, *row) for row in entry.raw.new])
            if entry.raw.prompt is not None:
                db.execute(ADD_PROMPT, (entry.run, entry.seq, entry.raw.prompt))
        match entry.event:
            case CallEnded() as call:
                db.execute(ADD_CALL, figures(entry.run, entry.seq, entry.at, call))
            case RunStarted(node="") as run:
                names = (run.query, run.model, run.sub_model)
                db.execute(ADD_RUN, (entry.run, session, *names, entry.at, os.getpid()))
            case RunResumed(node=""):
                db.execute(TAKE_OVER, (os.getpid(), entry.run))
            case RunEnded(node=""):
                db.execute(END_RUN, (entry.at, "done", entry.run))
            case RunFailed(node=""):
                db.execute(END_RUN, (entry.at, "failed", entry.run))
            case _:
                pass

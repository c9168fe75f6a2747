"""Journals of earlier schemas are brought up to this one where they are, keeping all they hold."""

import sqlite3
from collections import Counter
from contextlib import suppress
from dataclasses import replace

from rlm_mcp.events import CallEnded, CallRetried, from_json
from rlm_mcp.runs.bills import counts

OLDEST = 2
WITHOUT_MESSAGES = 3
CALLS = "SELECT run, seq, record FROM events WHERE kind IN ('CallRetried', 'CallEnded')"
COUNTED = "UPDATE calls SET requests = ?, retries = ?, depth = ? WHERE run = ? AND seq = ?"
COLUMNS = ("requests INTEGER NOT NULL DEFAULT 1", "retries INTEGER NOT NULL DEFAULT 0",
           "depth INTEGER NOT NULL DEFAULT 0")  # fmt: skip


def add_counts(db: sqlite3.Connection) -> None:
    """From schema 2, within the caller's transaction: calls tell requests, retries and depth.

    Failed and cancelled calls did not carry their number of attempts then: it is counted.
    """
    for column in COLUMNS:
        db.execute(f"ALTER TABLE calls ADD COLUMN {column}")
    retries: Counter[tuple[str, str, str]] = Counter()
    for run, seq, record in db.execute(f"{CALLS} ORDER BY run, seq"):
        event = from_json(record)
        if isinstance(event, CallRetried):
            retries[run, event.node, event.call] += 1
        elif isinstance(event, CallEnded):
            attempts = retries.pop((run, event.node, event.call), 0) + 1
            ended = replace(event, attempts=attempts)
            db.execute(COUNTED, (*counts(ended), run, seq))


def make_room_returnable(db: sqlite3.Connection) -> None:
    """Let the file shrink when runs are removed: it is written anew once.

    Where another process is at work in it, it keeps its size, and what is freed is used again.
    """
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    with suppress(sqlite3.OperationalError):
        db.execute("VACUUM")

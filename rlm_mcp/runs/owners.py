"""Whose is what: the principal that each session and each context belongs to, beside the journal.

A run belongs to whom its session belongs to. What its calls cost stays with that principal when the
run is gone: who fills the journal does not spend anew.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import anyio
import anyio.to_thread

from rlm_mcp.runs.writer import guarded

T = TypeVar("T")

CLOSE_S = 5.0
TABLES = """
CREATE TABLE IF NOT EXISTS owners (
    principal TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (principal, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS expired_of (
    principal TEXT NOT NULL, day TEXT NOT NULL, role TEXT NOT NULL, model TEXT NOT NULL,
    outcome TEXT NOT NULL, depth INTEGER NOT NULL, requests INTEGER NOT NULL,
    retries INTEGER NOT NULL, input INTEGER NOT NULL, output INTEGER NOT NULL, cached INTEGER,
    estimated INTEGER NOT NULL, cost REAL NOT NULL, unpriced INTEGER NOT NULL,
    seconds REAL NOT NULL, PRIMARY KEY (principal, day, role, model, outcome, depth)
) WITHOUT ROWID
"""
KEEP_SPENT = """
CREATE TRIGGER IF NOT EXISTS keep_spent BEFORE DELETE ON calls BEGIN
    INSERT INTO expired_of
    SELECT principal, OLD.day, OLD.role, OLD.model, OLD.outcome, OLD.depth, OLD.requests,
        OLD.retries, coalesce(OLD.input, 0), coalesce(OLD.output, 0), OLD.cached, OLD.estimated,
        coalesce(OLD.cost, 0.0), OLD.input IS NOT NULL AND OLD.cost IS NULL,
        coalesce(OLD.seconds, 0.0)
    FROM runs JOIN owners ON owners.id = runs.session WHERE runs.id = OLD.run
    ON CONFLICT DO UPDATE SET
        requests = requests + excluded.requests, retries = retries + excluded.retries,
        input = input + excluded.input, output = output + excluded.output,
        cached = coalesce(cached + excluded.cached, cached, excluded.cached),
        estimated = estimated + excluded.estimated, cost = cost + excluded.cost,
        unpriced = unpriced + excluded.unpriced, seconds = seconds + excluded.seconds;
END
"""
ADD = "INSERT OR IGNORE INTO owners VALUES (?, ?)"
OWNS = "SELECT 1 FROM owners WHERE principal = ? AND id = ?"
OWNS_RUN = "SELECT 1 FROM owners JOIN runs ON runs.session = owners.id WHERE principal = ?"


class Owners:
    """One process's hold on the table, made with `open`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._using = anyio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, journal: Path) -> AsyncIterator[Self]:
        """The owners kept in the file of the journal, which must be there.

        Raises:
            JournalFailed: the file cannot be used.
        """
        db = await guarded(partial(_connect, journal))
        try:
            yield cls(db)
        finally:
            with anyio.move_on_after(CLOSE_S, shield=True):
                await anyio.to_thread.run_sync(db.close)

    async def add(self, principal: str, id: str) -> None:
        """Write down that a session or context belongs to `principal`.

        Raises:
            JournalFailed: the file cannot be written.
        """

        def write() -> None:
            with self._db:
                self._db.execute(ADD, (principal, id))

        await self._in_thread(write)

    async def owns(self, principal: str, id: str) -> bool:
        """Whether that session or context belongs to `principal`."""
        return await self._found(OWNS, (principal, id))

    async def owns_run(self, principal: str, run_id: str) -> bool:
        """Whether the journal has that run, of a session of `principal`."""
        return await self._found(f"{OWNS_RUN} AND runs.id = ?", (principal, run_id))

    async def owned(self, principal: str, among: Collection[str]) -> set[str]:
        """Those of these sessions or contexts that belong to `principal`."""

        def read() -> set[str]:
            return {each for each in among if self._db.execute(OWNS, (principal, each)).fetchone()}

        return await self._in_thread(read)

    async def _found(self, sql: str, parameters: tuple[str, str]) -> bool:
        def read() -> bool:
            return self._db.execute(sql, parameters).fetchone() is not None

        return await self._in_thread(read)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        async with self._using:
            return await guarded(work)


def _connect(journal: Path) -> sqlite3.Connection:
    db = sqlite3.connect(journal, timeout=10, check_same_thread=False)
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA wal_autocheckpoint = 0")  # the journal's writer times it
    with db:
        for statement in (*TABLES.split(";"), KEEP_SPENT):
            db.execute(statement)
    return db

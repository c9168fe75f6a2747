"""The journal: every event of every run, in SQLite, before anyone sees it.

Several processes may share one journal (WAL). Appends are fenced: each carries the epoch under
which its session was claimed, and a row of an older epoch is refused.

A commit is a copy into the page cache, about 50 µs; handing it to a thread would cost five times
that. So it is made on the event loop, unless another process holds the file: then a thread waits.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import anyio
import anyio.to_thread

from rlm_mcp.errors import JournalFailed, StaleEpoch, UnknownRun
from rlm_mcp.events import CallEnded, Event, RunEnded, RunFailed, RunStarted, from_json, to_json

T = TypeVar("T")

RunPhase = Literal["running", "done", "failed"]

PATIENCE_MS = 10_000
CHECKPOINT_EVERY = 500
SCHEMA_VERSION = 1
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
    estimated INTEGER NOT NULL, cost REAL, seconds REAL, PRIMARY KEY (run, seq)
) WITHOUT ROWID;
CREATE INDEX calls_by_day ON calls (day);
"""

APPEND = """
INSERT INTO events (run, seq, at, kind, node, record)
SELECT :run, :seq, :at, :kind, :node, :record
WHERE (SELECT epoch FROM sessions WHERE handle = :session) = :epoch
"""
ADD_CALL = """
INSERT INTO calls VALUES (:run, :seq, :day, :role, :model, :outcome,
                          :input, :output, :cached, :estimated, :cost, :seconds)
"""
WHOSE = {
    "run": "run = ?",
    "session": "run IN (SELECT id FROM runs WHERE session = ?)",
    "day": "day = ?",
}
ALL = "SELECT seq, at, record FROM events WHERE run = ? ORDER BY seq"
ENDING = """
SELECT seq, at, record FROM events WHERE run = ? AND node = '' AND kind IN ('RunEnded', 'RunFailed')
ORDER BY seq DESC LIMIT 1
"""
ADD_RUN = """
INSERT INTO runs (id, session, query, model, sub_model, started, phase, pid)
VALUES (:run, :session, :query, :model, :sub_model, :at, 'running', :pid)
"""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as the journal lists it. Times are UTC, ISO 8601; `ended` is None while it runs.

    `pid` is the server process that ran it.
    """

    id: str
    session: str
    query: str
    model: str
    sub_model: str
    started: str
    ended: str | None
    phase: RunPhase
    pid: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event with its place and time in a run."""

    seq: int
    at: str
    event: Event


@dataclass(frozen=True, slots=True)
class CallSum:
    """Calls of one role, model and outcome, summed. None means that no call told."""

    role: str
    model: str
    outcome: str
    calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int | None
    estimated_calls: int
    cost: float | None
    seconds: float


class Journal:
    """One process's hold on the journal file. Make it with `open`, end it with `aclose`."""

    def __init__(self, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self._writer = writer
        self._reader = reader
        self._writing = anyio.Lock(fast_acquire=True)
        self._reading = anyio.Lock()
        self._appended = 0

    @classmethod
    async def open(cls, path: Path) -> Self:
        """The journal at `path`, made if it is not there.

        Raises:
            JournalFailed: the file cannot be used.
        """
        writer, reader = await _guarded(lambda: _connect(path))
        return cls(writer, reader)

    async def aclose(self) -> None:
        """Let go of the file; what was emitted is already in it."""

        def close() -> None:
            self._reader.close()
            self._writer.close()

        await anyio.to_thread.run_sync(close)

    async def claim(self, session: str) -> int:
        """Take the session over: the next epoch. Older holders can append no more."""

        def bump() -> int:
            with self._writer:
                row = self._writer.execute(
                    "INSERT INTO sessions VALUES (?, 1)"
                    " ON CONFLICT (handle) DO UPDATE SET epoch = epoch + 1 RETURNING epoch",
                    (session,),
                ).fetchone()
            return int(row[0])

        async with self._writing:
            return await _guarded(partial(self._patiently, bump))

    def sink(self, run: str, session: str, epoch: int) -> "JournalSink":
        """Where the events of one run go."""
        return JournalSink(self, run, session, epoch)

    async def append(self, row: dict[str, Any]) -> None:
        """Commit one prepared row.

        Raises:
            StaleEpoch: a newer incarnation owns the session.
            JournalFailed: the file cannot be written.
        """
        async with self._writing:
            try:
                taken = self._insert(row)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise _failed(error) from error
                taken = await _guarded(partial(self._patiently, partial(self._insert, row)))
            except sqlite3.Error as error:
                raise _failed(error) from error
            self._appended += 1
            if self._appended % CHECKPOINT_EVERY == 0:
                await _guarded(partial(self._writer.execute, "PRAGMA wal_checkpoint(PASSIVE)"))
        if not taken:
            raise StaleEpoch(
                f"Session {row['session']} was taken over by a newer server.",
                "Ask there, or start a session of your own with load_context.",
            )

    def _insert(self, row: dict[str, Any]) -> bool:
        """Whether the row went in; it does not if its epoch is stale."""
        with self._writer:
            taken = bool(self._writer.execute(APPEND, row).rowcount)
            if taken:
                _fold(self._writer, row)
        return taken

    def _patiently(self, work: Callable[[], T]) -> T:
        self._writer.execute(f"PRAGMA busy_timeout = {PATIENCE_MS}")
        try:
            return work()
        finally:
            self._writer.execute("PRAGMA busy_timeout = 0")

    async def run(self, run_id: str) -> RunRow:
        """One run.

        Raises:
            UnknownRun: the journal has none of that id.
        """
        rows = await self._read("SELECT * FROM runs WHERE id = ?", (run_id,))
        if not rows:
            raise UnknownRun(
                f"There is no run {run_id!r}.",
                "Take the run_id from a result of rlm_query; `rlm-mcp traces` lists all runs.",
            )
        return RunRow(*rows[0])

    async def runs(self, limit: int = 50) -> list[RunRow]:
        """The newest runs first."""
        rows = await self._read("SELECT * FROM runs ORDER BY started DESC LIMIT ?", (limit,))
        return [RunRow(*row) for row in rows]

    async def has_session(self, handle: str) -> bool:
        """Whether a session of that handle was ever claimed."""
        return bool(await self._read("SELECT 1 FROM sessions WHERE handle = ?", (handle,)))

    async def events(self, run_id: str) -> list[Recorded]:
        """All events of a run, in order."""
        return await self.folded(run_id, list)

    async def folded(self, run_id: str, fold: Callable[[Iterator[Recorded]], T]) -> T:
        """What `fold` makes, in a worker thread, of all events of a run, in order."""
        return await self._query(ALL, (run_id,), lambda rows: fold(_recorded(rows)))

    async def ending(self, run_id: str) -> Recorded | None:
        """The RunEnded or RunFailed of a run, None while it has neither."""
        return await self._query(ENDING, (run_id,), lambda rows: next(_recorded(rows), None))

    async def sums(
        self, column: Literal["run", "session", "day"] | None, key: str
    ) -> list[CallSum]:
        """Calls summed by role, model and outcome; of everything if `column` is None.

        A cost is None as soon as one of its calls has no price.
        """
        where = "" if column is None else f"WHERE {WHOSE[column]}"
        rows = await self._read(
            "SELECT role, model, outcome, count(*), coalesce(sum(input), 0),"  # noqa: S608  # no input
            " coalesce(sum(output), 0), sum(cached), sum(estimated),"
            " CASE WHEN count(cost) = count(input) THEN coalesce(sum(cost), 0.0) END,"
            f" coalesce(sum(seconds), 0.0) FROM calls {where}"
            " GROUP BY role, model, outcome ORDER BY role, model, outcome",
            () if column is None else (key,),
        )
        return [CallSum(*row) for row in rows]

    async def _read(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        return await self._query(sql, parameters, list)

    async def _query(
        self, sql: str, parameters: Sequence[Any], fold: Callable[[Iterator[tuple[Any, ...]]], T]
    ) -> T:
        """What `fold` makes of the rows, in a worker thread: a run may have very many."""

        def work() -> T:
            with closing(self._reader.execute(sql, parameters)) as cursor:
                return fold(cursor)

        async with self._reading:
            return await _guarded(work)


class JournalSink:
    """A `Sink` that returns once the event is in the journal."""

    def __init__(self, journal: Journal, run: str, session: str, epoch: int) -> None:
        self._journal = journal
        self._stamp = {"run": run, "session": session, "epoch": epoch}
        self._seq = 0

    async def emit(self, event: Event) -> None:
        """Append one event.

        Raises:
            StaleEpoch: a newer incarnation owns the session.
            JournalFailed: the file cannot be written.
        """
        self._seq += 1
        row = {
            **self._stamp,
            "seq": self._seq,
            "at": _now(),
            "kind": type(event).__name__,
            "node": event.node,
            "record": to_json(event),
            "event": event,
        }
        await self._journal.append(row)


def _recorded(rows: Iterator[tuple[int, str, str]]) -> Iterator[Recorded]:
    return (Recorded(seq, at, from_json(record)) for seq, at, record in rows)


def _fold(db: sqlite3.Connection, row: dict[str, Any]) -> None:
    """Keep the tables that answer questions without reading every event."""
    match row["event"]:
        case CallEnded() as call:
            used = call.usage
            figures = {
                "day": row["at"][:10],
                "role": call.role,
                "model": call.model,
                "outcome": call.outcome,
                "input": used and used.input_tokens,
                "output": used and used.output_tokens,
                "cached": used and used.cached_tokens,
                "estimated": used.estimated_calls if used else 0,
                "cost": used and used.cost,
                "seconds": used and used.seconds,
            }
            db.execute(ADD_CALL, {"run": row["run"], "seq": row["seq"]} | figures)
        case RunStarted(node="") as started:
            names = {"query": started.query, "model": started.model, "sub_model": started.sub_model}
            stamp = {key: row[key] for key in ("run", "session", "at")}
            db.execute(ADD_RUN, stamp | names | {"pid": os.getpid()})
        case RunEnded(node="") | RunFailed(node="") as end:
            phase = "done" if isinstance(end, RunEnded) else "failed"
            db.execute(
                "UPDATE runs SET ended = ?, phase = ? WHERE id = ?", (row["at"], phase, row["run"])
            )


def _connect(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = sqlite3.connect(path, timeout=10, check_same_thread=False)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA synchronous = NORMAL")
    writer.execute("PRAGMA wal_autocheckpoint = 0")  # it syncs to disk: see CHECKPOINT_EVERY
    with writer:
        writer.execute("BEGIN IMMEDIATE")
        (version,) = writer.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in SCHEMA.split(";"):
                writer.execute(statement)
            writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif version != SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"schema {version}, this program knows {SCHEMA_VERSION}")
    writer.execute("PRAGMA busy_timeout = 0")
    reader = sqlite3.connect(path, timeout=10, check_same_thread=False)
    reader.execute("PRAGMA query_only = ON")
    return writer, reader


async def _guarded(work: Callable[[], T]) -> T:
    try:
        return await anyio.to_thread.run_sync(work)
    except (sqlite3.Error, OSError) as error:
        raise _failed(error) from error


def _failed(error: Exception) -> JournalFailed:
    return JournalFailed(
        f"The journal cannot be used: {error}.",
        "Check free space and rights of the data folder, or set RLM_HOME to another one.",
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

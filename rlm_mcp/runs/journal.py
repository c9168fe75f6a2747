"""The journal: every event of every run, in SQLite, before anyone sees it.

Several processes may share one journal (WAL). Appends are fenced: each belongs to the epoch under
which its session was claimed, and is refused once a newer one is.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import anyio
import anyio.to_thread

from rlm_mcp.errors import ArgumentInvalid, UnknownRun
from rlm_mcp.events import CallEnded, Event, RunStarted, from_json
from rlm_mcp.protocols import Sink
from rlm_mcp.rules import Keeping
from rlm_mcp.runs import expiry, messages
from rlm_mcp.runs.bills import OWNED, SUMS, CallSum, SumScope
from rlm_mcp.runs.messages import REPLY_PART, Place, Size
from rlm_mcp.runs.tables import connect
from rlm_mcp.runs.writer import JournalSink, Writer, guarded

T = TypeVar("T")
Parameters = Sequence[Any] | Mapping[str, Any]

RunPhase = Literal["running", "done", "failed"]

FILE = "journal.sqlite3"
CLOSE_S = 5.0
ALL = "SELECT seq, at, record FROM events WHERE run = ? ORDER BY seq"
SOME = "SELECT seq, at, record FROM events WHERE run = ? AND seq >= ? ORDER BY seq LIMIT ?"
EXTENT = """
SELECT min(at), max(seq) FROM events WHERE run = ?1
AND seq IN (1, (SELECT max(seq) FROM events WHERE run = ?1))
"""
NEWEST = """
SELECT * FROM runs WHERE :session IS NULL OR session = :session ORDER BY started DESC LIMIT :limit
"""
UNFINISHED = """
SELECT * FROM runs WHERE phase = 'running' OR phase = 'done' AND (
    SELECT json_extract(record, '$.stopped_by') FROM events WHERE run = id ORDER BY seq DESC LIMIT 1
) = 'server' ORDER BY started
"""
STARTS = "SELECT seq, at, record FROM runs JOIN events ON run = id AND seq = 1"
ENDING = """
SELECT seq, at, record FROM (
    SELECT seq, at, record, kind FROM events
    WHERE run = ? AND node = '' AND kind IN ('RunEnded', 'RunFailed', 'RunResumed')
    ORDER BY seq DESC LIMIT 1
) WHERE kind != 'RunResumed'
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


class Journal:
    """One process's hold on the journal file, made with `open`."""

    def __init__(self, writer: Writer, reader: sqlite3.Connection) -> None:
        self._writer = writer
        self._reader = reader
        self._reading = anyio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator[Self]:
        """The journal at `path`, made if it is not there; on leaving, all emitted is in it.

        Raises:
            JournalFailed: the file cannot be used.
        """
        connections = await guarded(partial(connect, path))
        writer = Writer(connections[0])
        try:
            async with writer.working():
                yield cls(writer, connections[1])
        finally:
            with anyio.move_on_after(CLOSE_S, shield=True):
                for connection in connections:
                    await anyio.to_thread.run_sync(connection.close)

    async def claim(self, session: str) -> int:
        """Take the session over: the next epoch. Older holders can append no more."""
        return await self._writer.claim(session)

    def sink(
        self,
        run: str,
        session: str,
        epoch: int,
        behind: Sequence[Sink] = (),
        *,
        after: int = 0,
    ) -> JournalSink:
        """Where the events of one run go; those `behind` are told of what is in the file.

        `after` is the number of the run's last event so far.
        """
        return JournalSink(self._writer, run, (session, epoch), behind, after)

    async def came_before(self, run: RunRow) -> bool:
        """Whether its session had been asked something before."""
        asked = "SELECT 1 FROM runs WHERE session = ? AND started < ? LIMIT 1"
        return bool(await self._read(asked, (run.session, run.started)))

    async def unfinished(self) -> list[RunRow]:
        """The runs that their server did not bring to an end, the oldest first.

        Those at work in some process are among them; those that the end of their server stopped
        have an answer, the best they had.
        """
        return [RunRow(*row) for row in await self._read(UNFINISHED, ())]

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

    async def runs(self, limit: int = 50, session: str | None = None) -> list[RunRow]:
        """The newest runs first, of all sessions or of one."""
        rows = await self._read(NEWEST, {"session": session, "limit": limit})
        return [RunRow(*row) for row in rows]

    async def cited(self) -> set[str]:
        """The ids of the contexts that any run was asked about."""
        return await self._query(STARTS, (), _contexts)

    async def has_session(self, handle: str) -> bool:
        """Whether a session of that handle was ever claimed."""
        return bool(await self._read("SELECT 1 FROM sessions WHERE handle = ?", (handle,)))

    async def events(self, run_id: str) -> list[Recorded]:
        """All events of a run, in order."""
        return await self.folded(run_id, list)

    async def whole_events(self, run_id: str) -> list[Recorded]:
        """All events of a run, in order, with the whole of replies of which they have but the ends.

        Those stay as they are in a run that an earlier version recorded.
        """
        return [await self._whole(run_id, row) for row in await self.events(run_id)]

    async def _whole(self, run_id: str, row: Recorded) -> Recorded:
        event = row.event
        if not isinstance(event, CallEnded) or len(event.reply) == event.reply_chars:
            return row
        reply = await self.message(run_id, (row.seq, REPLY_PART))
        return replace(row, event=replace(event, reply=reply or event.reply))

    async def folded(self, run_id: str, fold: Callable[[Iterator[Recorded]], T]) -> T:
        """What `fold` makes, in a worker thread, of all events of a run, in order."""
        return await self._query(ALL, (run_id,), lambda rows: fold(_recorded(rows)))

    async def folded_from(
        self, run_id: str, first: int, most: int, fold: Callable[[Iterator[Recorded]], T]
    ) -> T:
        """What `fold` makes of up to `most` events of a run, from number `first` on."""
        return await self._query(SOME, (run_id, first, most), lambda rows: fold(_recorded(rows)))

    async def extent(self, run_id: str) -> tuple[str, int]:
        """When the first event of a run was, and the number of its last."""
        ((began, last),) = await self._read(EXTENT, (run_id,))
        return began, last

    async def prompts(self, run_id: str) -> dict[int, list[Place]]:
        """What each call of a run sent, by the number of the event of its start.

        Empty for a run that an earlier version recorded.
        """
        return await self._query(messages.PROMPTS, (run_id,), messages.prompts)

    async def message_sizes(self, run_id: str) -> dict[Place, Size]:
        """All messages of a run that are kept, without their text."""
        return await self._query(messages.SIZES, (run_id,), messages.sizes)

    async def messages(self, run_id: str, most: int) -> dict[Place, tuple[int, str]]:
        """True size and text of all messages of a run; of those beyond `most` characters, ends."""
        return await self._query(messages.TEXTS, (run_id,), lambda rows: messages.texts(rows, most))

    async def message(self, run_id: str, place: Place) -> str:
        """One message of a run as it went over the wire."""
        return await self._query(messages.TEXT, (run_id, *place), messages.unpacked)

    async def ending(self, run_id: str) -> Recorded | None:
        """The RunEnded or RunFailed of a run, None while it has neither or goes on after it."""
        return await self._query(ENDING, (run_id,), lambda rows: next(_recorded(rows), None))

    async def sums(
        self, scope: SumScope | None, key: str, owner: str | None = None
    ) -> list[CallSum]:
        """Calls of a scope summed by role, model, outcome and depth; of all if `scope` is None.

        Those of runs that are gone count for a day and for all. Of an `owner` only what belongs to
        that principal counts (see `runs.owners`, whose tables must be there).
        """
        sql = SUMS[scope] if owner is None else OWNED[scope]
        return [CallSum(*row) for row in await self._read(sql, {"key": key, "owner": owner})]

    async def at_work(self) -> set[str]:
        """The ids of the runs that some process works on."""
        async with self._reading:
            return await guarded(partial(expiry.at_work, self._reader))

    async def remove(self, runs: Sequence[str]) -> None:
        """Remove whole runs; what they cost stays in the sums of their days and of all.

        Raises:
            UnknownRun: the journal has none of one of these ids; nothing is removed.
            ArgumentInvalid: one is at work; nothing is removed.
        """
        for run in runs:
            await self.run(run)
        if busy := sorted((await self.at_work()).intersection(runs)):
            raise ArgumentInvalid(
                f"Run {busy[0]} is at work.", "Wait for its end or cancel it, then remove it."
            )
        for run in runs:
            await self._writer.between(partial(expiry.remove, run=run))
        await self._reclaim()

    async def expire(self, keeping: Keeping) -> list[str]:
        """Remove the runs that are too old or, the oldest first, too much; return their ids.

        Those at work stay. What they all cost stays in the sums of their days and of all.

        Raises:
            JournalFailed: the file cannot be written.
        """
        gone: list[str] = []
        while run := await self._writer.between(partial(expiry.remove_oldest, keeping=keeping)):
            gone.append(run)
        if gone:
            await self._reclaim()
        return gone

    async def _reclaim(self) -> None:
        while await self._writer.between(expiry.reclaim):
            pass
        await self._writer.between(expiry.cut_log)

    async def _read(self, sql: str, parameters: Parameters) -> list[tuple[Any, ...]]:
        return await self._query(sql, parameters, list)

    async def _query(
        self, sql: str, parameters: Parameters, fold: Callable[[Iterator[tuple[Any, ...]]], T]
    ) -> T:
        """What `fold` makes of the rows, in a worker thread: a run may have very many."""

        def work() -> T:
            with closing(self._reader.execute(sql, parameters)) as cursor:
                return fold(cursor)

        async with self._reading:
            return await guarded(work)


def _contexts(rows: Iterator[tuple[int, str, str]]) -> set[str]:
    starts = (row.event for row in _recorded(rows))
    cited = (start.contexts for start in starts if isinstance(start, RunStarted))
    return {context for contexts in cited for context, _ in contexts}


def _recorded(rows: Iterator[tuple[int, str, str]]) -> Iterator[Recorded]:
    return (Recorded(seq, at, from_json(record)) for seq, at, record in rows)

"""Writes to the journal behind those who emit: in groups, fenced, told once it is in the file.

Who emits does not wait: all that is emitted in one turn of the event loop is committed in the next,
in one transaction. A commit is a copy into the page cache, some 50 µs; handing it to a thread would
cost five times that. So it is made on the event loop, unless another process holds the file: then
a thread waits, and what is emitted meanwhile goes into the commit after it.
"""

import logging
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread

from rlm_mcp.errors import JournalFailed, StaleEpoch
from rlm_mcp.events import Event, to_json
from rlm_mcp.protocols import Sink
from rlm_mcp.runs.messages import Sent
from rlm_mcp.runs.tables import Entry, add, bump_epoch, epoch_of
from rlm_mcp.tasks import background

T = TypeVar("T")

log = logging.getLogger(__name__)

PATIENCE_MS = 10_000
LAST_WRITES_S = 15.0  # longer than a commit waits for another process
CHECKPOINT_EVERY = 500
# What SQLite cannot hold: numbers beyond 64 bits, text without a form in UTF-8, rows too large.
UNKEPT = (
    OverflowError,
    ValueError,
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)


@dataclass(slots=True)
class Batch:
    """What is committed together: the entries of each run, in order."""

    entries: "defaultdict[JournalSink, list[Entry]]" = field(
        default_factory=lambda: defaultdict(list)
    )
    wanted: anyio.Event = field(default_factory=anyio.Event)
    done: anyio.Event = field(default_factory=anyio.Event)


class Writer:
    """The one that writes, for all runs of this process, while its `working` block lasts."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._using = anyio.Lock(fast_acquire=True)
        self._batch = Batch()
        self._unsynced = 0

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Write in the background; on leaving, what was appended is written to the end."""
        # Shielded: what runs say of their end when all is cancelled is written too.
        scope = anyio.CancelScope(shield=True)
        async with background() as tasks:
            tasks.start_soon(self._write_on, scope)
            try:
                yield
            finally:
                with anyio.move_on_after(LAST_WRITES_S, shield=True):
                    await self.written()
                scope.cancel()

    async def claim(self, session: str) -> int:
        """The next epoch of the session.

        Raises:
            JournalFailed: the file cannot be written.
        """
        return await self.between(partial(bump_epoch, session=session))

    async def between(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` on the file gives, in a worker thread, between two commits.

        Raises:
            JournalFailed: the file cannot be written.
        """
        async with self._using:
            return await guarded(partial(self._patiently, partial(work, self._db)))

    def append(self, sink: "JournalSink", entry: Entry) -> None:
        """Have an entry written with the next commit."""
        self._batch.entries[sink].append(entry)
        self._batch.wanted.set()

    async def written(self) -> None:
        """Return when all that was appended before is in the file, or has failed."""
        self._batch.wanted.set()
        await self._batch.done.wait()

    async def _write_on(self, scope: anyio.CancelScope) -> None:
        with scope:
            while True:
                await self._batch.wanted.wait()
                batch, self._batch = self._batch, Batch()
                runs = {s: entries for s, entries in batch.entries.items() if s.failure is None}
                if runs:
                    await self._commit(runs)
                for sink, entries in runs.items():
                    sink.tell(entries)
                batch.done.set()

    async def _commit(self, runs: "Mapping[JournalSink, Sequence[Entry]]") -> None:
        """Write in one transaction; if the file cannot be written, all these runs have failed.

        An event that the file cannot hold fails its own run: each then has its own transaction.
        """
        write = partial(self._write, runs)
        try:
            async with self._using:
                try:
                    write()
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                        raise
                    await anyio.to_thread.run_sync(self._patiently, write)
                self._unsynced += sum(map(len, runs.values()))
                if self._unsynced >= CHECKPOINT_EVERY:
                    self._unsynced = 0
                    await anyio.to_thread.run_sync(
                        self._db.execute, "PRAGMA wal_checkpoint(PASSIVE)"
                    )
        except UNKEPT as error:
            if len(runs) == 1:
                for sink in runs:
                    sink.fail(_unkept(error))
                return
            for sink, entries in runs.items():
                await self._commit({sink: entries})
        except sqlite3.Error as error:
            for sink in runs:
                sink.fail(_failed(error))

    def _write(self, runs: "Mapping[JournalSink, Sequence[Entry]]") -> None:
        """Add the entries of each run but of those whose epoch is over."""
        stale = []
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for sink, entries in runs.items():
                if epoch_of(self._db, sink.session) == sink.epoch:
                    add(self._db, sink.session, entries)
                else:
                    stale.append(sink)
        for sink in stale:
            sink.fail(
                StaleEpoch(
                    f"Session {sink.session} was taken over by a newer server.",
                    "Ask there, or start a session of your own with load_context.",
                )
            )

    def _patiently(self, work: Callable[[], T]) -> T:
        self._db.execute(f"PRAGMA busy_timeout = {PATIENCE_MS}")
        try:
            return work()
        finally:
            self._db.execute("PRAGMA busy_timeout = 0")


class JournalSink:
    """The `Sink` of one run: the journal keeps each event, then those `behind` are told of it.

    `failure` is why no more is kept; it is raised by whatever is asked of the sink next. But if the
    journal failed and there is an `on_failure`, that is told so at once, and the rest is dropped.
    """

    def __init__(
        self,
        writer: Writer,
        run: str,
        session: tuple[str, int],
        behind: Sequence[Sink],
        after: int = 0,
    ) -> None:
        self.session, self.epoch = session
        self.failure: Exception | None = None
        self.on_failure: Callable[[JournalFailed], None] | None = None
        self._writer = writer
        self._run = run
        self._behind = behind
        self._seq = after
        self._sent = Sent()

    def emit(self, event: Event) -> None:
        """Have one event kept.

        Raises:
            StaleEpoch: a newer incarnation owns the session.
            JournalFailed: the file cannot be written.
        """
        self._raise()
        if self.failure is not None:
            return
        self._seq += 1
        raw = self._sent.take(self._seq, event)
        entry = Entry(self._run, self._seq, _now(), event, to_json(event), raw)
        self._writer.append(self, entry)

    async def written(self) -> None:
        """Return when all that was emitted is in the file, and those behind were told.

        Raises:
            StaleEpoch, JournalFailed: it is not, and will not be.
        """
        await self._writer.written()
        self._raise()

    def fail(self, error: Exception) -> None:
        """Keep no more from now on."""
        self.failure = error
        if isinstance(error, JournalFailed) and self.on_failure is not None:
            self.on_failure(error)

    def tell(self, entries: Sequence[Entry]) -> None:
        """Pass on what is in the file."""
        self._pass_on([entry.event for entry in entries])

    def retell(self, event: Event) -> None:
        """Pass on what is in the file from before, and happens again in a run that goes on."""
        self._pass_on([event])

    def _pass_on(self, events: Sequence[Event]) -> None:
        try:
            for event in events if self.failure is None else ():
                for sink in self._behind:
                    sink.emit(event)
        except Exception as error:
            # Who tells is the writer of all runs: a sink that breaks must end its own run only.
            log.exception("a sink of run %s broke", self._run)
            self.failure = error

    def _raise(self) -> None:
        is_told = isinstance(self.failure, JournalFailed) and self.on_failure is not None
        if self.failure is not None and not is_told:
            raise self.failure


async def guarded(work: Callable[[], T]) -> T:
    """What `work` on the file gives, in a worker thread.

    Raises:
        JournalFailed: the file cannot be used.
    """
    try:
        return await anyio.to_thread.run_sync(work)
    except (sqlite3.Error, OSError) as error:
        raise _failed(error) from error


def _failed(error: Exception) -> JournalFailed:
    return JournalFailed(
        f"The journal cannot be used: {error}.",
        "Check free space and rights of the data folder, or set RLM_HOME to another one.",
    )


def _unkept(error: Exception) -> JournalFailed:
    return JournalFailed(
        f"The journal cannot keep what this run did: {error}.",
        "Other runs go on. This is a defect of rlm-mcp: please report it.",
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

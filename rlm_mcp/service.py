"""Sessions, contexts and runs of one process: what server, command line and library share."""

import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from rlm_mcp.conduct import Plan, Strategy
from rlm_mcp.contexts.ingest import LoadProgress
from rlm_mcp.contexts.loader import load
from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.engine.calls import Calls
from rlm_mcp.engine.ledger import Ledger
from rlm_mcp.engine.past import Onward, Past
from rlm_mcp.engine.ports import Ports, Question
from rlm_mcp.engine.route import Route, planned, route
from rlm_mcp.engine.run import Run
from rlm_mcp.engine.session import Session, Terms, unknown_session
from rlm_mcp.engine.shape import Shape
from rlm_mcp.errors import (
    JournalFailed,
    RlmError,
    RunElsewhere,
    TooManySessions,
)
from rlm_mcp.events import Event
from rlm_mcp.llm.models import ModelPair, Models
from rlm_mcp.protocols import Sink
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.runs.costs import Costs, costs
from rlm_mcp.runs.jobs import Job, Jobs
from rlm_mcp.runs.journal import FILE, Journal
from rlm_mcp.runs.owner import FOLDER, Holds
from rlm_mcp.runs.pages import Trace
from rlm_mcp.runs.standing import RunView, ended_view, interrupted_view
from rlm_mcp.runs.status import RunStatus
from rlm_mcp.runs.trace import trace
from rlm_mcp.settings import Settings
from rlm_mcp.tasks import background
from rlm_mcp.types import Answer, Budget, ContextInfo, CostScope, Detail
from rlm_mcp.words import sendable

EXPIRE_EVERY_S = 3600.0
REAP_EVERY_S = 30.0
WRITTEN_S = 15.0  # longer than the journal waits for a locked file
STOP_S = 30.0  # longer than a cancelled run takes to write down its best
CLOSE_S = 5.0


@dataclass(frozen=True, slots=True)
class Query:
    """What a caller asks. `contexts` are names or ids; None takes all of the session's.

    `models` take the place of names: a library caller may bring its own. `strategy` None is that of
    the settings. The answer must be JSON that fits the `schema`, if there is one.
    """

    text: str
    contexts: Sequence[str] | None = None
    budget: Budget | None = None
    model: str | None = None
    sub_model: str | None = None
    models: ModelPair | None = None
    strategy: Strategy | None = None
    schema: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Service:
    """Made by `open_service`. Every method may be used by many tasks at once."""

    settings: Settings
    store: ContextStore
    journal: Journal
    models: Models
    backend: LocalBackend
    jobs: Jobs
    holds: Holds
    _sessions: dict[str, Session] = field(default_factory=dict)
    _minting: anyio.Lock = field(default_factory=anyio.Lock)

    async def new_session(self) -> Session:
        """A session with nothing in it.

        Raises:
            TooManySessions: as many are open as settings allow.
        """
        return await self.adopt(f"ses_{secrets.token_urlsafe(18)}")

    async def adopt(self, handle: str) -> Session:
        """The session of that handle, opened anew if the process that had it has ended.

        Raises:
            TooManySessions: as many are open as settings allow.
            RunElsewhere: another process has it.
        """
        async with self._minting:
            if handle not in self._sessions and len(self._sessions) >= self.settings.max_sessions:
                raise TooManySessions(
                    f"{len(self._sessions)} sessions are open, as many as this server may hold.",
                    "Go on in one of them, wait for one to expire, or raise RLM_MAX_SESSIONS.",
                )
            if handle not in self._sessions:
                await self.holds.take(handle)
                try:
                    epoch = await self.journal.claim(handle)
                except BaseException:
                    with anyio.CancelScope(shield=True):
                        await self.holds.drop(handle)
                    raise
                self._sessions[handle] = Session(handle, epoch)
            return self.session(handle)

    def session(self, handle: str) -> Session:
        """The open session of that handle.

        Raises:
            UnknownSession: never minted here, or expired.
        """
        session = self._sessions.get(handle)
        if session is None:
            raise unknown_session(handle, self.settings.session_ttl_s)
        session.used_at = anyio.current_time()
        return session

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The open ones, in the order of their start."""
        return tuple(self._sessions.values())

    async def end_session(self, handle: str) -> None:
        """Cancel its runs and, when they have ended, its REPL. Nothing happens if it is gone."""
        if self._sessions.pop(handle, None) is not None:
            # In this order: a run at work would open a REPL that nobody ends.
            with anyio.move_on_after(STOP_S, shield=True):
                await self.jobs.stop("cancelled", handle)
            with anyio.move_on_after(CLOSE_S, shield=True):
                await self.backend.close(handle)
            with anyio.CancelScope(shield=True):
                await self.holds.drop(handle)

    async def load(
        self,
        session: Session,
        sources: Sequence[str],
        *,
        text: str | Mapping[str, str] | None = None,
        name: str | None = None,
        progress: Callable[[LoadProgress], None] | None = None,
        terms: Terms | None = None,
    ) -> ContextInfo:
        """Load files, folders and globs within the settings' roots, or `text`, into the session.

        The settings' load rules hold, unless there are other `terms`.

        An explicit `name` takes the place of what had it; a name made from the source does so only
        if that source is loaded again.

        Raises:
            ContextError: nothing could be loaded.
            UnknownSession: the session ended meanwhile.
        """
        terms = terms or Terms(await anyio.to_thread.run_sync(lambda: self.settings.load_rules))
        info = await load(
            self.store, sources, text=text, name=name, rules=terms.rules, progress=progress
        )
        origin = info.id if text is not None else await anyio.to_thread.run_sync(_origin, sources)
        session = self.session(session.handle)
        return session.add(info, origin, explicit=name is not None, fits=terms.fits)

    async def start(self, session: Session, query: Query, *sinks: Sink) -> Job:
        """Start a run; `sinks` see its events after the journal has them.

        Raises:
            ArgumentInvalid: the schema is none, or the text does not fit `strategy`.
            UnknownContext: a context is not loaded in this session.
            EndpointError: no model answers.
            UnknownSession: the session ended meanwhile.
        """
        contexts, pair, way = await self._way(session, query)
        shape = await Shape.of(query.schema)
        self.session(session.handle)  # finding a model may take long enough for its end
        question = Question(
            run_id=f"run_{secrets.token_urlsafe(9)}",
            node="",
            depth=0,
            query=sendable(query.text),
            contexts=contexts,
            session=session.handle,
            handle=session.handle,
            epoch=session.epoch,
            shape=shape,
            route=way,
        )
        ledger = Ledger(query.budget or self.settings.budget)
        return self.launch(session, question, pair, ledger, sinks=sinks)

    def launch(
        self,
        session: Session,
        question: Question,
        pair: ModelPair,
        ledger: Ledger,
        before: Sequence[Event] = (),
        *,
        sinks: Sequence[Sink] = (),
    ) -> Job:
        """Put a run to work; `before` are the events it has told already, if it is resumed."""
        # Who only imports us does not pay for OpenTelemetry's API; the server has it anyway.
        from rlm_mcp.runs.spans import Spans  # noqa: PLC0415 - see above

        status, spans = RunStatus(), Spans(question.run_id, content=self.settings.otel_content)
        kept = self.journal.sink(
            question.run_id,
            session.handle,
            session.epoch,
            (status, spans, *sinks),
            after=len(before),
        )
        calls = Calls(ledger, Onward(kept, before) if before else kept, past=Past.of(before))
        pair = pair.for_run(session.handle, question.run_id)
        ports = Ports(
            root=pair.root,
            sub=pair.sub,
            calls=calls,
            backend=self.backend,
            store=self.store,
            limits=self.settings.limits,
            reply_tokens=self.settings.max_output_tokens,
        )
        run = Run(question, ports, session, anew=bool(before))
        kept.on_failure = run.lose_journal
        job = Job(question.run_id, session.handle, status, run.cancel)

        async def work() -> Answer:
            with closing(spans):
                try:
                    return await run.answer()
                finally:
                    with anyio.move_on_after(WRITTEN_S, shield=True):
                        await kept.written()
                    session.used_at = anyio.current_time()

        self.jobs.start(job, work)
        return job

    async def plan(self, session: Session, query: Query) -> Plan:
        """How a query would be asked and about what that takes; asks no model.

        Raises:
            As `start`.
        """
        contexts, pair, way = await self._way(session, query)
        return planned(way, contexts, pair.sub.window_tokens, query.budget or self.settings.budget)

    async def _way(
        self, session: Session, query: Query
    ) -> tuple[tuple[ContextInfo, ...], ModelPair, Route]:
        contexts = session.select(query.contexts)
        pair = query.models or await self.models.resolve(query.model, query.sub_model)
        way = route(
            query.strategy or self.settings.strategy,
            contexts,
            pair.root.window_tokens,
            has_variables=bool(session.variables),
        )
        return contexts, pair, way

    async def view(self, run_id: str, wait_s: float = 0.0) -> RunView:
        """A run, waited for up to `wait_s` seconds; also one of an earlier process.

        Raises:
            UnknownRun: the journal has none of that id.
        """
        job = self.jobs.find(run_id)
        if job is None:
            return await self._recorded(run_id)
        outcome = await job.wait(wait_s)
        session = self._sessions.get(job.session)
        if session is not None:
            session.used_at = anyio.current_time()
        if isinstance(outcome, RlmError):
            return RunView(run_id, job.session, error=outcome, may_go_on=job.may_go_on)
        is_open, line = session is not None, job.status.line()
        return RunView(run_id, job.session, answer=outcome, line=line, is_open=is_open)

    async def cancel(self, run_id: str) -> RunView:
        """Stop a run of this process and give its best answer; an ended one is left as it is.

        Raises:
            UnknownRun: the journal has none of that id.
            RunElsewhere: another process works on it.
        """
        job = self.jobs.find(run_id)
        if job is not None:
            job.cancel()
            await job.ended.wait()
        view = await self.view(run_id)
        if job is None and view.running:
            pid = (await self.journal.run(run_id)).pid
            raise RunElsewhere(
                f"Run {run_id} is at work in another server process ({pid}).",
                "Cancel it from the client that asked, or end that process.",
            )
        return view

    async def costs(self, scope: CostScope, key: str | None = None) -> Costs:
        """What a run, a session, a day or everything has used. See `runs.costs`."""
        return await costs(self.journal, scope, key)

    async def trace(
        self, run_id: str, page: int = 1, detail: Detail = "turns", call: str | None = None
    ) -> Trace:
        """A page of a run's trace, which says of its end what `view` does. See `runs.trace`."""
        found = await trace(self.journal, run_id, page, detail, call)
        view = await self.view(run_id)
        return replace(found, run=replace(found.run, phase=view.phase))

    async def reap(self) -> None:
        """End sessions that are idle for longer than settings allow, for ever."""
        while True:
            await anyio.sleep(min(REAP_EVERY_S, self.settings.session_ttl_s))
            oldest = anyio.current_time() - self.settings.session_ttl_s
            for session in list(self._sessions.values()):
                if session.used_at < oldest and not self.jobs.working(session.handle):
                    await self.end_session(session.handle)

    async def expire(self) -> None:
        """Remove old runs, and contexts unused for long that no run was asked about, for ever."""
        while True:
            # A journal that cannot be read now can be next time; nothing is removed unasked.
            with suppress(JournalFailed):
                await self.holds.sweep()
                await self.journal.expire(self.settings.keeping_runs)
                cited = await self.journal.cited()
                cited |= {info.id for each in self.sessions for info in each.contexts}
                expiring = partial(self.store.expire, cited, self.settings.keeping)
                await anyio.to_thread.run_sync(expiring)
            await anyio.sleep(EXPIRE_EVERY_S)

    async def _recorded(self, run_id: str) -> RunView:
        row = await self.journal.run(run_id)
        ending = await self.journal.ending(run_id)
        if ending is not None:
            return ended_view(row, ending.event, is_open=row.session in self._sessions)
        if await self.holds.is_elsewhere(row.session):
            return RunView(run_id, row.session, line="at work in another server process")
        return interrupted_view(row)


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[Service]:
    """A service with its journal, models and REPLs; on leaving, nothing of it lives on.

    Runs that are still at work then are stopped with the best they have, and may go on later.

    Raises:
        JournalFailed: the data folder cannot be used.
    """
    home = settings.home.expanduser()
    async with (
        Journal.open(home / FILE) as journal,
        LocalBackend(home / "cache", settings.sandbox) as backend,
        Models(settings) as models,
        Holds(home / FOLDER) as holds,
        background() as tasks,
    ):
        jobs = Jobs(tasks)
        service = Service(settings, ContextStore(home), journal, models, backend, jobs, holds)
        tasks.start_soon(service.reap)
        tasks.start_soon(service.expire)
        try:
            yield service
        finally:
            with anyio.move_on_after(CLOSE_S, shield=True):
                await jobs.stop("server")


def _origin(sources: Sequence[str]) -> str:
    """The same for every way to write the same places."""
    return "\n".join(str(Path(source).expanduser().resolve()) for source in sources)

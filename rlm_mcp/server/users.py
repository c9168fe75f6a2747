"""Users of a shared server: what is theirs, and what they may still have of it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import anyio.to_thread

from rlm_mcp.contexts.ingest import LoadProgress
from rlm_mcp.contexts.store import LOAD_IT
from rlm_mcp.engine.session import Session, Terms
from rlm_mcp.errors import ArgumentInvalid, SourceTooLarge, UnknownContext
from rlm_mcp.events import RunStarted
from rlm_mcp.resuming import resume
from rlm_mcp.rules import LoadRules
from rlm_mcp.runs.costs import Costs, costs
from rlm_mcp.runs.jobs import Job
from rlm_mcp.runs.journal import FILE
from rlm_mcp.runs.owners import Owners
from rlm_mcp.runs.standing import may_go_on
from rlm_mcp.server.quotas import Outlay, Quotas
from rlm_mcp.server.sessions import Request
from rlm_mcp.service import Query, Service
from rlm_mcp.types import ContextInfo, CostScope

# Its environment has the endpoints' keys, and its files are open there.
SYSTEM = Path("/proc")

Load = Callable[..., Awaitable[ContextInfo]]
Progress = Callable[[LoadProgress], None]


@asynccontextmanager
async def users(
    who: Callable[[Request], str], service: Service
) -> AsyncIterator[Callable[[Request], "User"]]:
    """What makes the user of a request, whose principal `who` tells.

    Raises:
        JournalFailed: where owners are written down cannot be used.
    """
    async with Owners.open(service.settings.home.expanduser() / FILE) as owners:
        quotas = Quotas(service.settings)
        yield lambda request: User(who(request), service, owners, quotas)


@dataclass(frozen=True, slots=True)
class User:
    """One user; made for each request. A run or context belongs to whom its session does."""

    principal: str
    service: Service
    owners: Owners
    quotas: Quotas

    async def owns(self, id: str) -> bool:
        """Whether that session or context is its own."""
        return await self.owners.owns(self.principal, id)

    async def owns_run(self, run_id: str) -> bool:
        """Whether there is such a run, and it is its own."""
        job = self.service.jobs.find(run_id)
        if job is not None:
            return await self.owns(job.session)
        return await self.owners.owns_run(self.principal, run_id)

    async def sessions(self) -> list[Session]:
        """Its open ones."""
        opened = self.service.sessions
        own = await self.owners.owned(self.principal, [each.handle for each in opened])
        return [session for session in opened if session.handle in own]

    async def new_session(self) -> Session:
        """One more session.

        Raises:
            QuotaReached: the user has as many as it may.
            TooManySessions: the server has.
        """
        async with self.quotas.taking(self.principal, "sessions"):
            self.quotas.check_sessions(len(await self.sessions()))
            # A session that nobody owns would count for nobody.
            with anyio.CancelScope(shield=True):
                session = await self.service.new_session()
                await self.owners.add(self.principal, session.handle)
            return session

    async def load(self, session: Session, load: Load) -> ContextInfo:
        """Load into the session what the server's own files and the quotas let through.

        Raises:
            QuotaReached: with it the user would have loaded more than it may.
        """
        async with self.quotas.taking(self.principal, "bytes"):
            opened = await self.sessions()
            others = [i for each in opened if each is not session for i in each.contexts]

            def fits(info: ContextInfo, beside: Collection[ContextInfo]) -> None:
                self.quotas.check_bytes(info, [*others, *beside])

            # What is known already may be loaded again: only `fits` knows.
            most = self.quotas.bytes_left(())
            rules = await anyio.to_thread.run_sync(self.rules)
            try:
                limited = replace(rules, most_bytes=min(most, rules.most_bytes))
                info = await load(terms=Terms(limited, fits))
            except SourceTooLarge as error:
                if most >= rules.most_bytes:
                    raise
                left = self.quotas.bytes_left(others)
                raise self.quotas.too_much(error.message, left) from error
            await self.owners.add(self.principal, info.id)
            return info

    async def start(self, session: Session, query: Query) -> Job:
        """Start a run; see `Service.start`.

        Raises:
            QuotaReached: the user has as many runs at work, or has spent as much, as it may.
            ArgumentInvalid: the schema of the answer has what may take for ever.
        """
        _refuse_endless(query.schema)
        async with self.quotas.taking(self.principal, "runs"):
            budget = query.budget or self.service.settings.budget
            most = await self._may_spend(budget.cost)
            job = await self.service.start(
                session, replace(query, budget=replace(budget, cost=most))
            )
            self.quotas.caps[job.run_id] = most
            self.quotas.keep_caps({each.run_id for each in self.service.jobs.working()})
            return job

    async def resume(self, run_id: str) -> Job | None:
        """Go on with an interrupted run of its own; see `resuming.resume`.

        Raises:
            QuotaReached: the user has as many sessions or runs, or has spent as much, as it may.
        """
        async with (
            self.quotas.taking(self.principal, "sessions"),
            self.quotas.taking(self.principal, "runs"),
        ):
            job = self.service.jobs.find(run_id)
            if job is not None and not job.may_go_on:
                return job
            row = await self.service.journal.run(run_id)
            ending = await self.service.journal.ending(run_id)
            if ending is not None and not may_go_on(ending.event):
                return None
            handles = {session.handle for session in await self.sessions()}
            self.quotas.check_sessions(len(handles - {row.session}))
            had = await self._outlay(run_id)
            left = await self._may_spend(None if had.most is None else had.left)
            try:
                job = await resume(self.service, run_id, left)
            except UnknownContext as error:  # its hint may be another's id
                raise UnknownContext(error.message, LOAD_IT) from error
            if left is not None and had.spent is not None:
                self.quotas.caps[run_id] = had.spent + left
            return job

    async def costs(self, scope: CostScope, key: str | None) -> Costs:
        """The bill of what is its own; see `runs.costs`."""
        return await costs(self.service.journal, scope, key, self.principal)

    async def _may_spend(self, asked: float | None) -> float | None:
        """What one more run may cost, None if that is not limited."""
        own = {session.handle for session in await self.sessions()}
        working = [job for job in self.service.jobs.working() if job.session in own]
        self.quotas.check_runs(len(working))
        if self.quotas.settings.user_cost_per_day is None:
            return asked
        today = (await self.costs("day", None)).total.usage.cost
        set_aside = [await self._outlay(job.run_id) for job in working]
        return self.quotas.may_spend(asked, today, set_aside)

    async def _outlay(self, run_id: str) -> Outlay:
        if run_id not in self.quotas.caps:  # an earlier process has started it
            started = (await self.service.journal.events(run_id))[0].event
            assert isinstance(started, RunStarted)
            self.quotas.caps[run_id] = started.budget.cost
        spent = (await self.costs("run", run_id)).total.usage.cost
        return Outlay(self.quotas.caps[run_id], spent)

    def rules(self) -> LoadRules:
        """What it may load: nothing of the server's own. Follows links, so for a worker thread."""
        settings = self.service.settings
        rules = settings.load_rules
        return replace(rules, private=(*rules.private, SYSTEM), whose=self.principal)


def _refuse_endless(schema: object) -> None:
    """Those checks take for ever with some answers, and all other users would wait for them."""
    match schema:
        case {"unevaluatedProperties": _} | {"unevaluatedItems": _}:
            raise ArgumentInvalid(
                "The schema of the answer has unevaluatedProperties or unevaluatedItems; on a"
                " shared server it may not.",
                "Take `additionalProperties` or `items` instead.",
            )
        case {"patternProperties": _} | {"pattern": str()}:
            raise ArgumentInvalid(
                "The schema of the answer has a pattern; on a shared server it may not.",
                "Take `enum` or `maxLength` instead, or ask for the form in the question.",
            )
        case dict():
            for inner in schema.values():
                _refuse_endless(inner)
        case list():
            for inner in schema:
                _refuse_endless(inner)
        case _:
            pass

"""What of the service is a caller's own: the one way from a tool or resource to it.

A caller who said who it is sees its own sessions, runs, contexts and costs. What belongs to another
is answered word for word like what never was. Where nobody is asked, everything is everyone's who
knows its id.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import anyio

from rlm_mcp.errors import (
    NoSession,
    SourceTooLarge,
    UnknownContext,
    UnknownRun,
    UnknownSession,
)
from rlm_mcp.server.quotas import Quotas
from rlm_mcp.server.sessions import Sessions
from rlm_mcp.types import Budget, ContextInfo, CostScope

if TYPE_CHECKING:
    from rlm_mcp.contexts.catalogue import Catalogue
    from rlm_mcp.contexts.ingest import LoadProgress
    from rlm_mcp.engine.session import Session
    from rlm_mcp.runs.costs import Costs
    from rlm_mcp.runs.jobs import Job
    from rlm_mcp.runs.owners import Owners
    from rlm_mcp.service import Query, Service


@dataclass(frozen=True, slots=True)
class User:
    """A caller who said who it is, and where it is written down what is whose."""

    principal: str
    owners: "Owners"
    quotas: Quotas

    async def owns(self, id: str) -> bool:
        """Whether that session or context is its own."""
        return await self.owners.owns(self.principal, id)

    async def sessions(self, service: "Service") -> "list[Session]":
        """Its open ones."""
        owned = await self.owners.owned(self.principal)
        return [session for session in service.sessions if session.handle in owned]


@dataclass(frozen=True, slots=True)
class Caller:
    """Made for each request. `key` is what the transport implies, `user` who it says it is."""

    service: "Service"
    implied: Sessions
    key: str | None
    user: User | None

    async def session(self, handle: str | None) -> "Session":
        """The session of `handle`, else the one that the transport implies.

        Raises:
            NoSession: there is neither.
            UnknownSession: it has expired, never was, or is another's.
        """
        handle = handle or self.implied.implied(self.key)
        if handle is None:
            raise NoSession(
                "There is no session yet: nothing was loaded.",
                "Call load_context first, then pass the `session` it returns.",
            )
        if self.user is not None and not await self.user.owns(handle):
            idle = f"{self.service.settings.session_ttl_s / 60:.0f} min"
            raise UnknownSession(
                f"Session {handle!r} is unknown or has expired (idle for {idle}).",
                "Call load_context without `session` to start one.",
            )
        return self.service.session(handle)

    @asynccontextmanager
    async def to_load(self, handle: str | None) -> "AsyncIterator[Session]":
        """The session to load into, started if need be. See `Sessions.to_load`."""
        if handle is not None:
            yield await self.session(handle)
            return
        async with self.implied.to_load(self.service, self.key, self._new_session) as session:
            yield session

    async def load(
        self,
        session: "Session",
        sources: Sequence[str],
        *,
        text: str | Mapping[str, str] | None,
        name: str | None,
        progress: "Callable[[LoadProgress], None]",
    ) -> ContextInfo:
        """Load into the session; see `Service.load`.

        Raises:
            QuotaReached: with it the user would have loaded more than it may.
        """
        load = partial(self.service.load, session, sources, text=text, name=name, progress=progress)
        if self.user is None:
            return await load()
        info = await self._within_quota(self.user, load)
        await self.user.owners.add(self.user.principal, info.id)
        return info

    async def start(self, session: "Session", query: "Query") -> "Job":
        """Start a run; see `Service.start`.

        Raises:
            QuotaReached: the user has as many runs at work, or has spent as much, as it may.
        """
        user = self.user
        if user is None:
            return await self.service.start(session, query)
        async with user.quotas.taking(user.principal, "runs"):
            own = {each.handle for each in await user.sessions(self.service)}
            working = [job for job in self.service.jobs.working() if job.session in own]
            user.quotas.check_runs(len(working))
            budget = await self._capped(user, query.budget or self.service.settings.budget)
            return await self.service.start(session, replace(query, budget=budget))

    async def run(self, run_id: str) -> "Job | None":
        """The run of that id if it is this caller's, None if this process does not have it.

        Raises:
            UnknownRun: there is none of that id, or it is another's.
        """
        job, user = self.service.jobs.find(run_id), self.user
        if user is None:
            return job
        own = user.owns(job.session) if job else user.owners.owns_run(user.principal, run_id)
        if not await own:
            raise UnknownRun(
                f"There is no run {run_id!r}.", "Take the run_id from a result of rlm_query."
            )
        return job

    async def catalogue(self, id: str) -> "Catalogue":
        """The documents of a context.

        Raises:
            UnknownContext: there is none of that id, or it is another's.
        """
        if self.user is not None and not await self.user.owns(id):
            raise UnknownContext(
                f"There is no context {id}.", "Load it first: load_context gives its id."
            )
        return await anyio.to_thread.run_sync(self.service.store.catalogue, id)

    async def contexts(self) -> list[ContextInfo]:
        """Those to list: of a user all it has loaded, of a local client those of its session."""
        if self.user is not None:
            open_ones = await self.user.sessions(self.service)
        else:
            handle = self.implied.local
            open_ones = [each for each in self.service.sessions if each.handle == handle]
        return list({info.id: info for each in open_ones for info in each.contexts}.values())

    async def costs(self, scope: CostScope, key: str | None) -> "Costs":
        """What a session, a run, a day or everything has used; of a user only its own.

        Raises:
            UnknownRun, UnknownSession: there is none of that id, or it is another's.
        """
        if scope == "session":
            if key is None:
                key = (await self.session(None)).handle
            elif self.user is not None and not await self.user.owns(key):
                raise UnknownSession(
                    f"There was never a session {key!r}.",
                    "Take the handle from a result of load_context.",
                )
        if self.user is None:
            return await self.service.costs(scope, key)
        if scope == "run" and key is not None:
            await self.run(key)
        return await self._own_costs(self.user, scope, key)

    async def _new_session(self) -> "Session":
        user = self.user
        if user is None:
            return await self.service.new_session()
        async with user.quotas.taking(user.principal, "sessions"):
            user.quotas.check_sessions(len(await user.sessions(self.service)))
            session = await self.service.new_session()
            await user.owners.add(user.principal, session.handle)
            return session

    async def _within_quota(
        self, user: User, load: Callable[..., Awaitable[ContextInfo]]
    ) -> ContextInfo:
        rules, quotas = self.service.settings.load_rules, user.quotas
        if quotas.settings.user_load_gb is None:
            return await load()
        async with quotas.taking(user.principal, "bytes"):
            loaded = [info for each in await user.sessions(self.service) for info in each.contexts]
            left = quotas.bytes_left(loaded)
            try:
                return await load(rules=replace(rules, most_bytes=min(left, rules.most_bytes)))
            except SourceTooLarge as error:
                if left >= rules.most_bytes:
                    raise
                raise quotas.too_much(error.message, left) from error

    async def _capped(self, user: User, budget: Budget) -> Budget:
        today = await self._own_costs(user, "day", None)
        return user.quotas.capped(budget, today.total.usage.cost)

    async def _own_costs(self, user: User, scope: CostScope, key: str | None) -> "Costs":
        # The service's modules cost as much to import as all others, and are only there by now.
        from rlm_mcp.runs.costs import costs  # noqa: PLC0415 - see above

        return await costs(self.service.journal, scope, key, user.principal)

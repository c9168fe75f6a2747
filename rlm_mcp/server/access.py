"""What of the service is a caller's own: the one way from a tool or resource to it.

A caller who said who it is sees its own sessions, runs, contexts and costs. What belongs to another
is answered word for word like what never was. Where nobody is asked, everything is everyone's who
knows its id.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread

from rlm_mcp.errors import NoSession, UnknownContext, UnknownRun, UnknownSession
from rlm_mcp.server.sessions import Sessions
from rlm_mcp.types import ContextInfo, CostScope

if TYPE_CHECKING:
    from rlm_mcp.contexts.catalogue import Catalogue
    from rlm_mcp.contexts.ingest import LoadProgress
    from rlm_mcp.engine.session import Session
    from rlm_mcp.runs.costs import Costs
    from rlm_mcp.runs.jobs import Job
    from rlm_mcp.server.users import User
    from rlm_mcp.service import Query, Service


@dataclass(frozen=True, slots=True)
class Caller:
    """Made for each request. `key` is what the transport implies, `user` who it says it is."""

    service: "Service"
    implied: Sessions
    key: str | None
    user: "User | None"

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
            from rlm_mcp.engine.session import unknown_session  # noqa: PLC0415 - see `resume`

            raise unknown_session(handle, self.service.settings.session_ttl_s)
        return self.service.session(handle)

    @asynccontextmanager
    async def to_load(self, handle: str | None) -> "AsyncIterator[Session]":
        """The session to load into, started if need be. See `Sessions.to_load`."""
        if handle is not None:
            yield await self.session(handle)
            return
        new = self.service.new_session if self.user is None else self.user.new_session
        async with self.implied.to_load(self.service, self.key, new) as session:
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
        return await (load() if self.user is None else self.user.load(session, load))

    async def start(self, session: "Session", query: "Query") -> "Job":
        """Start a run; see `Service.start`.

        Raises:
            QuotaReached: the user has as many runs at work, or has spent as much, as it may.
        """
        return await (self.service if self.user is None else self.user).start(session, query)

    async def run(self, run_id: str) -> "Job | None":
        """The run of that id if it is this caller's, None if this process does not have it.

        Raises:
            UnknownRun: there is none of that id, or it is another's.
        """
        if self.user is not None and not await self.user.owns_run(run_id):
            raise UnknownRun(
                f"There is no run {run_id!r}.", "Take the run_id from a result of rlm_query."
            )
        return self.service.jobs.find(run_id)

    async def resume(self, run_id: str) -> "Job | None":
        """Go on with an interrupted run of this caller; see `resuming.resume`.

        Raises:
            QuotaReached: the user has as many sessions or runs, or has spent as much, as it may.
        """
        if self.user is not None:
            return await self.user.resume(run_id)
        from rlm_mcp.resuming import resume  # noqa: PLC0415 - imports the engine, see app.service()

        return await resume(self.service, run_id)

    async def catalogue(self, id: str) -> "Catalogue":
        """The documents of a context.

        Raises:
            UnknownContext: there is none of that id, or it is another's.
        """
        found = partial(anyio.to_thread.run_sync, self.service.store.catalogue, id)
        if self.user is None:
            return await found()
        from rlm_mcp.contexts.store import unknown  # noqa: PLC0415 - likewise

        if not await self.user.owns(id):
            raise unknown(id)
        try:
            return await found()
        except UnknownContext as error:  # its hint may be another's id
            raise unknown(id) from error

    async def contexts(self) -> list[ContextInfo]:
        """Those to list: of a user all it has loaded, of a local client those of its session."""
        if self.user is not None:
            open_ones = await self.user.sessions()
        else:
            handle = self.implied.local
            open_ones = [each for each in self.service.sessions if each.handle == handle]
        return list({info.id: info for each in open_ones for info in each.contexts}.values())

    async def as_loaded(self, id: str) -> ContextInfo | None:
        """A context as the newest load met it that this caller may know of, None if it is gone."""
        known = self.service.sessions if self.user is None else await self.user.sessions()
        loaded = [info for each in known for info in each.contexts if info.id == id]
        return loaded[-1] if loaded else None

    async def costs(self, scope: CostScope, key: str | None) -> "Costs":
        """What a session, a run, a day or everything has used; of a user only its own.

        Raises:
            UnknownRun, UnknownSession: there is none of that id, or it is another's.
        """
        if scope == "session" and key is None:
            key = (await self.session(None)).handle
        if self.user is None:
            return await self.service.costs(scope, key)
        if scope == "session" and not await self.user.owns(key or ""):
            raise UnknownSession(
                f"There was never a session {key!r}.",
                "Take the handle from a result of load_context.",
            )
        if scope == "run" and key is not None:
            await self.run(key)
        return await self.user.costs(scope, key)

"""Whose call it is: a handle in the arguments, or the session that the transport implies."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server import ServerRequestContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

if TYPE_CHECKING:
    from rlm_mcp.engine.session import Session
    from rlm_mcp.service import Service

LOCAL = "local"

Request = ServerRequestContext[Any, Any]
New = Callable[[], Awaitable["Session"]]


def transport_key(request: Request) -> str | None:
    """What stands for the client of this request, None if nothing does.

    On stdio and in memory there is one client. HTTP has `Mcp-Session-Id` up to revision 2025-11-25
    and no identity since (SEP-2567). Connection objects are no key: they change with each request.
    """
    headers = getattr(request.request, "headers", None)
    if headers is None:
        return LOCAL
    if request.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return None
    session_id = headers.get("mcp-session-id")
    return http_key(session_id) if session_id else None


def http_key(session_id: str) -> str:
    """The key of a client that the transport named."""
    return f"http:{session_id}"


def of_principal(key: str, principal: str) -> str:
    """The key of a client that the transport named and who said who it is: both must be right."""
    return f"{key} {principal}"


@dataclass(slots=True)
class Sessions:
    """Which session each transport key implies."""

    _handles: dict[str, str] = field(default_factory=dict)
    _starting: anyio.Lock = field(default_factory=anyio.Lock)

    @property
    def local(self) -> str | None:
        """The handle of the one client on stdio or in memory, None if it has loaded nothing."""
        return self.implied(LOCAL)

    def implied(self, key: str | None) -> str | None:
        """The handle that `key` stands for, None if it does not yet."""
        return None if key is None else self._handles.get(key)

    @asynccontextmanager
    async def to_load(
        self, service: "Service", key: str | None, new: New
    ) -> AsyncIterator["Session"]:
        """The session that `key` implies, or a `new` one.

        A session that was started for this load, and that nothing implies, ends if the load fails:
        nobody could ever name it.

        Raises:
            TooManySessions: as many are open as settings allow.
            QuotaReached: as many of one user are.
        """
        if key is not None:
            yield await self._found_or_started(service, key, new)
            return
        session = await new()
        try:
            yield session
        except BaseException:
            with anyio.CancelScope(shield=True):
                await service.end_session(session.handle)
            raise

    async def end(self, service: "Service", key: str) -> None:
        """End the session that `key` implies, if there is one."""
        handle = self._handles.pop(key, None)
        if handle is not None:
            await service.end_session(handle)

    async def _found_or_started(self, service: "Service", key: str, new: New) -> "Session":
        async with self._starting:
            open_handles = {session.handle for session in service.sessions}
            if self._handles.get(key) not in open_handles:
                self._handles = {k: h for k, h in self._handles.items() if h in open_handles}
                self._handles[key] = (await new()).handle
            return service.session(self._handles[key])

"""What all calls of one server share: the service, opened by the first that needs it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourcesListChanged

from rlm_mcp.errors import RlmError
from rlm_mcp.server.access import Caller
from rlm_mcp.server.sessions import Request, Sessions, of_principal, transport_key
from rlm_mcp.settings import Settings
from rlm_mcp.tasks import background

if TYPE_CHECKING:
    from rlm_mcp.server.users import User
    from rlm_mcp.service import Service

Share = Callable[["Service"], AbstractAsyncContextManager[Callable[[Request], "User"]]]
"""Opens, over a service, what tells the user of a request: see `server.users`."""

CLOSE_S = 5.0


@dataclass(slots=True)
class App:
    """Made by `open_app`. `bus` carries change notices to clients of the current revision.

    An app with `share` serves only callers who said who they are, each its own. `client_left`: the
    only client is gone, without a word on what it waited for.
    """

    settings: Settings
    tasks: TaskGroup
    share: Share | None = None
    sessions: Sessions = field(default_factory=Sessions)
    bus: InMemorySubscriptionBus = field(default_factory=InMemorySubscriptionBus)
    client_left: bool = False
    _opened: anyio.Event = field(default_factory=anyio.Event)
    _closing: anyio.Event = field(default_factory=anyio.Event)
    _closed: anyio.Event = field(default_factory=anyio.Event)
    _wanted: bool = False
    _service: "Service | None" = None
    _user_of: "Callable[[Request], User] | None" = None
    _failure: RlmError | None = None

    async def caller(self, request: Request) -> Caller:
        """Who makes the request, and what is theirs.

        Raises:
            AuthMissing: the app is shared, and the request says nobody.
            JournalFailed, SettingsInvalid: see `service`.
        """
        service = await self.service()
        key = transport_key(request)
        if self._user_of is None:
            return Caller(service, self.sessions, key, None)
        user = self._user_of(request)
        return Caller(service, self.sessions, key and of_principal(key, user.principal), user)

    async def service(self) -> "Service":
        """The service, opened if this is the first call that needs it.

        Raises:
            JournalFailed: the data folder cannot be used.
            SettingsInvalid: a setting can never work.
        """
        self.open()
        await self._opened.wait()
        if self._failure is not None:
            raise self._failure
        assert self._service is not None
        return self._service

    async def announce_contexts(self, request: Request) -> None:
        """Tell clients of either revision that `resources/list` has changed."""
        await self.bus.publish(ResourcesListChanged())
        await request.session.send_resource_list_changed()

    async def end_session(self, key: str) -> None:
        """End the session that a transport key implies, if there is one."""
        if self.sessions.implied(key) is not None:
            await self.sessions.end(await self.service(), key)

    def open(self) -> None:
        """Open the service, if nobody has yet."""
        if not self._wanted:
            self._wanted = True
            self.tasks.start_soon(self._hold)

    def leave(self) -> None:
        """Begin to end all runs and REPLs."""
        self._closing.set()

    async def close(self) -> None:
        """End all runs and REPLs, within `CLOSE_S` seconds; runs can be resumed later."""
        self.leave()
        if self._wanted:
            await self._closed.wait()

    async def _hold(self) -> None:
        """Open the service and keep it until `close`; a failure to open is every call's answer."""
        # Half of what our modules cost to import, and a host that lists tools needs none of it.
        from rlm_mcp.resuming import resume_all  # noqa: PLC0415 - see above
        from rlm_mcp.service import open_service  # noqa: PLC0415 - likewise

        # Shielded: clean-up must not be cut short by what cancels the transport.
        with anyio.CancelScope(shield=True) as scope:
            try:
                async with open_service(self.settings) as service, AsyncExitStack() as stack:
                    if self.share is not None:
                        self._user_of = await stack.enter_async_context(self.share(service))
                    self._service = service
                    service.models.wait_s = self.settings.wait_s
                    self._opened.set()
                    async with background() as tasks:
                        if self.settings.resume:
                            tasks.start_soon(resume_all, service)
                        await self._closing.wait()
                    scope.deadline = anyio.current_time() + CLOSE_S
            except RlmError as error:
                self._failure = error
            finally:
                self._opened.set()
                self._closed.set()


@asynccontextmanager
async def open_app(settings: Settings, share: Share | None = None) -> AsyncIterator[App]:
    """An app; on leaving, nothing of its service lives on."""
    async with anyio.create_task_group() as tasks:
        app = App(settings, tasks, share)
        if settings.resume:
            app.open()
        try:
            yield app
        finally:
            with anyio.CancelScope(shield=True):
                await app.close()

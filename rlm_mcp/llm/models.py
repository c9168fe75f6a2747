"""The models of this process: names and settings in, connected models out."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio
import anyio.to_thread

from rlm_mcp.errors import EndpointError, SettingsInvalid
from rlm_mcp.llm.prices import Price, price
from rlm_mcp.llm.profiles import ModelProfile, keep, kept
from rlm_mcp.llm.sites import Site, root_site, server_of, sub_sites
from rlm_mcp.protocols import Model, SharedModel
from rlm_mcp.settings import Settings

if TYPE_CHECKING:
    from rlm_mcp.llm.client import Connection, RemoteModel, Server
    from rlm_mcp.llm.discover import Profile
    from rlm_mcp.llm.embedded.server import EmbeddedServer
    from rlm_mcp.llm.interview import Bounds
    from rlm_mcp.llm.probing import Claim
    from rlm_mcp.llm.scheduler import Gate

# What needs httpx is imported at the first use of a model: it takes 100 ms of computing, which a
# server that only answers `tools/list` need not spend.

_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class ModelPair:
    """The model that writes code and the one that code asks; often the same."""

    root: Model
    sub: Model

    def for_run(self, session: str, run: str) -> "ModelPair":
        """The same models, whose slots the run shares fairly with others; a caller's own as is."""
        root = self.root.for_run(session, run) if isinstance(self.root, SharedModel) else self.root
        if self.sub is self.root:
            return ModelPair(root, root)
        sub = self.sub.for_run(session, run) if isinstance(self.sub, SharedModel) else self.sub
        return ModelPair(root, sub)


class Models:
    """Gives out models by name. An async context manager: it owns the connections.

    Entering it touches no network. Endpoints are looked at when first asked for, and anew once
    one turned out to be gone or to lack its model, so a server that starts late is found.
    `say` is told what an embedded server is doing while `resolve` waits for it: to the end, or for
    `wait_s` seconds.
    """

    say: Callable[[str], None] | None = None
    wait_s: float | None = None

    def __init__(
        self,
        settings: Settings,
        *,
        local_servers: tuple[tuple[str, int], ...] | None = None,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        """`local_servers` are the (name, port) pairs looked at when no address is set.

        `patience_s` is how long a call waits for an endpoint that does not answer.

        Raises:
            SettingsInvalid: an address or a key can never work.
        """
        self._settings = settings
        self._home = settings.home.expanduser()
        if settings.api_url is not None and settings.model_path is not None:
            raise SettingsInvalid(
                "RLM_API_URL and RLM_MODEL_PATH are both set.",
                "Remove one: the model is asked at that address, or runs here.",
            )
        self._root = root_site(settings)
        self._subs = sub_sites(settings, self._root)
        self._local_servers = local_servers
        self._patience_s = patience_s
        self._found: dict[Site, tuple[Connection, Profile]] = {}
        self._missing: dict[Site, EndpointError] = {}
        self._connections: dict[tuple[str, str | None], Connection] = {}
        self._gates: dict[str, Gate] = {}
        self._pairs: dict[tuple[str, str], ModelPair] = {}
        self._lock = anyio.Lock()
        self._stack = AsyncExitStack()
        self._embedded: EmbeddedServer | None = None

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        if (source := self._settings.model_path) is not None:
            from rlm_mcp.llm.embedded.server import EmbeddedServer  # noqa: PLC0415 - few need it
            from rlm_mcp.llm.embedded.sizing import Wish  # noqa: PLC0415 - likewise

            wish = Wish(self._settings.context_window, self._settings.concurrency)
            server = EmbeddedServer(source, self._home, wish)
            self._embedded = await self._stack.enter_async_context(server)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def resolve(self, model: str | None = None, sub_model: str | None = None) -> ModelPair:
        """The models of these names; those of the settings where None, the endpoint's if `auto`.

        Models at one address share its slots, whatever their names and keys. Of several endpoints
        for the sub-model, one that can be asked is enough.

        Raises:
            EndpointError: the endpoint cannot be reached, or has no such model.
        """
        names = (model or self._settings.model, sub_model or self._settings.sub_model)
        if self._embedded is not None:
            await self._embedded.address(self.say, self.wait_s)
        async with self._lock:
            await self._look(self._root)
            await self._look_at_subs()
            if names not in self._pairs:
                self._pairs[names] = await self._pair(*names)
            return self._pairs[names]

    async def once_more(self, model: str, sub_model: str) -> ModelPair:
        """Those of the settings if these are the names they have now, else those of these names.

        Of several endpoints for the sub-model, each may have its own under another name.

        Raises:
            EndpointError: as `resolve`.
        """
        with suppress(EndpointError):
            usual = await self.resolve()
            if (usual.root.name, usual.sub.name) == (model, sub_model):
                return usual
        return await self.resolve(model, sub_model)

    async def measure(self, bounds: "Bounds | None" = None) -> tuple[ModelProfile, ...]:
        """Question the models of the settings, each once, and keep what they show for later runs.

        Takes up to minutes, and tokens, for each of the two: only for a user who asked for it.

        Raises:
            EndpointError: the endpoint cannot be reached, or does not answer a plain question.
            OSError: the data folder cannot be written.
        """
        from rlm_mcp.llm.client import RemoteModel  # noqa: PLC0415 - likewise
        from rlm_mcp.llm.probing import measure  # noqa: PLC0415 - needs httpx, see above

        pair, profiles = await self.resolve(), dict[tuple[str, str], ModelProfile]()
        assert isinstance(pair.root, RemoteModel)
        assert isinstance(pair.sub, RemoteModel)
        for server in (*pair.root.servers, *pair.sub.servers):
            endpoint, name = server.connection.endpoint, server.name
            if (endpoint.url, name) not in profiles:
                profile = await measure(endpoint, name, await self._claim(server), bounds)
                await anyio.to_thread.run_sync(keep, self._home, profile)
                profiles[endpoint.url, name] = profile
        self._pairs.clear()
        return tuple(profiles.values())

    async def kept(self, model: Model) -> ModelProfile | None:
        """What was measured before of a model given out here, None if nothing was."""
        from rlm_mcp.llm.client import RemoteModel  # noqa: PLC0415 - needs httpx, see above

        assert isinstance(model, RemoteModel)
        return await anyio.to_thread.run_sync(kept, self._home, model.url, model.name)

    async def _pair(self, model: str, sub_model: str) -> ModelPair:
        settings, is_shared = self._settings, self._subs == (self._root,)
        root_price = price(settings.price_in, settings.price_out, settings.price_cached)
        root = await self._model((self._root,), model, root_price)
        sub_price = price(settings.sub_price_in, settings.sub_price_out, settings.sub_price_cached)
        sub = await self._model(self._subs, sub_model, sub_price, root.name)
        if sub_price is None and is_shared and sub.name == root.name:
            return ModelPair(root, root)
        return ModelPair(root, sub)

    async def _model(
        self, sites: Sequence[Site], name: str, its_price: Price | None, root: str | None = None
    ) -> "RemoteModel":
        """The model of these sites; `auto` is the `root` of that name where the root is asked."""
        from rlm_mcp.llm.client import RemoteModel  # noqa: PLC0415 - needs httpx, see above
        from rlm_mcp.llm.discover import AUTO  # noqa: PLC0415 - likewise

        found, missing = [], [each for site, each in self._missing.items() if site in sites]
        for site in sites:
            own = root if root and name == AUTO and site == self._root else name
            if site in self._found:
                try:
                    found.append(await self._server(site, own))
                except EndpointError as error:
                    missing.append(error)
        if not found:
            raise missing[0]
        return RemoteModel(
            [server for server, _ in found],
            min((window for _, window in found if window is not None), default=None),
            price=its_price,
            patience_s=self._patience_s,
            missing=[error.message for error in missing],
        )

    async def _server(self, site: Site, name: str) -> "tuple[Server, int | None]":
        """A model as a site has it, by what is known of it, and its window in tokens."""
        from rlm_mcp.llm.client import Server  # noqa: PLC0415 - needs httpx, see above
        from rlm_mcp.llm.discover import choose_sized  # noqa: PLC0415 - likewise

        connection, found = self._found[site]
        served = await choose_sized(found, connection.endpoint, name)
        window = served.window_tokens
        url = connection.endpoint.url
        profile = await anyio.to_thread.run_sync(kept, self._home, url, served.name)
        thinking_off = None
        if profile is not None:
            slots = self._settings.concurrency or profile.at_a_time(connection.gate.slots)
            if slots != connection.gate.slots:
                connection.gate.resize(slots)
            window = profile.window_of(window, slots)
            told, dialects = profile.dialect, connection.endpoint.dialects
            known = dialects.get(served.name, told)
            merges, folds = known.merges or told.merges, known.folds or told.folds
            dialects[served.name] = replace(known, merges=merges, folds=folds)
            thinking_off = profile.thinking_off
        window = self._settings.context_window or window
        if window is not None:
            connection.endpoint.windows[served.name] = window
        return Server(connection, served.name, thinking_off), window

    async def _claim(self, server: "Server") -> "Claim":
        """What settings and metadata say of a model."""
        from rlm_mcp.llm.discover import choose_sized  # noqa: PLC0415 - needs httpx, see above
        from rlm_mcp.llm.probing import Claim  # noqa: PLC0415 - likewise

        found = next(each for where, each in self._found.values() if where is server.connection)
        chosen = await choose_sized(found, server.connection.endpoint, server.name)
        told = chosen.window_tokens
        slots = self._settings.concurrency or found.slots
        return Claim(self._settings.context_window, told, slots)

    async def _look_at_subs(self) -> None:
        """Look at the sites of the sub-model. One of several that is gone is left out for now."""
        if len(self._subs) == 1:
            await self._look(self._subs[0])
            return
        async with anyio.create_task_group() as tasks:
            for site in self._subs:
                tasks.start_soon(self._look_if_open, site)

    async def _look_if_open(self, site: Site) -> None:
        """Look at one of several sites, unless it was put aside a moment ago."""
        assert site.url is not None
        gate = (await self._connect(site)).gate
        if not gate.is_open and (site in self._found or site in self._missing):
            return
        try:
            await self._look(site)
        except EndpointError as error:
            gate.put_aside(self._patience_s)
            if site not in self._found:
                self._missing[site] = error
        else:
            self._missing.pop(site, None)

    async def _look(self, site: Site) -> None:
        """Find out what is at a site, unless that is known and still true."""
        from rlm_mcp.llm import discover  # noqa: PLC0415 - needs httpx, see above

        known = self._found.get(site)
        is_known = known is not None and not known[0].is_stale
        if is_known and self._embedded is None:
            return
        connection = await self._connect(site)
        if is_known and known is not None and connection is known[0]:
            return  # else the embedded server was given up, and listens elsewhere now
        profile = await discover.probe(connection.endpoint)
        slots = self._settings.concurrency or profile.slots or discover.UNKNOWN_SLOTS
        connection.gate.resize(slots)
        connection.endpoint.speech = profile.speech
        connection.endpoint.listed = tuple(each.name for each in profile.models)
        connection.is_stale = profile.problem is not None
        self._found[site] = (connection, profile)
        self._pairs.clear()

    async def _connect(self, site: Site) -> "Connection":
        """The connection to an address; one for life, because calls may be under way on it."""
        from rlm_mcp.llm import discover  # noqa: PLC0415 - needs httpx, see above
        from rlm_mcp.llm.client import Connection  # noqa: PLC0415 - likewise
        from rlm_mcp.llm.endpoint import Endpoint  # noqa: PLC0415 - likewise
        from rlm_mcp.llm.scheduler import Gate  # noqa: PLC0415 - likewise

        url, key, shown = site.url, site.key, None
        if url is None and self._embedded is not None:
            address = await self._embedded.address(self.say, self.wait_s)
            url, key, shown = address.url, address.key, self._embedded.source
        elif url is None:
            servers = self._local_servers or discover.LOCAL_SERVERS
            url = await discover.find_local(servers)
        if (url, key) not in self._connections:
            endpoint = Endpoint(url, key, self._settings.timeout_s, shown=shown)
            await self._stack.enter_async_context(endpoint)
            gate = self._gates.setdefault(server_of(url), Gate(slots=1))
            self._connections[url, key] = Connection(endpoint, gate)
        return self._connections[url, key]

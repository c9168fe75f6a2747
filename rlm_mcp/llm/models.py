"""The models of this process: names and settings in, connected models out."""

from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from pydantic import SecretStr

from rlm_mcp.errors import SettingsInvalid
from rlm_mcp.llm.prices import Price, price
from rlm_mcp.llm.profiles import ModelProfile, keep, kept
from rlm_mcp.protocols import Model
from rlm_mcp.settings import PREFIX, Settings

if TYPE_CHECKING:
    from rlm_mcp.llm.client import Connection, Throttle
    from rlm_mcp.llm.discover import Profile
    from rlm_mcp.llm.interview import Bounds
    from rlm_mcp.llm.probing import Claim

# What needs httpx is imported at the first use of a model: it takes 100 ms of computing, which a
# server that only answers `tools/list` need not spend.

_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class ModelPair:
    """The model that writes code and the one that code asks; often the same."""

    root: Model
    sub: Model


@dataclass(frozen=True, slots=True)
class _Site:
    """Where models are asked for: an address, None to look for one on this machine, and a key."""

    url: str | None
    key: str | None = field(repr=False)


class Models:
    """Gives out models by name. An async context manager: it owns the connections.

    Entering it touches no network. Endpoints are looked at when first asked for, and anew once
    one turned out to be gone or to lack its model, so a server that starts late is found.
    """

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
        self._root = _site(settings.api_url, settings.api_key, "")
        self._sub = _sub_site(settings, self._root)
        self._local_servers = local_servers
        self._patience_s = patience_s
        self._found: dict[_Site, tuple[Connection, Profile]] = {}
        self._connections: dict[tuple[str, str | None], Connection] = {}
        self._throttles: dict[str, Throttle] = {}
        self._pairs: dict[tuple[str, str], ModelPair] = {}
        self._lock = anyio.Lock()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
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

        Models at one address share its limiter, whatever their names and keys.

        Raises:
            EndpointError: the endpoint cannot be reached, or has no such model.
        """
        names = (model or self._settings.model, sub_model or self._settings.sub_model)
        async with self._lock:
            for site in {self._root, self._sub}:
                await self._look(site)
            if names not in self._pairs:
                self._pairs[names] = await self._pair(*names)
            return self._pairs[names]

    async def measure(self, bounds: "Bounds | None" = None) -> tuple[ModelProfile, ...]:
        """Question the models of the settings, each once, and keep what they show for later runs.

        Takes up to minutes, and tokens, for each of the two: only for a user who asked for it.

        Raises:
            EndpointError: the endpoint cannot be reached, or does not answer a plain question.
            OSError: the data folder cannot be written.
        """
        from rlm_mcp.llm.probing import measure  # noqa: PLC0415 - needs httpx, see above

        pair, profiles = await self.resolve(), dict[tuple[str, str], ModelProfile]()
        for site, model in ((self._root, pair.root), (self._sub, pair.sub)):
            endpoint = self._found[site][0].endpoint
            if (endpoint.url, model.name) not in profiles:
                profile = await measure(endpoint, model.name, self._claim(site, model.name), bounds)
                await anyio.to_thread.run_sync(keep, self._home, profile)
                profiles[endpoint.url, model.name] = profile
        self._pairs.clear()
        return tuple(profiles.values())

    async def kept(self, model: Model) -> ModelProfile | None:
        """What was measured before of a model given out here, None if nothing was."""
        from rlm_mcp.llm.client import RemoteModel  # noqa: PLC0415 - needs httpx, see above

        assert isinstance(model, RemoteModel)
        return await anyio.to_thread.run_sync(kept, self._home, model.url, model.name)

    async def _pair(self, model: str, sub_model: str) -> ModelPair:
        settings, is_shared = self._settings, self._sub == self._root
        root_price = price(settings.price_in, settings.price_out, settings.price_cached)
        root = await self._model(self._root, model, root_price)
        sub_name = root.name if is_shared and sub_model == "auto" else sub_model
        sub_price = price(settings.sub_price_in, settings.sub_price_out, settings.sub_price_cached)
        sub = await self._model(self._sub, sub_name, sub_price)
        if sub_price is None and is_shared and sub.name == root.name:
            return ModelPair(root, root)
        return ModelPair(root, sub)

    async def _model(self, site: _Site, name: str, its_price: Price | None) -> Model:
        from rlm_mcp.llm.client import RemoteModel  # noqa: PLC0415 - needs httpx, see above
        from rlm_mcp.llm.discover import choose  # noqa: PLC0415 - likewise

        connection, found = self._found[site]
        served = choose(found, connection.endpoint, name)
        window = served.window_tokens
        url = connection.endpoint.url
        profile = await anyio.to_thread.run_sync(kept, self._home, url, served.name)
        if profile is not None:
            slots = self._settings.concurrency or profile.at_a_time(connection.throttle.slots)
            if slots != connection.throttle.slots:
                connection.throttle.resize(slots)
            window = profile.window_of(window, slots)
            told, dialects = profile.dialect, connection.endpoint.dialects
            known = dialects.get(served.name, told)
            merges, folds = known.merges or told.merges, known.folds or told.folds
            dialects[served.name] = replace(known, merges=merges, folds=folds)
        return RemoteModel(
            connection,
            served.name,
            self._settings.context_window or window,
            price=its_price,
            patience_s=self._patience_s,
            thinking_off=None if profile is None else profile.thinking_off,
        )

    def _claim(self, site: _Site, name: str) -> "Claim":
        """What settings and metadata say of a model."""
        from rlm_mcp.llm.discover import choose  # noqa: PLC0415 - needs httpx, see above
        from rlm_mcp.llm.probing import Claim  # noqa: PLC0415 - likewise

        connection, found = self._found[site]
        told = choose(found, connection.endpoint, name).window_tokens
        slots = self._settings.concurrency or found.slots
        return Claim(self._settings.context_window, told, slots)

    async def _look(self, site: _Site) -> None:
        """Find out what is at a site, unless that is known and still true."""
        from rlm_mcp.llm import discover  # noqa: PLC0415 - needs httpx, see above

        if site in self._found and not self._found[site][0].is_stale:
            return
        url = site.url or await discover.find_local(self._local_servers or discover.LOCAL_SERVERS)
        connection = await self._connect(url, site.key)
        profile = await discover.probe(connection.endpoint)
        slots = self._settings.concurrency or profile.slots or discover.UNKNOWN_SLOTS
        connection.throttle.resize(slots)
        connection.endpoint.listed = tuple(each.name for each in profile.models)
        connection.is_stale = profile.problem is not None
        self._found[site] = (connection, profile)
        self._pairs.clear()

    async def _connect(self, url: str, key: str | None) -> "Connection":
        """The connection to an address; one for life, because calls may be under way on it."""
        from rlm_mcp.llm.client import Connection, Throttle  # noqa: PLC0415 - needs httpx
        from rlm_mcp.llm.endpoint import Endpoint  # noqa: PLC0415 - likewise

        if (url, key) not in self._connections:
            endpoint = Endpoint(url, key, self._settings.timeout_s)
            await self._stack.enter_async_context(endpoint)
            throttle = self._throttles.setdefault(url, Throttle(slots=1))
            self._connections[url, key] = Connection(endpoint, throttle)
        return self._connections[url, key]


def _sub_site(settings: Settings, root: _Site) -> _Site:
    """The sub-model's site. The root's key goes only where the root's requests go."""
    own = _site(settings.sub_api_url, settings.sub_api_key, "SUB_")
    url = own.url or root.url
    return _Site(url, own.key or (root.key if url == root.url else None))


def _site(url: str | None, secret: SecretStr | None, prefix: str) -> _Site:
    key = secret.get_secret_value().strip() if secret else None
    if key and not (key.isascii() and key.isprintable()):
        name = f"{PREFIX}{prefix}API_KEY"
        raise SettingsInvalid(f"{name} has characters no key has.", f"Set {name} anew.")
    return _Site(None if url is None else _address(url, f"{PREFIX}{prefix}API_URL"), key or None)


def _address(url: str, name: str) -> str:
    """The address in one form, so that one server counts as one: ends in a path, without slash."""
    address = url.strip().rstrip("/").removesuffix("/chat/completions")
    try:
        parts = urlsplit(address)
        is_web = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_web = False
    if not is_web:
        raise SettingsInvalid(
            f"{name} is no http or https address.", f"Set {name} like http://localhost:8080/v1."
        )
    if "?" in address or "#" in address:
        raise SettingsInvalid(
            f"{name} has a query or a fragment, which no endpoint could be asked with.",
            f"Set {name} like http://localhost:8080/v1; a key goes into"
            f" {name.removesuffix('API_URL')}API_KEY.",
        )
    return address if parts.path else f"{address}/v1"

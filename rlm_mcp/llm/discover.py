"""What an endpoint is: its models, their windows, its slots; and where one listens on this machine.

Asked of the metadata pages of llama.cpp, vLLM, SGLang, Ollama and LM Studio. Never of `/health`:
a LiteLLM proxy answers it by asking every model it has for a completion.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import anyio
import orjson

from rlm_mcp.errors import (
    EndpointBusy,
    EndpointError,
    EndpointRefused,
    EndpointUnreachable,
    ModelUnknown,
    NotTheProtocol,
)
from rlm_mcp.llm.counts import count_in, count_of
from rlm_mcp.llm.endpoint import Endpoint, Fetched
from rlm_mcp.llm.ollama import OllamaChat, wanted_window
from rlm_mcp.llm.refusals import error_of, model_unknown, not_the_protocol, read_refusal
from rlm_mcp.llm.speech import OpenAIChat, Speech

AUTO = "auto"
UNKNOWN_SLOTS = 4
LOCAL_SERVERS: tuple[tuple[str, int], ...] = (
    ("llama.cpp", 8080),
    ("Ollama", 11434),
    ("LM Studio", 1234),
    ("vLLM", 8000),
    ("SGLang", 30000),
)

_MODELS, _PROPS, _METRICS = "/v1/models", "/props", "/metrics"
_LM_STUDIO, _SGLANG = "/api/v0/models", "/get_server_info"
_OLLAMA, _OLLAMA_VERSION = "/api/ps", "/api/version"
_PAGES = (_MODELS, _PROPS, _METRICS, _LM_STUDIO, _OLLAMA, _OLLAMA_VERSION, _SGLANG)
_MOST_SLOTS = 64
_PROBE_S = 3.0
_SCAN_S = 1.5
_NO_CHAT = re.compile(r"embed|rerank|whisper|\btts\b|\bbge-", re.IGNORECASE)
_VLLM_CONCURRENCY = re.compile(rb'kv_cache_max_concurrency="([0-9]+)')


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model an endpoint lists. `is_loaded` False: nothing says that it is in memory now."""

    name: str
    aliases: tuple[str, ...] = ()
    window_tokens: int | None = None
    is_loaded: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """What an endpoint tells of itself. `problem` says why there are no `models`, None if some.

    `speech` is the protocol it is best asked in.
    """

    models: tuple[ServedModel, ...]
    slots: int | None
    problem: EndpointError | None
    speech: Speech


async def probe(endpoint: Endpoint) -> Profile:
    """Ask an endpoint what it has; a page it lacks only leaves its part unknown.

    Raises:
        EndpointUnreachable: nothing answers there.
        EndpointFailed: its list of models has no end.
    """
    found: dict[str, Fetched | EndpointError] = {}

    async def ask(page: str) -> None:
        try:
            found[page] = await endpoint.fetch(page, _PROBE_S)
        except EndpointError as error:
            found[page] = error

    async with anyio.create_task_group() as group:
        for page in _PAGES:
            group.start_soon(ask, page)
    listing = found[_MODELS]
    if isinstance(listing, EndpointError):
        raise listing
    pages = {page: got for page, got in found.items() if isinstance(got, Fetched)}
    window, slots = _read_props(_json(pages, _PROPS))
    elsewhere = _windows(pages, _OLLAMA, "models", "name", "context_length")
    elsewhere |= _windows(pages, _LM_STUDIO, "data", "id", "loaded_context_length")
    models = tuple(
        replace(
            model,
            window_tokens=model.window_tokens or window or elsewhere.get(model.name),
            is_loaded=model.is_loaded or model.name in elsewhere,
        )
        for model in map(_served, _entries(_json(pages, _MODELS), "data", "id"))
    )
    return Profile(
        models=models,
        slots=slots or _vllm_slots(pages.get(_METRICS)) or _sglang_slots(_json(pages, _SGLANG)),
        problem=None if models else _problem(endpoint, listing),
        speech=OllamaChat() if _is_ollama(pages) else OpenAIChat(),
    )


def choose(profile: Profile, endpoint: Endpoint, name: str) -> ServedModel:
    """The model to ask for: `name` if the endpoint has it, or its best if `name` is `auto`.

    An endpoint that lists nothing is believed to have what was named.

    Raises:
        ModelUnknown: it lists models and none is `name`, or lists none to choose from.
        EndpointError: it would not list any; its leaf says why.
    """
    if name == AUTO:
        if profile.problem is not None:
            raise profile.problem
        chatty = [model for model in profile.models if not _NO_CHAT.search(model.name)]
        candidates = chatty or list(profile.models)
        return next((model for model in candidates if model.is_loaded), candidates[0])
    if not profile.models:
        return ServedModel(name)
    for model in profile.models:
        if _is_named(model, name):
            return replace(model, name=name)
    names = [model.name for model in profile.models]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    raise model_unknown(endpoint.target(name), near[0] if near else None)


async def choose_sized(profile: Profile, endpoint: Endpoint, name: str) -> ServedModel:
    """As `choose`, with the window that will be asked for where one can ask.

    Raises:
        EndpointError: see `choose`.
    """
    chosen = choose(profile, endpoint, name)
    if not isinstance(profile.speech, OllamaChat):
        return chosen
    window = await wanted_window(endpoint, chosen.name, chosen.window_tokens)
    return replace(chosen, window_tokens=window)


async def find_local(servers: Sequence[tuple[str, int]] = LOCAL_SERVERS) -> str:
    """The address of the first of these (name, port) pairs that speaks the protocol on localhost.

    Raises:
        EndpointUnreachable: none does.
    """
    speaking: set[int] = set()

    async def ask(port: int) -> None:
        async with Endpoint(_local_url(port), None, _SCAN_S) as endpoint:
            try:
                page = await endpoint.fetch(_MODELS, _SCAN_S)
            except EndpointError:
                return
            if _speaks(page):
                speaking.add(port)

    async with anyio.create_task_group() as group:
        for _, port in servers:
            group.start_soon(ask, port)
    for _, port in servers:
        if port in speaking:
            return _local_url(port)
    tried = ", ".join(f"{name} {port}" for name, port in servers)
    raise EndpointUnreachable(
        f"No model server answers on this machine (tried {tried}).",
        "Start one, for example `llama-server -m model.gguf`, set RLM_API_URL to one elsewhere, or"
        " set RLM_MODEL_PATH to a GGUF file, which runs here (needs the extra `llama`).",
    )


def _local_url(port: int) -> str:
    return f"http://localhost:{port}/v1"


def _speaks(page: Fetched) -> bool:
    """Whether a listing of models, or a refusal to give one, is what this protocol sends."""
    try:
        value = orjson.loads(page.body)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(value, dict):
        return False
    if page.status == 200:
        return isinstance(value.get("data"), list)
    return page.status in {401, 403, 503} and "error" in value


def _served(entry: dict[str, Any]) -> ServedModel:
    meta, status, aliases = entry.get("meta"), entry.get("status"), entry.get("aliases")
    per_slot = meta.get("n_ctx") if isinstance(meta, dict) else None
    windows = (per_slot, entry.get("max_model_len"), entry.get("context_length"))
    return ServedModel(
        name=entry["id"],
        aliases=tuple(map(str, aliases)) if isinstance(aliases, list) else (),
        window_tokens=next(filter(None, map(_count, windows)), None),
        is_loaded=isinstance(status, dict) and status.get("value") == "loaded",
    )


def _is_named(model: ServedModel, name: str) -> bool:
    """Also by Ollama's default tag, a router's variant (`name:free`) or a proxy's wildcard."""
    known = (model.name, *model.aliases)
    return (
        name in known
        or f"{name}:latest" in known
        or name.partition(":")[0] in known
        or fnmatchcase(name, model.name)
    )


def _problem(endpoint: Endpoint, listing: Fetched) -> EndpointError:
    if listing.status == 200 and not isinstance(listing.json, dict):
        return not_the_protocol(endpoint.url, "listed no models in JSON")
    if listing.status != 200:
        refusal = read_refusal(listing.status, listing.headers, listing.body)
        error = error_of(refusal, endpoint.target(AUTO))
        if isinstance(error, EndpointRefused | EndpointBusy | NotTheProtocol):
            return error
    return ModelUnknown(
        f"{endpoint.url} lists no models to choose from.",
        "Load a model there, or set RLM_MODEL to the name of the one it serves.",
        url=endpoint.url,
    )


def _is_ollama(pages: dict[str, Fetched]) -> bool:
    version, loaded = _json(pages, _OLLAMA_VERSION), _json(pages, _OLLAMA)
    return (
        isinstance(version, dict)
        and "version" in version
        and (isinstance(loaded, dict) and isinstance(loaded.get("models"), list | None))
    )


def _json(pages: dict[str, Fetched], page: str) -> Any:
    return pages[page].json if page in pages else None


def _entries(value: Any, field: str, key: str) -> list[dict[str, Any]]:
    """The objects of the list under `field` that have a name under `key`."""
    listed = value.get(field) if isinstance(value, dict) else None
    entries = listed if isinstance(listed, list) else []
    return [each for each in entries if isinstance(each, dict) and isinstance(each.get(key), str)]


def _windows(
    pages: dict[str, Fetched], page: str, field: str, key: str, window: str
) -> dict[str, int]:
    entries = _entries(_json(pages, page), field, key)
    return {each[key]: count for each in entries if (count := _count(each.get(window)))}


def _read_props(props: Any) -> tuple[int | None, int | None]:
    """Window and slots of a llama.cpp server; its router mode says 0 where it does not know."""
    if not isinstance(props, dict):
        return None, None
    settings = props.get("default_generation_settings")
    window = settings.get("n_ctx") if isinstance(settings, dict) else None
    return _count(window), _count(props.get("total_slots"))


def _vllm_slots(page: Fetched | None) -> int | None:
    found = _VLLM_CONCURRENCY.search(page.body) if page else None
    slots = count_in(found[1]) if found else None
    return None if slots is None else min(_MOST_SLOTS, max(1, slots))


def _sglang_slots(page: Any) -> int | None:
    found = _count(page.get("max_running_requests")) if isinstance(page, dict) else None
    return min(_MOST_SLOTS, found) if found else None


def _count(value: Any) -> int | None:
    return count_of(value) or None

"""Finding endpoints and reading what they tell of themselves."""

from contextlib import asynccontextmanager

import anyio
import orjson
import pytest
from wire_server import CHAT, RECORDED, delta, events, raw_server, recorded, reply, silence

from rlm_mcp.errors import (
    EndpointBusy,
    EndpointError,
    EndpointFailed,
    EndpointRefused,
    EndpointUnreachable,
    ModelUnknown,
    NotTheProtocol,
    SettingsInvalid,
)
from rlm_mcp.llm.models import Models
from rlm_mcp.llm.scripted import serve
from rlm_mcp.settings import Settings
from rlm_mcp.types import Message

pytestmark = pytest.mark.anyio

HELLO = [Message("user", "Hello")]
OK = events(delta("OK"), delta(finish="stop"))
MODELS, PROPS, METRICS = "/v1/models", "/props", "/metrics"


def listing(*models, **more):
    return reply(200, orjson.dumps({"object": "list", "data": list(models), **more}))


def page(value):
    return reply(200, orjson.dumps(value))


@asynccontextmanager
async def models_at(pages, **settings):
    async with raw_server(pages) as server:
        given = Settings(**{"api_url": server.url, **settings})
        async with Models(given, patience_s=0) as models:
            yield models, server


ENDLESS = b"#" * (5 << 20)
LMSTUDIO = {
    "data": [
        {"id": "text-embedding-nomic", "state": "loaded", "loaded_context_length": 512},
        {"id": "first", "state": "not-loaded", "max_context_length": 99999},
        {"id": "second", "state": "loaded", "loaded_context_length": 8192},
    ]
}
OLLAMA = {"models": [{"name": "second:latest", "context_length": 4096}]}
ENDPOINTS = {
    "llama.cpp": (
        {MODELS: recorded("llamacpp/models"), PROPS: recorded("llamacpp/props")},
        ("tiny", 2048, 4),
    ),
    "llama.cpp that lists the window only in its props": (
        {
            MODELS: listing({"id": "a", "meta": {"n_ctx_train": 99}}),
            PROPS: recorded("llamacpp/props"),
        },
        ("a", 2048, 4),
    ),
    "llama.cpp router with a loaded model": (
        {
            MODELS: recorded("llamacpp-router/models_one_loaded"),
            PROPS: recorded("llamacpp-router/props"),
        },
        ("tiny", 8192, 4),
    ),
    "llama.cpp router with none": (
        {
            MODELS: recorded("llamacpp-router/models_unloaded"),
            PROPS: recorded("llamacpp-router/props"),
        },
        ("tiny", None, 4),
    ),
    "vLLM": (
        {MODELS: recorded("vllm/models"), METRICS: recorded("vllm/metrics")},
        ("tiny-vllm", 2048, 64),
    ),
    "LiteLLM": ({MODELS: recorded("litellm/models")}, ("pool", None, 4)),
    "llama-cpp-python": ({MODELS: recorded("llama-cpp-python/models")}, ("tiny.gguf", None, 4)),
    "LM Studio": (
        {
            MODELS: listing({"id": "text-embedding-nomic"}, {"id": "first"}, {"id": "second"}),
            "/api/v0/models": page(LMSTUDIO),
        },
        ("second", 8192, 4),
    ),
    "Ollama": (
        {MODELS: listing({"id": "first:7b"}, {"id": "second:latest"}), "/api/ps": page(OLLAMA)},
        ("second:latest", 4096, 4),
    ),
    "OpenRouter": (
        {MODELS: listing({"id": "cohere/rerank-4"}, {"id": "x/y", "context_length": 131072})},
        ("x/y", 131072, 4),
    ),
    "SGLang as documented": (
        {MODELS: recorded("sglang/models"), "/get_server_info": recorded("sglang/server_info")},
        ("tiny", 40960, 48),
    ),
    "LM Studio as documented": (
        {
            MODELS: recorded("lmstudio/models"),
            "/api/v0/models": recorded("lmstudio/api_v0_models"),
        },
        ("tiny", 8192, 4),
    ),
    "OpenRouter as documented": (
        {MODELS: recorded("openrouter/models")},
        ("someone/tiny", 131072, 4),
    ),
    "numbers that cannot be": (
        {
            MODELS: listing({"id": "a", "max_model_len": 2**64 - 1, "context_length": True}),
            METRICS: reply(200, b'kv_cache_max_concurrency="%b.0"' % (b"9" * 5000)),
            PROPS: page({"total_slots": -1, "default_generation_settings": {"n_ctx": 2**63}}),
        },
        ("a", None, 4),
    ),
    "a page without an end": (
        {MODELS: listing({"id": "a", "max_model_len": 4096}), METRICS: reply(200, ENDLESS)},
        ("a", 4096, 4),
    ),
    "nonsense where numbers belong": (
        {
            MODELS: listing(
                {"id": 1}, 7, {"id": "a", "meta": [], "status": 3, "max_model_len": "x"}
            ),
            PROPS: page([1]),
            "/api/ps": page({"models": 5}),
            "/api/v0/models": page({"data": [None]}),
        },
        ("a", None, 4),
    ),
}


@pytest.mark.parametrize("server", ENDPOINTS)
async def test_auto_finds_model_window_and_slots(server):
    pages, expected = ENDPOINTS[server]
    async with models_at(pages) as (models, asked):
        pair = await models.resolve()
    assert (pair.root.name, pair.root.window_tokens, pair.root.slots) == expected
    assert pair.sub is pair.root
    assert "/health" not in {seen.path for seen in asked.seen}


async def test_settings_override_what_the_endpoint_tells():
    pages, _ = ENDPOINTS["llama.cpp"]
    async with models_at(pages, context_window=9000, concurrency=2) as (models, _):
        root = (await models.resolve()).root
    assert (root.window_tokens, root.slots) == (9000, 2)


@pytest.mark.parametrize(
    "answer",
    [
        recorded("transformers-serve/models"),
        recorded("llamacpp-think/err_no_key_models"),
        reply(404, b"<html>"),
        page({"data": []}),
        reply(200, b"{"),
    ],
)
async def test_a_named_model_is_used_where_none_are_listed(answer):
    async with models_at({MODELS: answer, CHAT: OK}, model="mine") as (models, server):
        completion = await (await models.resolve()).root.complete(HELLO)
    assert completion.model == "mine"
    assert server.chats[0].json["model"] == "mine"


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (recorded("transformers-serve/models"), ModelUnknown, "lists no models"),
        (recorded("llamacpp-think/err_no_key_models"), EndpointRefused, "401"),
        (page({"data": []}), ModelUnknown, "RLM_MODEL"),
        (reply(200, b"<html>", kind="text/html"), NotTheProtocol, "listed no models"),
        (reply(404, b"<html>"), NotTheProtocol, "404"),
        (reply(200, ENDLESS), EndpointFailed, "sent more than 4 MB in one reply"),
        (reply(503, b'{"error":{"message":"Loading model"}}'), EndpointBusy, "Loading model"),
    ],
)
async def test_auto_says_why_there_is_no_model(answer, error, words):
    async with models_at({MODELS: answer}) as (models, _):
        with pytest.raises(error) as caught:
            await models.resolve()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "window"),
    [
        ("qwen3:30b", 1000),
        ("llama4", 2000),
        ("coder", 3000),
        ("vendor/big:free", 4000),
        ("proxied/anything", 5000),
    ],
)
async def test_a_model_is_known_by_every_name_its_server_takes(asked, window):
    listed = listing(
        {"id": "qwen3:30b", "max_model_len": 1000},
        {"id": "llama4:latest", "max_model_len": 2000},
        {"id": "qwen3-coder", "aliases": ["coder"], "max_model_len": 3000},
        {"id": "vendor/big", "max_model_len": 4000},
        {"id": "proxied/*", "max_model_len": 5000},
    )
    async with models_at({MODELS: listed}) as (models, _):
        root = (await models.resolve(asked)).root
    assert (root.name, root.window_tokens) == (asked, window)


async def test_a_model_the_endpoint_lacks_is_refused_with_the_nearest():
    async with models_at({MODELS: listing({"id": "qwen3-coder"}, {"id": "gemma"})}) as (models, _):
        with pytest.raises(ModelUnknown) as caught:
            await models.resolve("qwen3-codr")
    assert "'qwen3-codr'" in caught.value.message
    assert caught.value.hint == "Did you mean qwen3-coder? It has: qwen3-coder, gemma."


async def test_a_model_gone_from_its_endpoint_is_reported_with_what_is_there_now():
    gone = reply(404, b'{"error":{"message":"The model `a` does not exist."}}')
    pages = {MODELS: [listing({"id": "a"}), listing({"id": "b"})], CHAT: [gone, OK]}
    async with models_at(pages) as (models, _):
        first = (await models.resolve()).root
        with pytest.raises(ModelUnknown, match="no model 'a'"):
            await first.complete(HELLO)
        assert (await models.resolve()).root.name == "b"


async def test_models_are_looked_up_once_and_kept_by_name():
    async with models_at({MODELS: listing({"id": "a"}, {"id": "b"})}) as (models, server):
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(models.resolve)
        first, second = await models.resolve(), await models.resolve(sub_model="b")
        assert await models.resolve() is first
    assert (first.sub.name, second.sub.name) == ("a", "b")
    assert [seen.path for seen in server.seen].count(MODELS) == 1


async def test_prices_follow_the_model():
    async with serve({"a": lambda _: "12345678", "b": lambda _: "12345678"}) as server:
        settings = Settings(api_url=server.url, price_in=2.0, price_out=10.0)
        async with Models(settings) as models:
            pair = await models.resolve("a", "b")
            root, sub = await pair.root.complete(HELLO), await pair.sub.complete(HELLO)
        assert root.usage.cost == pytest.approx((2 * 2.0 + 2 * 10.0) / 1e6)
        assert sub.usage.cost is None
        priced = settings.model_copy(update={"sub_price_in": 0.0, "sub_price_out": 1.0})
        async with Models(priced) as models:
            pair = await models.resolve("a", "a")
            sub = await pair.sub.complete(HELLO)
        assert sub.usage.cost == pytest.approx(2 * 1.0 / 1e6)


async def test_cached_tokens_have_their_own_price():
    settings = {"price_in": 4.0, "price_out": 0.0, "price_cached": 1.0, "model": "tiny"}
    async with models_at({CHAT: recorded("llamacpp/stream_usage")}, **settings) as (models, _):
        usage = (await (await models.resolve()).root.complete(HELLO)).usage
    assert usage.cached_tokens == 23
    assert usage.cost == pytest.approx((1 * 4.0 + 23 * 1.0) / 1e6)


async def test_the_first_usual_port_that_speaks_the_protocol_is_taken():
    page_of_something = {MODELS: reply(200, b"<html>"), "/": reply(200, b"hi")}
    locked = {MODELS: recorded("llamacpp-think/err_no_key_models")}
    async with (
        raw_server(page_of_something) as other,
        raw_server({MODELS: silence}) as mute,
        serve({"second": ["x"]}) as wanted,
        raw_server(locked) as last,
    ):
        port = int(wanted.url.split(":")[2].removesuffix("/v1"))
        ports = (("a", other.port), ("b", mute.port), ("c", port), ("d", last.port))
        async with Models(Settings(), local_servers=ports) as models:
            pair = await models.resolve()
            assert pair.root.name == "second"
            assert (await pair.root.complete(HELLO)).text == "x"


async def test_no_server_on_any_port_says_what_was_tried_and_what_to_do():
    async with raw_server({}) as silent:
        port = silent.port
    async with raw_server({MODELS: reply(200, ENDLESS)}) as other:
        servers = (("llama.cpp", port), ("Ollama", other.port))
        async with Models(Settings(), local_servers=servers) as models:
            with pytest.raises(EndpointUnreachable) as caught:
                await models.resolve()
    assert f"tried llama.cpp {port}, Ollama {other.port}" in caught.value.message
    assert "RLM_API_URL" in caught.value.hint


async def test_entering_models_asks_nothing_of_the_network():
    async with raw_server({}) as server:
        async with Models(Settings(api_url=server.url)):
            pass
        assert server.seen == []


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("", CHAT),
        ("/", CHAT),
        ("/v1/", CHAT),
        ("/v1/chat/completions", CHAT),
        ("/api/v3", "/api/v3/chat/completions"),
    ],
)
async def test_an_address_may_be_written_in_any_usual_way(written, path):
    async with raw_server({path: OK}) as server:
        settings = Settings(api_url=server.url.removesuffix("/v1") + written, model="m")
        async with Models(settings) as models:
            assert (await (await models.resolve()).root.complete(HELLO)).text == "OK"


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://host/v1", "http://", "http://h:x/v1"])
def test_an_address_that_is_none_is_refused_before_anything_is_asked(url):
    with pytest.raises(SettingsInvalid, match="RLM_SUB_API_URL"):
        Models(Settings(sub_api_url=url))


@pytest.mark.parametrize("end", ["?key=SECRETQ", "/?key=SECRETQ", "#SECRETQ"])
def test_an_address_with_a_query_is_refused_and_not_shown(end):
    with pytest.raises(SettingsInvalid, match="RLM_API_URL") as caught:
        Models(Settings(api_url=f"http://localhost:8080/v1{end}"))
    assert "SECRETQ" not in f"{caught.value}{caught.value!r}"
    assert "RLM_API_KEY" in caught.value.hint


def test_a_key_no_header_can_carry_is_refused():
    with pytest.raises(SettingsInvalid, match="RLM_API_KEY"):
        Models(Settings(api_key="schlüssel\n"))


async def test_a_password_in_the_address_is_not_shown():
    async with raw_server({}) as server:
        url = server.url.replace("//", "//me:hunter2@")
        async with Models(Settings(api_url=url, model="m"), patience_s=0) as models:
            root = (await models.resolve()).root
            with pytest.raises(EndpointError) as caught:
                await root.complete(HELLO)
    assert "hunter2" not in f"{caught.value}{caught.value!r}{caught.value.url}"


def test_every_recorded_exchange_is_used_by_a_test():
    here = RECORDED.parents[1] / "llm"
    source = "".join(path.read_text(encoding="utf-8") for path in here.glob("test_*.py"))
    names = {f"{path.parent.name}/{path.stem}" for path in RECORDED.glob("*/*.http")}
    assert names
    assert {name for name in names if f'"{name}"' not in source} == set()

"""Ollama's own API: found out, asked for a window, and understood in all that is documented."""

from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import orjson
import pytest
from wire_server import raw_server, recorded, reply, silence, then

from rlm_mcp.errors import (
    EndpointBusy,
    EndpointFailed,
    EndpointRefused,
    ModelUnknown,
    PromptTooLong,
    ReplyEmpty,
)
from rlm_mcp.llm.models import Models
from rlm_mcp.llm.ollama import LEAST_WINDOW, OllamaChat
from rlm_mcp.llm.profiles import kept
from rlm_mcp.llm.quirks import THOUGHT, Quirks
from rlm_mcp.llm.scripted import ScriptedReply, count_tokens, serve
from rlm_mcp.llm.scripted_ollama import LONGEST_WINDOW
from rlm_mcp.settings import Settings
from rlm_mcp.types import Message

pytestmark = pytest.mark.anyio

CHAT, SHOW = "/api/chat", "/api/show"
HELLO = [Message("user", "Hello")]
PAGES = {
    "/v1/models": recorded("ollama/models"),
    "/api/version": recorded("ollama/version"),
    "/api/ps": recorded("ollama/ps"),
    SHOW: recorded("ollama/show"),
}
THINKS = Quirks(vendor="ollama_native", thinking="reasoning", thinking_switch="enable_thinking")
ENDLESS_NUM_CTX = orjson.dumps(
    {"model_info": {"a.context_length": 1 << 20}, "parameters": "num_ctx " + "9" * 5000}
)

# exchange: text, thinking, finish reason, (tokens in, out) or None for an estimate
REPLIES = {
    "ollama/chat_stream": ("FINAL(42)", "", "stop", (26, 32)),
    "ollama/chat": ("FINAL(42)", "", "stop", (26, 32)),
    "ollama/chat_thinking": ("FINAL(42)", "I think so.\n", "stop", (26, 32)),
    "ollama/chat_length": ("FINAL", "", "length", (26, 5)),
    "ollama/chat_uncounted": ("FINAL(42)", "", "stop", None),
}
REFUSALS = {
    "ollama/err_unknown_model": (ModelUnknown, "no model 'tiny'"),
    "ollama/err_busy": (EndpointBusy, "(503): server busy"),
    "ollama/err_no_thinking": (EndpointRefused, "does not support thinking"),
    "ollama/err_too_long": (PromptTooLong, "does not fit"),
    "ollama/err_too_long_runner": (PromptTooLong, "of 5,019 tokens does not fit"),
    "ollama/err_load": (EndpointFailed, "requires more system memory"),
    "ollama/err_mid_stream": (EndpointFailed, "unexpected EOF"),
    "ollama/chat_thinking_length": (ReplyEmpty, "5 tokens on thinking alone"),
}


@asynccontextmanager
async def ollama(home, pages=(), **settings):
    """A model of an Ollama of these pages, and what was asked of it."""
    async with raw_server(PAGES | dict(pages)) as server:
        given = Settings(**{"api_url": server.url, "home": home} | settings)
        async with Models(given, patience_s=0) as models:
            yield (await models.resolve()).root, server


@asynccontextmanager
async def scripted(home, script, quirks=Quirks(vendor="ollama_native"), **options):  # noqa: B008
    """A model of a scripted Ollama, and its server."""
    async with serve(script, quirks=quirks, **options) as server:
        given = Settings(api_url=server.url, home=home, sub_model="scripted")
        async with Models(given, patience_s=0) as models:
            yield models, (await models.resolve()).root, server


def chats(server):
    return [seen.json for seen in server.seen if seen.path == CHAT]


@pytest.mark.parametrize("exchange", REPLIES)
async def test_a_documented_reply_is_read_whole(own_environment, exchange):
    text, thinking, reason, counted = REPLIES[exchange]
    async with ollama(own_environment, {CHAT: recorded(exchange)}) as (model, _):
        said = await model.complete(HELLO, max_tokens=100)

    assert (said.text, said.reasoning, said.finish_reason) == (text, thinking, reason)
    assert said.usage.estimated_calls == (0 if counted else 1)
    assert counted in {None, (said.usage.input_tokens, said.usage.output_tokens)}
    assert said.usage.cached_tokens is None


async def test_a_tool_call_becomes_the_words_of_one(own_environment):
    async with ollama(own_environment, {CHAT: recorded("ollama/chat_tool_call")}) as (model, _):
        said = await model.complete(HELLO)

    assert said.text.strip().startswith('<tool_call>{"name":"python"')
    assert "FINAL(42)" in said.text


@pytest.mark.parametrize("exchange", REFUSALS)
async def test_a_documented_refusal_becomes_one_clear_error(own_environment, exchange):
    kind, words = REFUSALS[exchange]
    pages = {CHAT: recorded(exchange)}
    async with ollama(own_environment, pages, model="tiny") as (model, _):
        with pytest.raises(kind) as caught:
            await model.complete(HELLO, max_tokens=100)

    assert words in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("pages", "settings", "window"),
    [
        ({}, {}, LEAST_WINDOW),
        ({"/api/ps": recorded("ollama/ps_none")}, {"model": "tiny:latest"}, LEAST_WINDOW),
        ({SHOW: recorded("ollama/show_num_ctx")}, {}, 65536),
        ({SHOW: recorded("ollama/show_small")}, {}, 8192),
        ({SHOW: recorded("ollama/err_unknown_model")}, {}, 4096),
        ({SHOW: reply(200, b'{"model_info": {}}')}, {}, 4096),
        ({SHOW: reply(200, b'{"model_info": {"a.context_length": -1}}')}, {}, 4096),
        ({SHOW: reply(200, ENDLESS_NUM_CTX)}, {}, LEAST_WINDOW),
        ({SHOW: reply(200, b" " * (5 << 20))}, {}, 4096),
        ({}, {"context_window": 20_000}, 20_000),
    ],
)
async def test_the_window_is_asked_for_with_every_call(own_environment, pages, settings, window):
    pages = pages | {CHAT: recorded("ollama/chat_stream")}
    async with ollama(own_environment, pages, **settings) as (model, server):
        await model.complete(HELLO, max_tokens=100)

    (sent,) = chats(server)
    assert model.window_tokens == window
    assert sent["options"] == {"num_ctx": window, "num_predict": 100}
    assert (sent["truncate"], sent["shift"], sent["stream"]) == (False, False, True)
    assert "think" not in sent
    assert (sent["model"], sent["messages"]) == (
        "tiny:latest",
        [{"role": "user", "content": "Hello"}],
    )


@pytest.mark.parametrize("missing", ["/api/version", "/api/ps"])
async def test_what_only_looks_like_ollama_is_asked_in_the_protocol_of_all(
    own_environment, missing
):
    completion = recorded("ollama-v1/chat_reasoning")
    pages = PAGES | {missing: recorded("ollama/err_unknown_model")}
    pages |= {"/v1/chat/completions": completion}
    async with ollama(own_environment, pages) as (model, server):
        assert (await model.complete(HELLO)).text == "FINAL(42)"

    assert chats(server) == []


async def test_giving_up_closes_the_connection(own_environment):
    start = recorded("ollama/chat_stream").partition(b"42)")[0]
    async with ollama(own_environment, {CHAT: then(start, silence)}) as (model, server):
        async with anyio.create_task_group() as asking:
            asking.start_soon(model.complete, HELLO)
            while not chats(server):
                await anyio.sleep(0.01)
            asking.cancel_scope.cancel()
        with anyio.fail_after(5):
            await server.left.wait()


async def test_thinking_is_turned_off_once_it_was_all_that_came(own_environment):
    def brief(messages):
        return ScriptedReply("Yes.", reasoning=THOUGHT * 20)

    quirks = THINKS
    async with scripted(own_environment, brief, quirks) as (_, root, server):
        with pytest.raises(ReplyEmpty):
            await root.complete(HELLO, max_tokens=50)
        root.servers = (replace(root.servers[0], thinking_off="enable_thinking"),)
        said = await root.complete(HELLO, max_tokens=50)

    assert said.text == "Yes."
    assert said.usage.calls == 2
    assert len(server.requests) == 3


async def test_a_scripted_ollama_counts_streams_and_cuts_like_one(own_environment):
    text = "word " * 400
    async with scripted(own_environment, lambda _: text) as (_, root, server):
        whole = await root.complete(HELLO)
        short = await root.complete(HELLO, max_tokens=5)

    assert (whole.text, whole.finish_reason) == (text, "stop")
    assert (short.text, short.finish_reason) == (text[:20], "length")
    bill = server.ledger
    spent = whole.usage + short.usage
    assert (spent.input_tokens, spent.output_tokens) == (bill.input_tokens, bill.output_tokens)
    assert spent.estimated_calls == 0


async def test_a_prompt_beyond_the_window_is_refused_instead_of_cut(own_environment):
    quirks = Quirks(vendor="ollama_native", overflow="truncate")
    long = [Message("user", "x" * 4 * (LEAST_WINDOW + 1))]
    async with scripted(own_environment, lambda _: "Yes.", quirks, window_tokens=4096) as made:
        _, root, server = made
        with pytest.raises(PromptTooLong):
            await root.complete(long)
        fits = await root.complete([Message("user", "x" * 4 * LEAST_WINDOW)])

    assert fits.usage.input_tokens == LEAST_WINDOW == count_tokens("x" * 4 * LEAST_WINDOW)
    assert (server.ledger.calls, server.ledger.failed) == (1, 1)


async def test_measuring_finds_the_window_that_was_asked_for(own_environment):
    quirks = Quirks(vendor="ollama_native", overflow="truncate", thinking="reasoning",
                    thinking_switch="enable_thinking")  # fmt: skip
    async with scripted(own_environment, lambda _: "one two three", quirks) as made:
        models, root, server = made
        await models.measure()

        profile = kept(own_environment, server.url, root.name)
    assert LEAST_WINDOW < LONGEST_WINDOW
    assert (profile.window_tokens, profile.window_from) == (LEAST_WINDOW, "measured")
    assert (profile.thinking, profile.thinking_off) == ("field", "enable_thinking")
    assert profile.usage == "reported"


async def test_a_model_that_is_not_there_is_named_with_those_that_are(own_environment):
    async with serve(lambda _: "Yes.", quirks=Quirks(vendor="ollama_native")) as server:
        given = Settings(api_url=server.url, home=own_environment, model="llama")
        async with Models(given, patience_s=0) as models:
            with pytest.raises(ModelUnknown, match="scripted"):
                await models.resolve()


def test_a_value_that_is_no_chat_reply_is_none():
    assert OllamaChat().chunk([1]) == [1]
    assert OllamaChat().chunk({"message": 7}) == {"message": 7}

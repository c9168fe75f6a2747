"""The scripted model, in this process and behind HTTP: the same script, the same outcome."""

from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import httpx
import pytest

from rlm_mcp.errors import (
    EndpointBusy,
    EndpointFailed,
    EndpointRefused,
    EndpointUnreachable,
    PromptTooLong,
    ReplyEmpty,
)
from rlm_mcp.llm.models import Models
from rlm_mcp.llm.prices import Price
from rlm_mcp.llm.scripted import ScriptedModel, ScriptedReply, serve
from rlm_mcp.settings import Settings
from rlm_mcp.types import Message

pytestmark = pytest.mark.anyio

HELLO = [Message("system", "Be brief."), Message("user", "Hello")]


@asynccontextmanager
async def in_process(script, patience_s, window_tokens=None):
    model = ScriptedModel(
        script, window_tokens=window_tokens, price=Price(1e6, 1e6), patience_s=patience_s
    )
    yield model, model


@asynccontextmanager
async def over_http(script, patience_s, window_tokens=None):
    async with serve(script, window_tokens=window_tokens) as server:
        settings = Settings(api_url=server.url, price_in=1e6, price_out=1e6)
        async with Models(settings, patience_s=patience_s) as models:
            yield (await models.resolve()).root, server


@pytest.fixture(params=[in_process, over_http])
def scripted(request):
    return request.param


async def ask_later(messages):
    await anyio.lowlevel.checkpoint()
    return f"{len(messages)} messages"


@pytest.mark.parametrize(
    ("script", "text", "reasoning"),
    [
        (lambda messages: messages[-1].content.upper(), "HELLO", ""),
        (ask_later, "2 messages", ""),
        (["Grüße, 世界 𝄞\n" * 100], "Grüße, 世界 𝄞\n" * 100, ""),
        ([ScriptedReply("Yes.", reasoning="Is it? " * 100)], "Yes.", "Is it? " * 100),
        ([""], "", ""),
    ],
)
async def test_a_script_is_said_and_billed_alike_on_both_ways(scripted, script, text, reasoning):
    async with scripted(script, patience_s=0) as (model, side):
        completion = await model.complete(HELLO)
    assert (completion.text, completion.reasoning) == (text, reasoning)
    assert completion.finish_reason == "stop"
    usage = completion.usage
    assert usage.input_tokens == 3 + 2
    assert usage.output_tokens == -(-len(text) // 4) - (-len(reasoning) // 4)
    assert usage.cost == usage.tokens
    bill = side.ledger.by_model[model.name]
    assert (bill.calls, bill.failed) == (1, 0)
    assert (bill.input_tokens, bill.output_tokens) == (usage.input_tokens, usage.output_tokens)
    assert list(side.requests) == [tuple(HELLO)]


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (ScriptedReply("no such thing", status=400), EndpointRefused, "400: no such thing"),
        (ScriptedReply("wait", status=503, headers={"Retry-After": "7"}), EndpointBusy, "wait"),
        (ScriptedReply(raw=b"oops", status=500), EndpointFailed, "500: oops"),
        (ScriptedReply(fault="drop"), EndpointUnreachable, ""),
        (ScriptedReply("word " * 100, fault="drop_mid"), EndpointFailed, ""),
        (ScriptedReply("", "hm", finish_reason="length"), ReplyEmpty, "thinking"),
    ],
)
async def test_a_script_fails_alike_on_both_ways(scripted, reply, error, words):
    async with scripted(lambda _: reply, patience_s=0) as (model, side):
        with pytest.raises(error) as caught:
            await model.complete(HELLO)
    assert words in caught.value.message
    assert caught.value.retry_after_s in {None, 0, 7}
    assert side.ledger.calls == (1 if error is ReplyEmpty else 0)


async def test_a_list_that_has_ended_is_refused_in_words(scripted):
    async with scripted(["only"], patience_s=0) as (model, _):
        await model.complete(HELLO)
        with pytest.raises(EndpointRefused, match="has 1 replies; reply 2 was asked for"):
            await model.complete(HELLO)


async def test_a_passing_failure_is_retried_alike(scripted):
    busy = ScriptedReply("Loading model", status=503, headers={"Retry-After": "0"})
    retries = []

    async with scripted([busy, "ready"], patience_s=5) as (model, side):
        completion = await model.complete(HELLO, on_retry=retries.append)
    assert (completion.text, completion.attempts) == ("ready", 2)
    assert [(retry.attempt, retry.wait_s) for retry in retries] == [(1, 0.0)]
    assert (side.ledger.calls, side.ledger.failed) == (1, 1)


async def test_usage_not_reported_is_marked_as_estimated(scripted):
    reply = ScriptedReply("some words", reports_usage=False)
    async with scripted([reply], patience_s=0) as (model, _):
        assert (await model.complete(HELLO)).usage.estimated_calls == 1


async def test_limits_of_a_real_model_hold(scripted):
    async with scripted(lambda _: "x" * 1000, patience_s=0, window_tokens=100) as (model, _):
        assert model.window_tokens == 100
        cut = await model.complete(HELLO, max_tokens=3)
        with pytest.raises(PromptTooLong) as caught:
            await model.complete([Message("user", "y" * 401)])
    assert (cut.text, cut.finish_reason, cut.usage.output_tokens) == ("x" * 12, "length", 3)
    assert (caught.value.prompt_tokens, caught.value.window_tokens) == (101, 100)


async def test_a_reply_that_hangs_ends_with_its_caller():
    async with over_http([ScriptedReply(fault="hang")], patience_s=0) as (model, server):
        with anyio.move_on_after(0.2):
            await model.complete(HELLO)
        with anyio.fail_after(10):
            await server.disconnected.wait()
    assert (server.disconnects, server.ledger.failed, server.in_flight) == (1, 1, 0)


async def test_a_client_that_leaves_before_its_reply_is_not_billed():
    async with serve(["late"], latency_s=60) as server:
        async with Models(Settings(api_url=server.url)) as models:
            model = (await models.resolve()).root
            with anyio.move_on_after(0.2):
                await model.complete(HELLO)
        with anyio.fail_after(10):
            await server.disconnected.wait()
    assert (server.ledger.calls, server.ledger.failed) == (0, 1)


async def test_a_whole_reply_is_given_to_who_does_not_stream():
    body = {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]}
    script = [ScriptedReply("text", "thought")]
    async with serve(script) as server, httpx.AsyncClient() as client:
        answer = (await client.post(server.url + "/chat/completions", json=body)).json()
    message = answer["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("text", "thought")
    assert answer["usage"] == {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}


async def test_a_script_that_raises_ends_its_server():
    async def ask():
        async with over_http(lambda _: {}["missing"], patience_s=0) as (model, _):
            await model.complete(HELLO)

    with pytest.raises(ExceptionGroup) as caught:
        await ask()
    assert caught.group_contains(KeyError)

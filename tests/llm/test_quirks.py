"""The switches of the scripted server: each shows as it does on a real one, alone and together."""

from contextlib import asynccontextmanager
from typing import get_args

import anyio
import httpx
import pytest
from wire_server import told_slots

from rlm_mcp.errors import PromptTooLong
from rlm_mcp.llm.models import Models
from rlm_mcp.llm.quirks import THOUGHT, Quirks
from rlm_mcp.llm.refusals import WindowShared
from rlm_mcp.llm.scripted import count_tokens, serve
from rlm_mcp.llm.vendors import Vendor
from rlm_mcp.settings import Settings
from rlm_mcp.types import Message

pytestmark = pytest.mark.anyio

WINDOW = 1000
# Ollama's own API takes a window instead of telling one: see test_ollama.py.
VENDORS = [vendor for vendor in get_args(Vendor) if vendor != "ollama_native"]
SYSTEM, USER, ASSISTANT = (
    {"role": role, "content": f"I am the {role}."} for role in ("system", "user", "assistant")
)
OFF = {
    "enable_thinking": {"chat_template_kwargs": {"enable_thinking": False}},
    "reasoning_effort": {"reasoning_effort": "none"},
    "no_think": {"messages": [{"role": "user", "content": "Be quick. /no_think"}]},
}


@asynccontextmanager
async def model_at(quirks, script=lambda _: "Yes.", patience_s=0.0, **options):
    async with serve(script, quirks=quirks, **options) as server:
        settings = Settings(api_url=server.url)
        async with Models(settings, patience_s=patience_s) as models:
            yield (await models.resolve()).root, server


async def asked(quirks, *messages, **fields):
    """Status and body of one request that is not streamed."""
    body = {"model": "scripted", "messages": list(messages) or [USER]} | fields
    async with serve(lambda _: "Yes.", quirks=quirks) as server, httpx.AsyncClient() as client:
        answer = await client.post(f"{server.url}/chat/completions", json=body)
    return answer.status_code, answer.json()


async def said(quirks, *messages, **fields):
    status, body = await asked(quirks, *messages, **fields)
    assert status == 200
    return body["choices"][0]["message"]


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("claims", ["true", "nothing", 4 * WINDOW])
async def test_every_vendors_pages_tell_what_is_claimed(vendor, claims):
    quirks = Quirks(vendor=vendor, claims=claims)
    async with model_at(quirks, window_tokens=WINDOW, slots=7) as (model, _):
        assert model.window_tokens == quirks.claimed(WINDOW)
        assert model.slots == (told_slots(vendor, 7) or 4)


@pytest.mark.parametrize("vendor", VENDORS)
async def test_every_vendors_overflow_is_understood(vendor):
    async with model_at(Quirks(vendor=vendor), window_tokens=WINDOW) as (model, server):
        with pytest.raises(PromptTooLong) as caught:
            await model.complete([Message("user", "x" * 4 * (WINDOW + 1))])
    assert caught.value.window_tokens == (None if vendor == "ollama" else WINDOW)
    assert (server.ledger.calls, server.ledger.failed) == (0, 1)


async def test_a_server_that_truncates_shows_the_model_the_end_and_counts_only_that():
    seen = []

    def note(messages):
        seen.extend(messages)
        return "Yes."

    prompt = [Message("system", "s" * 400), Message("user", "a" * 4000 + "b" * 2000)]
    async with model_at(Quirks(overflow="truncate"), note, window_tokens=WINDOW) as (model, _):
        usage = (await model.complete(prompt)).usage
    assert seen == [Message("user", "a" * 2000 + "b" * 2000)]
    assert usage.input_tokens == WINDOW


async def test_slots_that_share_a_context_fail_together_when_they_overflow_it():
    half = [Message("user", "x" * 4 * (WINDOW // 2 + 1))]
    failed = []

    async def ask(model):
        try:
            await model.complete(half)
        except (WindowShared, PromptTooLong) as error:
            failed.append(error)

    options = {"window_tokens": WINDOW, "latency_s": 0.2}
    async with model_at(Quirks(shares_context=True), **options) as (model, server):
        assert (await model.complete(half)).text == "Yes."
        async with anyio.create_task_group() as group:
            group.start_soon(ask, model)
            group.start_soon(ask, model)
    assert len(failed) == 2
    assert (server.ledger.calls, server.ledger.failed) == (1, 2)


@pytest.mark.parametrize(
    ("quirks", "messages", "status"),
    [
        (Quirks(), [SYSTEM, USER, USER, ASSISTANT], 200),
        (Quirks(alternates=True), [SYSTEM, USER, ASSISTANT, USER], 200),
        (Quirks(alternates=True), [USER, USER], 400),
        (Quirks(alternates=True), [ASSISTANT, USER], 400),
        (Quirks(alternates=True, vendor="llamacpp"), [USER, USER], 500),
        (Quirks(takes_system=False), [SYSTEM, USER], 400),
        (Quirks(trailing_assistant="refuse"), [USER, ASSISTANT], 400),
        (Quirks(trailing_assistant="refuse"), [USER, ASSISTANT, USER], 200),
    ],
)
async def test_roles_are_refused_as_the_switches_say(quirks, messages, status):
    assert (await asked(quirks, *messages))[0] == status


@pytest.mark.parametrize(
    ("way", "text"), [("answer", "Yes."), ("continue", "s."), ("echo", "YEs.")]
)
async def test_a_trailing_assistant_is_answered_or_continued(way, text):
    start = {"role": "assistant", "content": "YE"}
    assert (await said(Quirks(trailing_assistant=way), USER, start))["content"] == text


@pytest.mark.parametrize("thinking", ["reasoning_content", "reasoning", "tags"])
@pytest.mark.parametrize("switch", OFF)
async def test_thinking_stands_where_it_should_until_its_switch_is_thrown(thinking, switch):
    quirks = Quirks(thinking=thinking, thinking_switch=switch)
    for tried, fields in OFF.items():
        message = await said(quirks, **fields)
        thought = message["content"] if thinking == "tags" else message[thinking]
        assert (THOUGHT in thought) == (tried != switch)
        assert message["content"].endswith("Yes.")


async def test_a_reply_cut_in_its_thinking_has_no_words():
    message = await said(Quirks(thinking="reasoning"), max_tokens=3)
    assert (message["content"], message["reasoning"]) == ("", THOUGHT[:12])


async def test_usage_is_true_missing_or_zero():
    counts = {}
    for usage in ("true", "missing", "zero"):
        _, body = await asked(Quirks(usage=usage))
        counts[usage] = body.get("usage", {}).get("prompt_tokens")
    assert counts == {"true": count_tokens(USER["content"]), "missing": None, "zero": 0}


async def test_tokens_found_in_the_cache_are_reported_if_asked_for():
    follow_up = [Message("user", "x" * 40), Message("assistant", "Yes."), Message("user", "More")]
    async with model_at(Quirks(reports_cached=True)) as (model, _):
        first = await model.complete(follow_up[:1])
        second = await model.complete(follow_up)
    assert (first.usage.cached_tokens, second.usage.cached_tokens) == (0, 10)


async def test_a_loading_server_is_waited_for():
    async with model_at(Quirks(loading_requests=2), patience_s=10) as (model, _):
        assert (await model.complete([Message("user", "Hello")])).attempts == 3


async def test_fields_outside_the_standard_are_refused():
    quirks = Quirks(refuses_unknown_fields=True)
    assert (await asked(quirks, temperature=0.5))[0] == 200
    assert (await asked(quirks, cache_prompt=True))[0] == 422

"""What every host puts into every prompt: tools, schemas, instructions. Golden, and small."""

import json

import pytest

from rlm_mcp.server.build import INSTRUCTIONS
from rlm_mcp.tokens import estimate_tokens

pytestmark = pytest.mark.anyio


async def test_tools_are_as_agreed_and_cost_little(bench, era, golden):
    async with bench((), era) as b:
        listed = (await b.client.list_tools()).tools

    tools = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed]
    parts = [(t["name"] + t["description"], t["inputSchema"], t["outputSchema"]) for t in tools]
    tokens = sum(
        estimate_tokens(words) + estimate_tokens(compact(takes)) + estimate_tokens(compact(gives))
        for words, takes, gives in parts
    )
    assert len(tools) <= 8
    assert tokens < 1_500
    golden("tools.json", json.dumps(tools, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


async def hints(b):
    listed = (await b.client.list_tools()).tools
    return {tool.name: tool.annotations for tool in listed}


async def test_hints_say_what_a_tool_may_change(bench, era):
    async with bench((), era) as b:
        told = await hints(b)

    reads = {name for name, hint in told.items() if hint.read_only_hint}
    once = {name for name, hint in told.items() if hint.idempotent_hint}
    assert reads == {"list_contexts", "get_costs", "get_trace"}
    assert once == {"get_answer", "cancel_query"}  # the one goes on with a run if asked to
    assert all(hint.title for hint in told.values())
    assert not any(hint.destructive_hint for hint in told.values())


@pytest.mark.parametrize(("http", "reaches_out"), [("off", False), ("public", True)])
async def test_only_a_server_that_may_fetch_urls_reaches_out(bench, http, reaches_out):
    async with bench(http=http) as b:
        told = await hints(b)

    assert told.pop("load_context").open_world_hint is reaches_out
    assert not any(hint.open_world_hint for hint in told.values())


async def test_names_are_short_enough_for_every_host(bench):
    async with bench() as b:
        tools = (await b.client.list_tools()).tools
        prompts = (await b.client.list_prompts()).prompts

    # Codex and Claude Desktop: 64 bytes, with what the host puts before them.
    for each in (*tools, *prompts):
        assert len(f"mcp__rlm-mcp__{each.name}".encode()) <= 64


async def test_no_notices_are_promised_of_what_never_changes(bench, era):
    async with bench((), era) as b:
        capabilities = b.client.server_capabilities

    assert capabilities.tools.list_changed is False
    assert capabilities.prompts.list_changed is False
    assert capabilities.resources.subscribe is False
    assert capabilities.completions is not None


async def test_the_server_introduces_itself(bench, era):
    async with bench((), era) as b:
        instructions = b.client.instructions
        capabilities = b.client.server_capabilities

    assert instructions == INSTRUCTIONS
    assert len(instructions) <= 600
    assert capabilities.resources.list_changed is True


def compact(schema):
    return json.dumps(schema, separators=(",", ":"))

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


async def test_the_server_introduces_itself(bench, era):
    async with bench((), era) as b:
        instructions = b.client.instructions
        capabilities = b.client.server_capabilities

    assert instructions == INSTRUCTIONS
    assert len(instructions) <= 600
    assert capabilities.resources.list_changed is True


def compact(schema):
    return json.dumps(schema, separators=(",", ":"))

"""What a host that only lists makes the server import and open."""

import json
import subprocess
import sys

import pytest

LISTS = """
import json, sys
import anyio
from mcp import Client
from rlm_mcp.server.app import open_app
from rlm_mcp.server.build import build_server
from rlm_mcp.settings import Settings

async def main(era):
    async with open_app(Settings.load()) as app:
        async with Client(build_server(app), mode=era) as client:
            await client.list_tools()
            await client.list_resources()
            listed = sorted(sys.modules)
            await client.call_tool("list_contexts", {})
            print(json.dumps([listed, sorted(sys.modules)]))

anyio.run(main, sys.argv[1])
"""
HEAVY = {
    "rlm_mcp.service",
    "rlm_mcp.contexts.loader",
    "rlm_mcp.engine.loop",
    "rlm_mcp.llm.models",
    "rlm_mcp.repl.local",
    "rlm_mcp.runs.journal",
    "sqlite3",
}

OF_A_TEAM = {"jwt", "rlm_mcp.server.auth", "rlm_mcp.server.users", "rlm_mcp.runs.owners"}


@pytest.fixture
def modules(era):
    """Names of the modules imported once the server has listed, and after its first call."""
    child = [sys.executable, "-c", LISTS, era]
    done = subprocess.run(child, capture_output=True, check=True, text=True)
    return [set(names) for names in json.loads(done.stdout)]


def test_listing_imports_nothing_that_only_calls_need(modules):
    listed, called = modules

    assert listed & (HEAVY | {"httpx", "orjson", "regex"}) == set()
    assert called >= HEAVY
    assert called & OF_A_TEAM == set()

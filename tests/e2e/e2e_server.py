"""The real command over stdio, and the official client that talks to it."""

import sys
from contextlib import asynccontextmanager

from mcp import Client, StdioServerParameters

COMMAND = [sys.executable, "-m", "rlm_mcp"]


@asynccontextmanager
async def connected(environment, mode="auto"):
    """The official client, connected to a server process of its own."""
    server = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=environment)
    async with Client(server, mode=mode) as client:
        yield client


async def call(client, tool, /, **arguments):
    """A tool's structured result; the tool must not fail."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content[0].text
    return result.structured_content

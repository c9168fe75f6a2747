"""Clients of other makers, which run on Node: where they are, and how they are started."""

import json
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.streams.text import TextReceiveStream
from e2e_server import COMMAND

FOLDER = Path(__file__).parent / "clients"
MODULES = FOLDER / "node_modules"
NODE = MODULES / ".bin" / "node"
OFFICIAL = MODULES / "@modelcontextprotocol"
CONFORMANCE = OFFICIAL / "conformance" / "dist" / "index.js"
INSPECTOR = OFFICIAL / "inspector" / "clients" / "launcher" / "build" / "index.js"
PARTS = [NODE, CONFORMANCE, INSPECTOR, OFFICIAL / "sdk", OFFICIAL / "client"]

needs_node_clients = pytest.mark.skipif(
    not all(part.exists() for part in PARTS),
    reason="needs Node and its packages: npm install --no-package-lock in tests/e2e/clients",
)


@asynccontextmanager
async def served(environment, *arguments):
    """The address of `rlm-mcp serve --http`, as it says it on stderr."""
    command = [*COMMAND, "serve", "--http", "--port", "0", *arguments]
    async with await anyio.open_process(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            line = await anext(aiter(TextReceiveStream(process.stderr)))
            yield line.split()[-1]
        finally:
            if process.returncode is None:
                process.kill()


async def node(program, *arguments, environment=None):
    """A program of Node, run to its end: exit code, standard output, standard error."""
    ran = await anyio.run_process([NODE, program, *arguments], env=environment, check=False)
    return ran.returncode, ran.stdout.decode(), ran.stderr.decode()


@asynccontextmanager
async def driving(environment, **asked):
    """The calls of a client of the TypeScript SDK, one by one as they come back: see drive.mjs."""
    command = [NODE, FOLDER / "drive.mjs", json.dumps(asked)]
    async with await anyio.open_process(
        command, env=environment, stdout=subprocess.PIPE, stderr=None
    ) as process:
        try:
            yield _lines(process.stdout)
        finally:
            if process.returncode is None:
                process.kill()


async def _lines(stream):
    rest = ""
    async for chunk in TextReceiveStream(stream):
        *lines, rest = (rest + chunk).split("\n")
        for line in lines:
            yield json.loads(line)

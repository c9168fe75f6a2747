"""What our server costs at start beyond the SDK alone, in CPU milliseconds.

Two shares: importing our modules beyond importing the SDK, and getting to the answer of
`tools/list`, and down again, beyond a server of the SDK that does the same and has no tools.

python tests/perf/start_up.py [ROUNDS]
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile

TARGET_MS = 150
IMPORTS = """
import time
began = time.process_time()
import mcp.server, mcp.server.stdio
between = time.process_time()
import rlm_mcp.server.stdio
print(between - began, time.process_time() - began)
"""
BARE = """
import anyio
from mcp import types
from mcp.server import Server
from mcp.server.stdio import stdio_server

async def list_tools(request, params):
    return types.ListToolsResult(tools=[])

async def main():
    server = Server("bare", version="1", on_list_tools=list_tools)
    async with stdio_server() as (reader, writer):
        await server.run(reader, writer, server.create_initialization_options())

anyio.run(main)
"""
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "perf", "version": "1"},
}


def children_ms() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000


def importing() -> tuple[float, float]:
    """The SDK, and the SDK and then ours. In one process: they differ by little."""
    child = [sys.executable, "-c", IMPORTS]
    sdk, both = subprocess.run(child, check=True, capture_output=True, text=True).stdout.split()
    return float(sdk) * 1000, float(both) * 1000


def listing(*arguments: str) -> float:
    """From nothing to the answer of `tools/list`, and down again."""
    began = children_ms()
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        for number, (method, params) in enumerate([("initialize", HELLO), ("tools/list", {})]):
            request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            server.stdin.write(json.dumps(request) + "\n")
            server.stdin.flush()
            while json.loads(server.stdout.readline()).get("id") != number:
                pass
        server.stdin.close()
    return children_ms() - began


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["RLM_HOME"] = home
        listing("-m", "rlm_mcp")
        samples = [
            (*importing(), listing("-c", BARE), listing("-m", "rlm_mcp")) for _ in range(rounds)
        ]
    sdk, ours, bare, server = (statistics.median(column) for column in zip(*samples, strict=True))
    print(f"imports     SDK {sdk:6.0f} ms, with ours {ours:6.0f} ms: {share(sdk, ours)}")
    print(f"tools/list bare {bare:6.0f} ms,       ours {server:6.0f} ms: {share(bare, server)}")


def share(theirs: float, ours: float) -> str:
    return f"share {ours - theirs:4.0f} ms (target {TARGET_MS}), {ours / theirs:.2f} times"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)

"""Drive the server as an MCP client does: over stdio, with progress lines while it works.

RLM_API_URL=http://localhost:8080/v1 python examples/mcp_stdio.py [PATH] [QUESTION]
"""

import os
import sys
from pathlib import Path

import anyio
from mcp import Client, StdioServerParameters

QUESTION = "Which tools does this server offer, and where is each described?"


async def main():
    path = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).parents[1] / "rlm_mcp")
    question = sys.argv[2] if len(sys.argv) > 2 else QUESTION
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "rlm_mcp"],
        env={**os.environ, "RLM_ROOTS": path},  # what the server may load from
    )

    async def show(_progress, _total, message):
        print(f"  ... {message}")

    async with Client(command) as client:
        loaded = await call(client, show, "load_context", source=path)
        context = loaded["context"]
        print(f"loaded {context['documents']} documents, {context['chars']:,} characters")

        result = await call(client, show, "rlm_query", query=question)
        while result["status"] == "running":
            result = await call(client, show, "get_answer", run_id=result["run_id"])
        print(f"\n{result['answer']}\n\nstopped by: {result['stopped_by']}")

        costs = await call(client, show, "get_costs", scope="run", id=result["run_id"])
        print(f"calls: {costs['root']['calls']} root, {costs['sub']['calls']} sub")


async def call(client, show, tool, **arguments):
    result = await client.call_tool(tool, arguments, progress_callback=show)
    if result.is_error:
        raise SystemExit(result.content[0].text)
    return result.structured_content


if __name__ == "__main__":
    anyio.run(main)

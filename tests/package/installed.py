"""What an installed rlm-mcp does, tried by the Python it is in; the argument is its command."""

import json
import os
import sys
from pathlib import Path

import anyio

import rlm_mcp
from rlm_mcp import RLM
from rlm_mcp.clients.handshake import handshake
from rlm_mcp.llm.scripted import serve
from rlm_mcp.server.tools import TOOLS

COMMAND = sys.argv[1]
LINES = 2000
TEXT = "a line\n" * LINES
DEADLINE_S = 120


def answers(messages):
    """A root model whose code counts, and a sub-model that says yes."""
    if messages[0].role != "system":
        return "yes"
    return "```repl\nFINAL(f'{len(lines)} lines, said {llm_query(\"Is it so?\")}')\n```"


async def ask(url):
    """A question on the command line, about what is on its standard input."""
    asked = await anyio.run_process(
        [COMMAND, "ask", "--json", "--strategy", "rlm", "-", "How many lines?"],
        input=TEXT.encode(),
        env=os.environ | {"RLM_API_URL": url},
    )
    return json.loads(asked.stdout)["answer"]


async def main():
    """Asked by command and library, and met as a client meets it."""
    assert not Path(rlm_mcp.__file__).is_relative_to(Path(__file__).parents[2])
    wanted = f"{LINES} lines, said yes"
    with anyio.fail_after(DEADLINE_S):
        async with serve(answers) as server:
            assert await ask(server.url) == wanted
            print("ask     the command answers")
            assert await anyio.to_thread.run_sync(ask_by_library, server.url) == wanted
            print("library the class answers")
        met = await handshake([COMMAND], os.environ, DEADLINE_S)
    assert set(met.tools) == set(TOOLS), met.tools
    assert not met.stray, met.stray
    print(f"mcp     {met.name} {met.version} lists {len(met.tools)} tools in {met.seconds:.1f} s")


def ask_by_library(url):
    """The answer of the class that programs use."""
    with RLM(api_url=url) as rlm:
        return rlm.answer(TEXT, query="How many lines?", strategy="rlm").text


anyio.run(main)

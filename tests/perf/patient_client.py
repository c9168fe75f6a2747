"""Whether hosts that give up after a minute get the answer of a run that takes three.

Clients of the TypeScript SDK, versions 1 and 2, over stdio and HTTP, with nothing set: they stop
waiting for a call after 60 s, and progress does not change that. Prints each client's calls with
the seconds each took, and the longest as a share of those 60 s. Needs the packages of
tests/e2e/clients.

python tests/perf/patient_client.py [SECONDS]
"""

import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))
from e2e_server import COMMAND
from node_clients import driving, served

from rlm_mcp.llm.scripted import serve

GIVES_UP_MS = 60_000


async def client(name: str, environment: dict[str, str], **asked: object) -> None:
    async with driving(environment, **asked) as calls:
        made = [call async for call in calls]
    asking = [call for call in made if call["tool"] != "load_context"]
    told = [
        f"{call['tool']} {call['result']['status']} {call['ms'] / 1000:.1f} s" for call in asking
    ]
    longest = max(call["ms"] for call in asking)
    total = sum(call["ms"] for call in asking) / 1000
    print(f"{name}: {asking[-1]['result']['answer']!r} after {total:.0f} s in {len(asking)} calls")
    print(f"  {', '.join(told)}")
    print(f"  longest call: {longest / GIVES_UP_MS:.2f} of what the client waits")


async def main(seconds: float) -> None:
    async def slow(_: object) -> str:
        await anyio.sleep(seconds)
        return "```repl\nFINAL(context.upper())\n```"

    with tempfile.TemporaryDirectory() as home:
        async with serve(slow) as model:
            environment = os.environ | {"RLM_API_URL": model.url, "RLM_HOME": home}
            async with served(environment) as url, anyio.create_task_group() as tasks:
                for sdk in ("v1", "v2"):
                    http = partial(client, sdk=sdk, url=url)
                    stdio = partial(client, sdk=sdk, command=COMMAND)
                    tasks.start_soon(http, f"{sdk} http", environment)
                    tasks.start_soon(stdio, f"{sdk} stdio", environment)


if __name__ == "__main__":
    anyio.run(main, float(sys.argv[1]) if len(sys.argv) > 1 else 180.0)

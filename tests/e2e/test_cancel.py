"""Four ways to stop a run; each closes its requests within a second and keeps what it had."""

import os
import signal
import subprocess
import sys

import anyio
import pytest
from e2e_server import COMMAND, call, connected

from rlm_mcp.events import RunEnded
from rlm_mcp.llm.scripted import ScriptedReply, serve
from rlm_mcp.runs.journal import FILE, Journal

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name == "nt", reason="sends signals"),
]

PROMPTLY_S = 1.0
WITHIN_S = 60
BATCH = 3
DRAFT = "kept = 'the variables'\nanswer['content'] = 'so far'"
ASK = f"llm_query_batched([f'hang {{n}}' for n in range({BATCH})])"
HOST = """
import os, sys
import anyio
from mcp import Client, StdioServerParameters

async def main():
    server = StdioServerParameters(command=sys.argv[1], args=sys.argv[2:], env=dict(os.environ))
    async with Client(server) as client:
        await client.call_tool("load_context", {"text": "text"})
        await client.call_tool("rlm_query", {"query": "go"})

anyio.run(main)
"""


class Stage:
    """The endpoint, which leaves the questions of one batch without a reply."""

    def __init__(self):
        self.hung = anyio.Event()
        self.endpoint = None
        self.environment = {}
        self._hanging = 0

    def play(self, messages):
        if messages[0].role != "system":
            self._hanging += 1
            if self._hanging == BATCH:
                self.hung.set()
            return ScriptedReply(fault="hang")
        question = messages[1].content.rpartition("Question:\n")[2]
        turn = sum(message.role == "assistant" for message in messages)
        return f"```repl\n{[DRAFT, ASK][turn] if question == 'go' else question}\n```"

    async def requests_close(self):
        """Return when the endpoint has seen all its clients leave, which they must at once."""
        with anyio.fail_after(PROMPTLY_S):
            while self.endpoint.in_flight:
                await anyio.sleep(0.005)
        assert self.endpoint.disconnects == BATCH

    async def guest_is_free(self, client):
        assert (await call(client, "rlm_query", query="FINAL(kept)"))["answer"] == "the variables"


async def by_notification(stage):
    async with connected(stage.environment) as client:
        await call(client, "load_context", text="text")
        with anyio.CancelScope() as waiting:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "rlm_query", {"query": "go"})
                await stage.hung.wait()
                waiting.cancel()
        await stage.requests_close()
        await stage.guest_is_free(client)


async def by_tool(stage):
    async with connected(stage.environment) as client:
        await call(client, "load_context", text="text")
        running = await call(client, "rlm_query", query="go", wait_s=0)
        await stage.hung.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "cancel_query", {"run_id": running["run_id"]})
            await stage.requests_close()
        await stage.guest_is_free(client)


async def by_ctrl_c(stage):
    command = [*COMMAND, "ask", __file__, "go"]
    async with await anyio.open_process(
        command, env=stage.environment | {"RLM_STRATEGY": "rlm"}, stderr=subprocess.DEVNULL
    ) as ask:
        await stage.hung.wait()
        ask.send_signal(signal.SIGINT)
        await stage.requests_close()
        printed = b"".join([part async for part in ask.stdout])
        await ask.wait()
    assert (ask.returncode, printed.decode()) == (130, "so far\n")


async def by_killing_the_host(stage):
    command = [sys.executable, "-c", HOST, *COMMAND]
    async with await anyio.open_process(
        command, env=stage.environment, stderr=subprocess.DEVNULL
    ) as host:
        await stage.hung.wait()
        host.kill()
        await stage.requests_close()
        await host.wait()


# A client that is gone did not say that it wants no answer: its run may go on later.
WAYS = {
    by_notification: "cancelled",
    by_tool: "cancelled",
    by_ctrl_c: "cancelled",
    by_killing_the_host: "server",
}


@pytest.mark.parametrize("stop", WAYS, ids=lambda way: way.__name__)
async def test_a_stopped_run_closes_its_requests_at_once_and_keeps_what_it_had(
    environment_for, own_environment, stop
):
    stage = Stage()
    with anyio.fail_after(WITHIN_S):
        async with serve(stage.play) as stage.endpoint:
            stage.environment = environment_for(stage.endpoint.url)
            await stop(stage)
        async with Journal.open(own_environment / FILE) as journal:
            (run,) = [row for row in await journal.runs() if row.query == "go"]
            while (ending := await journal.ending(run.id)) is None:
                await anyio.sleep(0.02)

    assert isinstance(ending.event, RunEnded)
    assert (ending.event.stopped_by, ending.event.answer) == (WAYS[stop], "so far")

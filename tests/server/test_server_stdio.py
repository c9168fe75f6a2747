"""The server as hosts start it: a child process on pipes. Its ends leave nothing behind."""

import json
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp import Client, StdioServerParameters

from rlm_mcp.llm.scripted import ScriptedReply, serve

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks processes up in /proc"),
]

SERVER = """
import anyio
from rlm_mcp.server import stdio
from rlm_mcp.settings import Settings
stdio.PARENT_EVERY_S = 0.05
anyio.run(stdio.serve_stdio, Settings.load())
"""
# A shell as parent would pass its signals on; this one only starts the server on its own pipes.
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {SERVER!r}])
"""
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}
WITHIN_S = 30.0


@pytest.fixture
def environment(own_environment):
    return {**os.environ, "RLM_HOME": str(own_environment)}


async def test_the_official_client_asks_over_stdio(environment, era):
    script = ["```repl\nFINAL(context.upper())\n```"]
    with anyio.fail_after(WITHIN_S):
        async with serve(script) as model:
            server = StdioServerParameters(
                command=sys.executable,
                args=["-c", SERVER],
                env={"RLM_HOME": environment["RLM_HOME"], "RLM_API_URL": model.url},
            )
            async with Client(server, mode=era) as client:
                await client.call_tool("load_context", {"text": "alpha"})
                answer = await client.call_tool("rlm_query", {"query": "?"})

    assert answer.structured_content["answer"] == "ALPHA"


class Wire:
    """A server process spoken to line by line. Keeps every line it said."""

    def __init__(self, process):
        self.process = process
        self.lines = []
        self.run = None
        self._out = BufferedByteReceiveStream(process.stdout)
        self._id = 0

    async def tell(self, method, **params):
        await self._send({"method": method, "params": params})

    async def start(self, method, **params):
        self._id += 1
        await self._send({"id": self._id, "method": method, "params": params})
        return self._id

    async def ask(self, method, **params):
        asked = await self.start(method, **params)
        while True:
            line = json.loads(await self.read())
            if line.get("id") == asked:
                return line["result"]

    async def read(self):
        line = await self._out.receive_until(b"\n", 1 << 20)
        self.lines.append(line)
        return line

    async def _send(self, message):
        await self.process.stdin.send(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


@asynccontextmanager
async def wired(program, environment, then=None):
    """A server that has a REPL, and a query at work in it. Killed on leaving if it still runs.

    The model hangs in the second turn of the query; `then` is what it says in that of any other.
    """
    hung = anyio.Event()

    def script(messages):
        if len(messages) == 2:
            return "```repl\nanswer['content'] = 'so far'\n```"
        if hung.is_set() and then is not None:
            return then
        hung.set()
        return ScriptedReply(fault="hang")

    with anyio.fail_after(WITHIN_S):
        async with serve(script) as model:
            command = [sys.executable, "-c", program]
            env = {**environment, "RLM_API_URL": model.url}
            async with await anyio.open_process(command, env=env, stderr=subprocess.PIPE) as child:
                wire = Wire(child)
                await wire.ask("initialize", **HELLO)
                await wire.tell("notifications/initialized")
                loading = {"name": "load_context", "arguments": {"text": "alpha"}}
                await wire.ask("tools/call", **loading)
                asking = {"name": "rlm_query", "arguments": {"query": "?", "wait_s": 0}}
                wire.run = (await wire.ask("tools/call", **asking))["structuredContent"]
                waiting = {"name": "get_answer", "arguments": {"run_id": wire.run["run_id"]}}
                await wire.start("tools/call", **waiting)
                await hung.wait()
                try:
                    yield wire
                finally:
                    if child.returncode is None:
                        child.kill()


def descendants(pid):
    """The processes below `pid`, those of other namespaces included."""
    below = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        below.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, unseen = [], [pid]
    while unseen:
        children = below.get(unseen.pop(), [])
        found += children
        unseen += children
    return found


def is_alive(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


async def all_gone(pids):
    while any(map(is_alive, pids)):
        await anyio.sleep(0.02)


async def test_a_server_that_only_listed_its_tools_ends_and_has_opened_nothing(
    environment, own_environment
):
    with anyio.fail_after(WITHIN_S):
        command = [sys.executable, "-c", SERVER]
        async with await anyio.open_process(
            command, env=environment, stderr=subprocess.PIPE
        ) as child:
            wire = Wire(child)
            await wire.ask("initialize", **HELLO)
            await wire.tell("notifications/initialized")
            listed = await wire.ask("tools/list")
            child.send_signal(signal.SIGTERM)
            ended = await child.wait()

    assert listed["tools"]
    assert ended == 143
    assert not (own_environment / "journal.sqlite3").exists()


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)],
)
async def test_a_signal_ends_the_server_and_its_guest(environment, number, code):
    async with wired(SERVER, environment) as wire:
        guests = descendants(wire.process.pid)
        wire.process.send_signal(number)
        ended = await wire.process.wait()
        await all_gone(guests)

    assert guests
    assert ended == code


async def test_the_end_of_input_ends_the_server_and_its_guest(environment):
    async with wired(SERVER, environment) as wire:
        guests = descendants(wire.process.pid)
        await wire.process.stdin.aclose()
        ended = await wire.process.wait()
        await all_gone(guests)

    assert guests
    assert ended == 0


async def test_a_dead_parent_ends_the_server_though_its_input_stays_open(environment):
    async with wired(PARENT, environment) as wire:
        server_and_guests = descendants(wire.process.pid)
        wire.process.kill()
        await wire.process.wait()
        await all_gone(server_and_guests)

    assert len(server_and_guests) > 1


def by_signal(wire):
    wire.process.send_signal(signal.SIGTERM)


async def by_end_of_input(wire):
    await wire.process.stdin.aclose()


@pytest.mark.parametrize("ended", [by_signal, by_end_of_input], ids=lambda way: way.__name__)
async def test_a_run_whose_server_was_ended_keeps_what_it_had_and_goes_on_at_the_next(
    environment, ended
):
    async with wired(SERVER, environment) as wire:
        run_id = wire.run["run_id"]
        if (ending := ended(wire)) is not None:
            await ending
        await wire.process.wait()
    async with wired(SERVER, environment, "```repl\nFINAL('all of it')\n```") as wire:
        asking = {"name": "get_answer", "arguments": {"run_id": run_id}}
        stopped = (await wire.ask("tools/call", **asking))["structuredContent"]
        asking["arguments"]["resume"] = True
        answer = (await wire.ask("tools/call", **asking))["structuredContent"]

    assert (stopped["status"], stopped["stopped_by"]) == ("done", "server")
    assert stopped["answer"] == "so far"
    assert f'get_answer(run_id="{run_id}", resume=true)' in stopped["next"]
    assert "variables" not in stopped["next"]
    assert (answer["stopped_by"], answer["answer"]) == ("answer", "all of it")


async def test_every_line_on_stdout_is_json_rpc_and_the_descriptor_is_taken_away(environment):
    async with wired(SERVER, environment) as wire:
        fds = Path(f"/proc/{wire.process.pid}/fd")
        out, err = (fds / "1").readlink(), (fds / "2").readlink()
        await wire.ask("tools/list")
        await wire.ask("resources/list")
        lines = [json.loads(line) for line in wire.lines]

    assert out == err
    assert all(line["jsonrpc"] == "2.0" for line in lines)
